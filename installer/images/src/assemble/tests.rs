use std::io::Read;

use serde_json::Value;

use super::*;
use crate::catalog::IMAGES;

/// The head of a program that asks for nothing.
fn program(machine: u8) -> Vec<u8> {
    let mut head = vec![0; 64];
    head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    head[16] = 2; // an executable
    head[18] = machine;
    head[20] = 1;
    head[52] = 64; // the head's own size
    head
}

const X86_64: u8 = 62;

fn package(name: &str, files: &[(&str, &str)]) -> Package {
    Package {
        name: name.to_owned(),
        version: "1-2".to_owned(),
        architecture: "amd64".to_owned(),
        control: format!("Package: {name}\n"),
        sha256: "0123".to_owned(),
        files: files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), Entry::file(*text, 0o644, name)))
            .collect(),
    }
}

fn packages() -> Vec<Package> {
    let crt = |name: &str| format!("{CERTIFICATES}/mozilla/{name}.crt");
    vec![
        package("netbase", &[("etc/services", "http 80/tcp")]),
        package("ca-certificates", &[(&crt("b"), "second\n"), (&crt("a"), "first")]),
        package("libc6", &[("lib/x86_64-linux-gnu/libc.so.6", "libc")]),
    ]
}

fn made(packages: &[Package], programs: &[(&str, Vec<u8>)]) -> Result<Archive, AssembleError> {
    let programs = programs.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
    assemble(&Parts {
        image: &IMAGES[0],
        reference: reference(),
        platform: platform(),
        version: "0.1.0",
        revision: Some("c0ffee"),
        packages: packages.iter().collect(),
        programs: &programs,
    })
}

fn reference() -> Reference {
    Reference::new("ghcr.io/adit-mesh", "adit-proxy", "0.1.0").unwrap()
}

fn platform() -> Platform {
    Platform::of_debian("amd64").unwrap()
}

fn proxy() -> [(&'static str, Vec<u8>); 1] {
    [("adit-proxy", program(X86_64))]
}

/// The files and links of one of an archive's blobs, or of the archive itself.
fn unpacked(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = entry.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    entries.collect()
}

/// The layers of an archive.
fn layers(archive: &Archive) -> Vec<BTreeMap<String, Vec<u8>>> {
    let blobs = unpacked(&archive.bytes);
    let blob = |digest: &String| unpacked(&blobs[&digest.replace("sha256:", "blobs/sha256/")]);
    archive.layers.iter().map(blob).collect()
}

fn text<'a>(layer: &'a BTreeMap<String, Vec<u8>>, path: &str) -> &'a str {
    std::str::from_utf8(&layer[path]).unwrap()
}

#[test]
fn the_same_parts_in_whatever_order_make_the_same_bytes() {
    let mut reversed = packages();
    reversed.reverse();
    assert_eq!(made(&packages(), &proxy()).unwrap(), made(&reversed, &proxy()).unwrap());
}

#[test]
fn programs_of_ours_are_a_layer_of_their_own_so_that_an_upgrade_fetches_nothing_else() {
    let one = made(&packages(), &proxy()).unwrap();
    let mut newer = program(X86_64);
    newer.push(1);
    let two = made(&packages(), &[("adit-proxy", newer)]).unwrap();
    assert_eq!(one.layers[0], two.layers[0]);
    assert_ne!(one.layers[1], two.layers[1]);
    let files: Vec<_> = layers(&one)[1].keys().cloned().collect();
    assert_eq!(files, ["usr/", "usr/local/", "usr/local/bin/", "usr/local/bin/adit-proxy"]);
}

#[test]
fn an_image_says_which_packages_it_holds_to_people_to_scanners_and_in_a_label() {
    let made = made(&packages(), &proxy()).unwrap();
    let base = &layers(&made)[0];
    let list =
        "ca-certificates 1-2 amd64 sha256:0123\nlibc6 1-2 amd64 sha256:0123\nnetbase 1-2 amd64 sha256:0123\n";
    assert_eq!(text(base, "usr/share/adit/packages"), list);
    assert_eq!(text(base, "var/lib/dpkg/status.d/libc6"), "Package: libc6\n");
    let config = unpacked(&made.bytes).into_values().find_map(|blob| {
        let document: Value = serde_json::from_slice(&blob).ok()?;
        document.get("rootfs").is_some().then_some(document)
    });
    let labels = &config.unwrap()["config"]["Labels"];
    assert_eq!(labels["dev.adit.packages"], "ca-certificates=1-2 libc6=1-2 netbase=1-2");
    assert_eq!(labels["org.opencontainers.image.revision"], "c0ffee");
    assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
}

#[test]
fn certificates_are_one_bundle_where_programs_look_for_it() {
    let base = &layers(&made(&packages(), &proxy()).unwrap())[0];
    assert_eq!(text(base, "etc/ssl/certs/ca-certificates.crt"), "first\nsecond\n");
    assert!(!base.keys().any(|path| path.starts_with(CERTIFICATES)));
    let without: Vec<_> =
        packages().into_iter().filter(|package| package.name != "ca-certificates").collect();
    assert!(matches!(made(&without, &proxy()), Err(AssembleError::NoCertificates)));
}

#[test]
fn what_packages_do_when_they_are_installed_is_done() {
    let base = &layers(&made(&packages(), &proxy()).unwrap())[0];
    assert_eq!(text(base, "var/run"), "/run");
    assert_eq!(text(base, "lib"), "usr/lib");
    assert!(text(base, "etc/passwd").starts_with("root:x:0:0:"));
    assert!(base.contains_key("usr/lib/x86_64-linux-gnu/libc.so.6"));
}

#[test]
fn a_program_that_was_not_built_is_named() {
    let refused = made(&packages(), &[]).unwrap_err();
    assert!(matches!(refused, AssembleError::NoProgram("adit-proxy")), "{refused:?}");
}

#[test]
fn parts_for_another_machine_are_refused() {
    let refused = made(&packages(), &[("adit-proxy", program(183))]).unwrap_err();
    assert!(matches!(refused, AssembleError::Elf(ElfError::Machine { .. })), "{refused:?}");
    let mut foreign = packages();
    foreign[2].architecture = "arm64".to_owned();
    let refused = made(&foreign, &proxy()).unwrap_err();
    assert_eq!(refused.to_string(), "package libc6 is for arm64, the image is for amd64");
}

#[test]
fn packages_that_are_in_each_other_s_way_are_named() {
    let mut both = packages();
    both.push(package("other-libc", &[("usr/lib/x86_64-linux-gnu/libc.so.6", "another")]));
    let refused = made(&both, &proxy()).unwrap_err();
    for part in ["libc6", "other-libc", "usr/lib/x86_64-linux-gnu/libc.so.6"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
}
