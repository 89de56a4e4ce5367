use std::io::Read;

use serde_json::Value;

use super::*;

fn about(platform: &str) -> About {
    About {
        reference: Reference::new("ghcr.io/adit-mesh", "adit-proxy", "0.1.0").unwrap(),
        platform: Platform::of_debian(platform).unwrap(),
        entrypoint: "/usr/local/bin/adit-proxy".to_owned(),
        labels: [("org.opencontainers.image.version".to_owned(), "0.1.0".to_owned())].into(),
    }
}

fn layers() -> [Layer; 2] {
    [("the first", "packages"), ("the second", "programs")]
        .map(|(tar, holds)| Layer { tar: tar.as_bytes().to_vec(), holds })
}

/// The files of an archive, in their order.
fn files(archive: &Archive) -> Vec<(String, Vec<u8>)> {
    let mut tar = tar::Archive::new(archive.bytes.as_slice());
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    entries.collect()
}

/// A document of an archive.
fn json_of(archive: &Archive, path: &str) -> Value {
    let files = files(archive);
    let (_, bytes) = files.iter().find(|(at, _)| at == path).unwrap_or_else(|| panic!("no {path}"));
    serde_json::from_slice(bytes).unwrap()
}

/// What a descriptor leads to, its digest and size checked.
fn follow(archive: &Archive, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let files = files(archive);
    let (_, bytes) = files.iter().find(|(path, _)| *path == format!("blobs/sha256/{digest}")).unwrap();
    assert_eq!(sha256(bytes), digest);
    assert_eq!(descriptor["size"], bytes.len());
    bytes.clone()
}

#[test]
fn an_oci_importer_finds_the_image_by_its_full_name_and_every_blob_by_its_digest() {
    let made = archive(&about("amd64"), &layers()).unwrap();
    assert_eq!(json_of(&made, "oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }));
    let index = json_of(&made, "index.json");
    let [described] = index["manifests"].as_array().unwrap().as_slice() else { panic!("{index}") };
    assert_eq!(described["annotations"]["io.containerd.image.name"], "ghcr.io/adit-mesh/adit-proxy:0.1.0");
    assert_eq!(described["annotations"]["org.opencontainers.image.ref.name"], "0.1.0");
    assert_eq!(described["platform"], json!({ "architecture": "amd64", "os": "linux" }));
    assert_eq!(described["digest"], made.digest);
    let manifest: Value = serde_json::from_slice(&follow(&made, described)).unwrap();
    assert_eq!(manifest["mediaType"], MANIFEST);
    let tars: Vec<_> =
        manifest["layers"].as_array().unwrap().iter().map(|layer| follow(&made, layer)).collect();
    assert_eq!(tars, layers().map(|layer| layer.tar));
    let config: Value = serde_json::from_slice(&follow(&made, &manifest["config"])).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"], json!(made.layers));
    assert_eq!(config["config"]["Entrypoint"], json!(["/usr/local/bin/adit-proxy"]));
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], "0.1.0");
    assert_eq!(config["history"].as_array().unwrap().len(), 2);
}

#[test]
fn docker_load_finds_the_same_image() {
    let made = archive(&about("amd64"), &layers()).unwrap();
    let saved = json_of(&made, "manifest.json");
    assert_eq!(saved[0]["RepoTags"], json!(["ghcr.io/adit-mesh/adit-proxy:0.1.0"]));
    let index = json_of(&made, "index.json");
    let manifest: Value = serde_json::from_slice(&follow(&made, &index["manifests"][0])).unwrap();
    let path = |blob: &Value| json!(blob["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/"));
    assert_eq!(saved[0]["Config"], path(&manifest["config"]));
    let layers: Vec<_> = manifest["layers"].as_array().unwrap().iter().map(path).collect();
    assert_eq!(saved[0]["Layers"], json!(layers));
}

#[test]
fn the_same_parts_make_the_same_bytes_and_another_layer_another_digest() {
    let made = archive(&about("amd64"), &layers()).unwrap();
    assert_eq!(archive(&about("amd64"), &layers()).unwrap(), made);
    let mut other = layers();
    other[1].tar.push(b'!');
    let other = archive(&about("amd64"), &other).unwrap();
    assert_ne!(other.digest, made.digest);
    assert_eq!(other.layers[0], made.layers[0]);
}

#[test]
fn a_variant_of_a_platform_is_told_where_importers_compare_it() {
    let made = archive(&about("arm64"), &layers()).unwrap();
    let index = json_of(&made, "index.json");
    let platform = json!({ "architecture": "arm64", "os": "linux", "variant": "v8" });
    assert_eq!(index["manifests"][0]["platform"], platform);
}

#[test]
fn digests_are_those_that_others_compute() {
    assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
