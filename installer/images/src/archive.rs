//! An image as one tar that is both an OCI image layout and what `docker save` writes: importers read whichever they know.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use serde_json::{Value, json};

use crate::platform::Platform;
use crate::reference::Reference;
use crate::tree::append;

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub reference: Reference,
    /// What it runs on.
    pub platform: Platform,
    /// The program that a container starts.
    pub entrypoint: String,
    /// Labels by their keys.
    pub labels: BTreeMap<String, String>,
}

/// A layer: an uncompressed tar, and what it holds in a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The tar.
    pub tar: Vec<u8>,
    /// What it holds.
    pub holds: &'static str,
}

/// An archive that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The digest of the image's manifest, by which registries and runtimes know it.
    pub digest: String,
    /// The digests of its layers.
    pub layers: Vec<String>,
}

/// Makes the archive of an image.
///
/// # Errors
/// Never in memory: a tar's writer could fail.
pub fn archive(about: &About, layers: &[Layer]) -> io::Result<Archive> {
    let mut blobs = Blobs::default();
    let digests: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sha256(&layer.tar))).collect();
    let config = blobs.add(CONFIG, document(&config(about, layers, &digests)));
    let layer_blobs: Vec<_> = layers.iter().map(|layer| blobs.add(LAYER, layer.tar.clone())).collect();
    let manifest = blobs.add(
        MANIFEST,
        document(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.described(),
            "layers": layer_blobs.iter().map(Blob::described).collect::<Vec<_>>(),
        })),
    );
    let described = with(
        manifest.described(),
        [
            ("platform", platform(about.platform)),
            // containerd takes the first name; a tag alone it would put behind a made-up one.
            (
                "annotations",
                json!({
                    "io.containerd.image.name": about.reference.to_string(),
                    "org.opencontainers.image.ref.name": about.reference.tag(),
                }),
            ),
        ],
    );
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [described] });
    let saved = json!([{
        "Config": config.path(),
        "RepoTags": [about.reference.to_string()],
        "Layers": layer_blobs.iter().map(Blob::path).collect::<Vec<_>>(),
    }]);
    let mut files: BTreeMap<String, Vec<u8>> = blobs.0;
    files.insert("oci-layout".to_owned(), document(&json!({ "imageLayoutVersion": "1.0.0" })));
    files.insert("index.json".to_owned(), document(&index));
    files.insert("manifest.json".to_owned(), document(&saved));
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in &files {
        append(&mut tar, path, 0o644, bytes)?;
    }
    Ok(Archive { bytes: tar.into_inner()?, digest: format!("sha256:{}", manifest.sha256), layers: digests })
}

fn config(about: &About, layers: &[Layer], digests: &[String]) -> Value {
    let history =
        |layer: &Layer| json!({ "created": EPOCH, "created_by": "adit-images", "comment": layer.holds });
    let config = [
        ("created", json!(EPOCH)),
        (
            "config",
            json!({
                "Entrypoint": [about.entrypoint],
                "Env": [format!("PATH={PATH}")],
                "WorkingDir": "/",
                "Labels": about.labels,
            }),
        ),
        ("rootfs", json!({ "type": "layers", "diff_ids": digests })),
        ("history", layers.iter().map(history).collect()),
    ];
    with(platform(about.platform), config)
}

fn platform(platform: Platform) -> Value {
    let variant = platform.variant.map(|variant| ("variant", json!(variant)));
    with(json!({ "architecture": platform.oci, "os": "linux" }), variant)
}

/// An object with more fields.
fn with(mut object: Value, fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.extend(fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
    object
}

/// What is stored under its digest.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

struct Blob {
    media_type: &'static str,
    sha256: String,
    size: usize,
}

impl Blobs {
    fn add(&mut self, media_type: &'static str, bytes: Vec<u8>) -> Blob {
        let blob = Blob { media_type, sha256: sha256(&bytes), size: bytes.len() };
        self.0.insert(blob.path(), bytes);
        blob
    }
}

impl Blob {
    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.sha256)
    }

    fn described(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": format!("sha256:{}", self.sha256), "size": self.size })
    }
}

fn document(value: &impl Serialize) -> Vec<u8> {
    // A tree of strings and numbers can always be written.
    serde_json::to_vec(value).unwrap_or_default()
}

/// The digest by which images name bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The moment would make other bytes of the same inputs.
const EPOCH: &str = "1970-01-01T00:00:00Z";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

#[cfg(test)]
mod tests;
