//! The checked-in protobuf code is what its `.proto` files say; `make gen` writes it anew.

use std::path::Path;

/// A crate's protos: its folder, the files, relative to `proto/`, and whether they declare services.
const CRATES: [(&str, &[&str]); 2] = [
    (
        "xds/proto",
        &["envoy/discovery.proto", "istio/workload.proto", "istio/security.proto", "istio/ca.proto"],
    ),
    ("cni-plugin/wire", &["zds.proto"]),
];

#[test]
fn generated_code_is_what_the_protos_say() {
    let write = std::env::var_os("ADIT_REGENERATE").is_some();
    let mut stale = Vec::new();
    for (folder, protos) in CRATES {
        let folder = super::root().join(folder);
        let fresh = scratch(folder.file_name().unwrap().to_str().unwrap());
        generate(&folder.join("proto"), protos, &fresh);
        let kept = folder.join("src/gen");
        if write {
            let _ = std::fs::remove_dir_all(&kept);
            std::fs::create_dir_all(&kept).unwrap();
        }
        for entry in std::fs::read_dir(&fresh).unwrap() {
            let entry = entry.unwrap().path();
            let want = std::fs::read_to_string(&entry).unwrap();
            let kept = kept.join(entry.file_name().unwrap());
            if write {
                std::fs::write(&kept, &want).unwrap();
            } else if std::fs::read_to_string(&kept).ok().as_deref() != Some(want.as_str()) {
                stale.push(kept);
            }
        }
        let _ = std::fs::remove_dir_all(&fresh);
    }
    assert!(stale.is_empty(), "stale generated code, run `make gen`: {stale:?}");
}

fn generate(include: &Path, protos: &[&str], out: &Path) {
    let files: Vec<_> = protos.iter().map(|p| include.join(p)).collect();
    let descriptors = protox::compile(&files, [include]).expect("the .proto files compile");
    tonic_prost_build::configure()
        .build_transport(false)
        .include_file("mod.rs")
        .out_dir(out)
        .compile_fds(descriptors)
        .expect("code generation succeeds");
}

fn scratch(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("adit-gen-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
