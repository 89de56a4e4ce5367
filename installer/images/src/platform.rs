//! The one platform of an image, as distributions, images and binaries call it.

use object::Architecture;

/// What an image runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// As Debian calls it.
    pub debian: &'static str,
    /// As images call it, as Go does.
    pub oci: &'static str,
    /// As images distinguish it further.
    pub variant: Option<&'static str>,
    /// As ELF files name it.
    pub machine: Architecture,
}

/// A platform that the charts' programs are not built for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the architecture {0} is none that images are made for: amd64 or arm64")]
pub struct UnknownArchitecture(String);

impl Platform {
    /// That of a machine whose packages are of this architecture.
    ///
    /// # Errors
    /// No image is made for it.
    pub fn of_debian(name: &str) -> Result<Self, UnknownArchitecture> {
        let found = PLATFORMS.into_iter().find(|platform| platform.debian == name);
        found.ok_or_else(|| UnknownArchitecture(name.to_owned()))
    }
}

const PLATFORMS: [Platform; 2] = [
    Platform { debian: "amd64", oci: "amd64", variant: None, machine: Architecture::X86_64 },
    Platform { debian: "arm64", oci: "arm64", variant: Some("v8"), machine: Architecture::Aarch64 },
];
