use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory of its own for one test.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("adit-agent-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A descriptor with an identity of its own that no other test has.
pub(crate) fn stand_in() -> Netns {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    Netns::from_fd(rustix::fs::memfd_create("netns", flags).unwrap(), Path::new("memory")).unwrap()
}

#[test]
fn this_process_is_in_the_hosts_namespace() {
    let host = HostNetns::read(Path::new("/proc")).unwrap();
    let own = Netns::open(Path::new("/proc/thread-self/ns/net")).unwrap();
    assert!(host.is(own.id()));
    let error = check(&own, &host, "shop/web", &[], Path::new("/var/run/netns/x")).unwrap_err();
    assert!(matches!(&error, NetnsError::Host { pod, .. } if pod == "shop/web"), "{error:?}");
}

#[test]
fn one_namespace_opened_twice_is_the_same() {
    let path = Path::new("/proc/thread-self/ns/net");
    assert_eq!(Netns::open(path).unwrap().id(), Netns::open(path).unwrap().id());
    assert_ne!(stand_in().id(), stand_in().id());
}

#[test]
fn a_descriptor_of_something_else_is_refused() {
    let file = stand_in();
    let error = check(&file, &HostNetns::default(), "shop/web", &[], Path::new("x")).unwrap_err();
    assert!(matches!(error, NetnsError::Enter { .. }), "{error:?}");
}

#[test]
fn a_path_that_cannot_be_opened_is_named() {
    let error = Netns::open(Path::new("/nonexistent/netns")).unwrap_err();
    assert!(
        matches!(&error, NetnsError::Io { attempt: "open", path, .. } if path.ends_with("netns")),
        "{error:?}"
    );
}
