//! The file in a folder of this test's, changed as operators and kubelets change it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proxy_core::world::Strictness;

use super::super::State;
use super::CrlFile;
use crate::testing::Ca;
use crate::{RevocationCounts, Revocations};

#[tokio::test]
async fn a_file_is_taken_at_the_start_and_again_when_it_has_changed() {
    let mut rig = Rig::new();
    rig.write(&rig.ca.list(&[1]).pem().unwrap());
    rig.begin().await;
    assert_eq!(rig.counts().lists, 1);
    let two = format!("{}{}", rig.ca.list(&[1]).pem().unwrap(), Ca::named("other").list(&[1]).pem().unwrap());
    rig.write(&two);
    rig.settle().await;
    assert_eq!(rig.counts(), RevocationCounts { lists: 2, ..RevocationCounts::default() });
}

#[tokio::test]
async fn a_file_that_is_not_there_is_waited_for() {
    let mut rig = Rig::new();
    rig.begin().await;
    rig.settle().await;
    assert_eq!(rig.counts(), RevocationCounts::default());
    rig.write(&rig.ca.list(&[1]).pem().unwrap());
    rig.settle().await;
    assert_eq!(rig.counts(), RevocationCounts { lists: 1, ..RevocationCounts::default() });
}

#[tokio::test]
async fn a_file_that_is_corrupt_at_the_start_is_taken_once_it_is_repaired() {
    let mut rig = Rig::new();
    rig.write("garbage");
    rig.begin().await;
    rig.settle().await;
    assert_eq!(rig.counts(), RevocationCounts { refused_files: 1, ..RevocationCounts::default() });
    rig.write(&rig.ca.list(&[1]).pem().unwrap());
    rig.settle().await;
    assert_eq!(rig.counts().lists, 1);
}

#[tokio::test]
async fn a_corrupt_file_leaves_the_lists_before_it_in_force_and_is_counted_once() {
    let mut rig = Rig::new();
    rig.write(&rig.ca.list(&[1]).pem().unwrap());
    rig.begin().await;
    rig.write("garbage");
    for _ in 0..5 {
        rig.settle().await;
    }
    assert_eq!(rig.counts(), RevocationCounts { lists: 1, refused_files: 1, ..RevocationCounts::default() });
    rig.write("");
    rig.settle().await;
    assert_eq!(rig.counts().lists, 0, "an empty file is a good one");
}

#[tokio::test]
async fn a_file_that_goes_leaves_its_lists_in_force() {
    let mut rig = Rig::new();
    rig.write(&rig.ca.list(&[1]).pem().unwrap());
    rig.begin().await;
    fs::remove_file(&rig.path).unwrap();
    rig.settle().await;
    assert_eq!(rig.counts().lists, 1);
    rig.write(&rig.ca.list(&[2]).pem().unwrap());
    rig.settle().await;
    assert_eq!(rig.counts(), RevocationCounts { lists: 1, refused_files: 1, ..RevocationCounts::default() });
}

#[tokio::test]
async fn a_corrupt_file_that_goes_is_as_if_it_had_never_been() {
    let mut rig = Rig::new();
    rig.write("garbage");
    rig.begin().await;
    assert!(matches!(*rig.revocations.state.read(), State::Unreadable));
    fs::remove_file(&rig.path).unwrap();
    rig.settle().await;
    assert!(matches!(*rig.revocations.state.read(), State::Nothing));
    assert_eq!(rig.counts(), RevocationCounts { refused_files: 1, ..RevocationCounts::default() });
}

#[tokio::test]
async fn half_a_file_is_not_read_while_the_other_half_is_written() {
    let mut rig = Rig::new();
    rig.begin().await;
    let whole = rig.ca.list(&[1, 2, 3]).pem().unwrap();
    rig.write(whole.split_at(whole.len() / 2).0);
    rig.look().await;
    rig.write(&whole);
    rig.settle().await;
    assert_eq!(rig.counts(), RevocationCounts { lists: 1, ..RevocationCounts::default() });
}

#[tokio::test]
async fn a_link_that_is_swapped_as_kubelets_do_is_followed() {
    let mut rig = Rig::new();
    let folder = rig.path.parent().unwrap().to_owned();
    let version = |name: &str, text: &str| {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("crl.pem"), text).unwrap();
        symlink(name, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    version("..one", "");
    symlink("..data/crl.pem", &rig.path).unwrap();
    rig.begin().await;
    assert_eq!(rig.counts().lists, 0);
    version("..two", &rig.ca.list(&[1]).pem().unwrap());
    rig.settle().await;
    assert_eq!(rig.counts(), RevocationCounts { lists: 1, ..RevocationCounts::default() });
}

#[tokio::test]
async fn a_file_of_absurd_size_is_not_read() {
    let mut rig = Rig::new();
    fs::File::create(&rig.path).unwrap().set_len(1 << 40).unwrap();
    rig.begin().await;
    assert_eq!(rig.counts(), RevocationCounts { refused_files: 1, ..RevocationCounts::default() });
}

#[tokio::test]
async fn a_folder_in_the_place_of_the_file_is_retried_without_a_change() {
    let mut rig = Rig::new();
    fs::create_dir(&rig.path).unwrap();
    rig.begin().await;
    rig.settle().await;
    assert!(!rig.file.settled);
    assert_eq!(rig.counts().refused_files, 1);
}

struct Rig {
    ca: Ca,
    path: PathBuf,
    file: CrlFile,
    revocations: Arc<Revocations>,
}

impl Rig {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("adit-crl-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("ca-crl.pem");
        let file = CrlFile::new(&path);
        Self { ca: Ca::new(), path, file, revocations: Revocations::new(Strictness::Report) }
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    async fn begin(&mut self) {
        self.file.begin(&self.revocations).await;
    }

    async fn look(&mut self) {
        self.file.look(&self.revocations).await;
    }

    /// Two looks at a file that stands still.
    async fn settle(&mut self) {
        self.look().await;
        self.look().await;
    }

    fn counts(&self) -> RevocationCounts {
        self.revocations.counts()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.path.parent().unwrap());
    }
}
