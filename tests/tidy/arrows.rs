//! Crates depend on each other only along the listed arrows, and core names the wire types in one folder only.

use std::collections::{BTreeMap, BTreeSet};

use super::{members, named, root, sources};

/// Which crates of ours a member may depend on, tests of its own included.
const ARROWS: [(&str, &[&str]); 15] = [
    ("xds-proto", &[]),
    ("xds-client", &["xds-proto"]),
    ("xds-server", &["xds-proto"]),
    ("proxy-core", &["xds-proto"]),
    ("proxy-mtls", &["proxy-core"]),
    ("proxy-hbone", &["proxy-core", "proxy-mtls"]),
    ("proxy", &["proxy-core", "proxy-mtls", "proxy-hbone", "xds-client", "cni-plugin-wire"]),
    ("cni-plugin-wire", &[]),
    ("cni-plugin-redirect", &[]),
    ("cni-plugin-plugin", &["cni-plugin-wire"]),
    ("cni-plugin-agent", &["cni-plugin-wire", "cni-plugin-redirect"]),
    ("installer", &[]),
    ("images", &[]),
    ("tests", EVERYTHING),
    ("benches", EVERYTHING),
];

/// Stands for every member.
const EVERYTHING: &[&str] = &["*"];

/// Edges that only a crate's own tests may have: proxy/app decodes what the control plane would send.
const IN_TESTS_ONLY: [(&str, &str); 1] = [("proxy", "xds-proto")];

#[test]
fn crates_depend_only_along_the_arrows() {
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let manifests: Vec<Manifest> = members().iter().map(|m| Manifest::read(m)).collect();
    let ours: BTreeSet<&str> = manifests.iter().map(|m| m.package.as_str()).collect();
    let mut forbidden = Vec::new();
    for manifest in &manifests {
        let Some(may) = allowed.get(manifest.package.as_str()) else {
            forbidden.push(format!("{} is not in the list of arrows", manifest.package));
            continue;
        };
        for edge in &manifest.edges {
            let listed = *may == EVERYTHING || may.contains(&edge.to.as_str());
            let in_tests = edge.dev && IN_TESTS_ONLY.contains(&(manifest.package.as_str(), &edge.to));
            if ours.contains(edge.to.as_str()) && !listed && !in_tests {
                forbidden.push(format!("{} -> {}", manifest.package, edge.to));
            }
        }
    }
    assert!(forbidden.is_empty(), "forbidden arrows: {forbidden:#?}");
}

#[test]
fn only_the_decode_folder_of_core_names_wire_types() {
    let core = root().join("proxy/core/src");
    let decode = core.join("decode");
    let offenders: Vec<_> = sources()
        .into_iter()
        .filter(|path| path.starts_with(&core) && !path.starts_with(&decode))
        .filter(|path| *path != core.join("decode.rs"))
        .filter(|path| std::fs::read_to_string(path).expect("a readable file").contains("xds_proto"))
        .map(|path| named(&path))
        .collect();
    assert!(offenders.is_empty(), "xds_proto is named outside core/src/decode: {offenders:#?}");
}

#[test]
fn a_dependency_table_is_read_in_each_of_its_spellings() {
    let text = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = { path = \"..\" }\n\
                [dependencies.c]\nversion = \"1\"\n[dev-dependencies]\nd = \"1\"\n\
                [target.'cfg(unix)'.dependencies]\ne = \"1\"\n[features]\nf = []\n";
    let manifest = Manifest::parse(text);
    let names: Vec<_> = manifest.edges.iter().map(|e| (e.to.as_str(), e.dev)).collect();
    assert_eq!(names, [("a", false), ("b", false), ("c", false), ("d", true), ("e", false)]);
    assert_eq!(manifest.package, "x");
}

/// What a member says about itself.
struct Manifest {
    package: String,
    edges: Vec<Edge>,
}

struct Edge {
    to: String,
    dev: bool,
}

impl Manifest {
    fn read(member: &str) -> Self {
        let path = root().join(member).join("Cargo.toml");
        Self::parse(&std::fs::read_to_string(&path).expect("a member's manifest"))
    }

    fn parse(text: &str) -> Self {
        let mut section = "";
        let mut package = String::new();
        let mut edges = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_end_matches(']');
                if let Some((table, name)) = section.rsplit_once('.')
                    && table.ends_with("dependencies")
                {
                    edges.push(Edge { to: name.to_owned(), dev: table.ends_with("dev-dependencies") });
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let key = key.trim();
            if section == "package" && key == "name" {
                package = value.trim().trim_matches('"').to_owned();
            } else if section.ends_with("dependencies") {
                let to = key.split('.').next().unwrap_or(key).to_owned();
                edges.push(Edge { to, dev: section.ends_with("dev-dependencies") });
            }
        }
        Self { package, edges }
    }
}
