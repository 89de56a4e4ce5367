//! Puts an image together from packages that were opened and programs that were built. Touches nothing outside.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use crate::archive::{About, Archive, Layer, archive};
use crate::catalog::Image;
use crate::deb::Package;
use crate::elf::{ElfError, check_libraries, check_program};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::tree::{Entry, Kind, Tree, TreeError};

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// What it is to be.
    pub image: &'a Image,
    /// Its name in full.
    pub reference: Reference,
    /// What it runs on.
    pub platform: Platform,
    /// The version of ours that it holds.
    pub version: &'a str,
    /// The commit that it was built from, where that is known.
    pub revision: Option<&'a str>,
    /// Its packages, in any order.
    pub packages: Vec<&'a Package>,
    /// Its programs' bytes by their names.
    pub programs: &'a BTreeMap<String, Vec<u8>>,
}

/// Parts that make no image.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// Files that are in each other's way.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A program that would not start.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// A program was not given.
    #[error("the program {0} is missing: build it first, as `make images` does")]
    NoProgram(&'static str),
    /// A package is built for another machine.
    #[error("package {package} is for {architecture}, the image is for {image}")]
    Architecture {
        /// The package.
        package: String,
        /// What it is built for.
        architecture: String,
        /// What the image is for.
        image: &'static str,
    },
    /// Nothing says whom to trust.
    #[error("no package of the image holds certificates below /{CERTIFICATES}")]
    NoCertificates,
    /// A layer cannot be written.
    #[error("write a layer of {image}")]
    Write {
        /// The image.
        image: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Makes an image's archive.
///
/// # Errors
/// The parts do not fit each other; the error says which.
pub fn assemble(parts: &Parts<'_>) -> Result<Archive, AssembleError> {
    let mut packages = parts.packages.clone();
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    let base = base(parts, &packages)?;
    let mut ours = Tree::default();
    for program in parts.image.programs {
        let bytes = parts.programs.get(program.name).ok_or(AssembleError::NoProgram(program.name))?;
        ours.add(program.path, Entry::file(bytes.clone(), 0o755, program.name))?;
    }
    let mut whole = base.clone();
    for (path, entry) in ours.iter() {
        whole.add(path, entry.clone())?;
    }
    for program in parts.image.programs {
        check_program(program.path, &whole, program.linkage, parts.platform)?;
    }
    check_libraries(&whole)?;
    let write = |source| AssembleError::Write { image: parts.image.name, source };
    let layers = [
        Layer { tar: base.tar().map_err(write)?, holds: "packages of the distribution" },
        Layer { tar: ours.tar().map_err(write)?, holds: "programs of Adit" },
    ];
    let about = About {
        reference: parts.reference.clone(),
        platform: parts.platform,
        entrypoint: parts.image.entrypoint.to_owned(),
        labels: labels(parts, &packages),
    };
    archive(&about, &layers).map_err(write)
}

/// What packages bring, and what their scripts would make of it on a machine.
fn base(parts: &Parts<'_>, packages: &[&Package]) -> Result<Tree, AssembleError> {
    let mut tree = Tree::default();
    let mut certificates = BTreeMap::new();
    for package in packages {
        if ![parts.platform.debian, "all"].contains(&package.architecture.as_str()) {
            return Err(AssembleError::Architecture {
                package: package.name.clone(),
                architecture: package.architecture.clone(),
                image: parts.platform.debian,
            });
        }
        for (path, entry) in &package.files {
            match (path.starts_with(CERTIFICATES), &entry.kind) {
                (true, Kind::File(bytes)) => drop(certificates.insert(path, bytes)),
                (true, _) => {}
                (false, _) => tree.add(path, entry.clone())?,
            }
        }
        // Where scanners look for packages of images without a package manager.
        let installed = format!("var/lib/dpkg/status.d/{}", package.name);
        tree.add(&installed, Entry::file(package.control.clone(), 0o644, US))?;
    }
    if certificates.is_empty() {
        return Err(AssembleError::NoCertificates);
    }
    let mut bundle = Vec::new();
    for pem in certificates.into_values() {
        bundle.extend_from_slice(pem.trim_ascii());
        bundle.push(b'\n');
    }
    tree.add("etc/ssl/certs/ca-certificates.crt", Entry::file(bundle, 0o644, US))?;
    for (path, text) in [
        ("etc/passwd", PASSWD),
        ("etc/group", GROUP),
        ("etc/nsswitch.conf", NSSWITCH),
        (LIST, &list(packages)),
    ] {
        tree.add(path, Entry::file(text, 0o644, US))?;
    }
    for (path, target) in parts.image.links {
        tree.add(path, Entry::link(target, US))?;
    }
    tree.merge_usr(US)?;
    Ok(tree)
}

/// Every package of an image: its name, version, architecture and digest.
fn list(packages: &[&Package]) -> String {
    packages.iter().fold(String::new(), |mut text, package| {
        let Package { name, version, architecture, sha256, .. } = package;
        let _ = writeln!(text, "{name} {version} {architecture} sha256:{sha256}");
        text
    })
}

fn labels(parts: &Parts<'_>, packages: &[&Package]) -> BTreeMap<String, String> {
    let versions: Vec<_> =
        packages.iter().map(|package| format!("{}={}", package.name, package.version)).collect();
    let given = [
        ("org.opencontainers.image.title", Some(parts.image.name)),
        ("org.opencontainers.image.description", Some(parts.image.description)),
        ("org.opencontainers.image.licenses", Some(env!("CARGO_PKG_LICENSE"))),
        ("org.opencontainers.image.version", Some(parts.version)),
        ("org.opencontainers.image.revision", parts.revision),
        ("dev.adit.packages", Some(&versions.join(" "))),
    ];
    given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect()
}

/// Who says what no package does.
const US: &str = "the image itself";
const CERTIFICATES: &str = "usr/share/ca-certificates";
/// Where an image says what packages it has.
const LIST: &str = "usr/share/adit/packages";
const PASSWD: &str =
    "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
const NSSWITCH: &str = "hosts: files dns\n";

#[cfg(test)]
mod tests;
