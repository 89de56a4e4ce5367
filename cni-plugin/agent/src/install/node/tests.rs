use std::os::unix::fs::symlink;

use super::*;

pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("adit-install-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    pub(crate) fn everything(&self) -> Vec<Found> {
        let mut found = Vec::new();
        let mut dirs = vec![self.0.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let bytes = if metadata.is_dir() { Vec::new() } else { fs::read(&path).unwrap_or_default() };
                if metadata.is_dir() {
                    dirs.push(path.clone());
                }
                let path = path.strip_prefix(&self.0).unwrap().to_owned();
                let owner = (metadata.uid(), metadata.gid());
                found.push(Found { path, bytes, mode: metadata.mode(), owner });
            }
        }
        found.sort();
        found
    }
}

/// A name with its bytes, mode and owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn change(name: &str, text: &str, mode: u32) -> Step {
    let to = Some(File { content: Content::Text(text.to_owned()), mode, owner: None });
    Step::Change(Change { name: name.to_owned(), to })
}

#[test]
fn only_what_runtimes_load_is_read_and_the_rest_is_known_by_name() {
    let dir = Dir::new("look");
    for name in ["b.conf", "a.conflist", "c.json", "d.yaml", "e.conflist.cilium_bak"] {
        dir.write(name, name);
    }
    fs::create_dir(dir.0.join("f.conf")).unwrap();
    symlink("nowhere", dir.0.join("g.conf")).unwrap();
    nix::unistd::mkfifo(&dir.0.join("h.conf"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let seen = ConfDir(dir.0.clone()).look().unwrap();
    assert_eq!(seen.files.keys().collect::<Vec<_>>(), ["a.conflist", "b.conf", "c.json"]);
    assert_eq!(seen.files["b.conf"].content.bytes(), b"b.conf");
    assert_eq!(seen.others, BTreeSet::from(["d.yaml".to_owned(), "e.conflist.cilium_bak".to_owned()]));
    let none = ConfDir(dir.0.join("not-there"));
    assert_eq!(none.look().unwrap(), Seen::default());
    assert_eq!(none.journal().unwrap(), Journal::default());
}

#[test]
fn a_file_is_replaced_with_its_mode_and_nothing_is_left_of_the_writing() {
    let dir = Dir::new("write");
    let conf = ConfDir(dir.0.clone());
    conf.carry_out(&change("a.conflist", "one", 0o600)).unwrap();
    dir.write(".adit-new.a.conflist.tmp", "of an agent that was killed");
    conf.carry_out(&change("a.conflist", "two", 0o640)).unwrap();
    let everything = dir.everything();
    let [found] = everything.as_slice() else { panic!("{everything:?}") };
    assert_eq!((found.path.as_path(), found.bytes.as_slice()), (Path::new("a.conflist"), &b"two"[..]));
    assert_eq!(found.mode & 0o777, 0o640);
    conf.carry_out(&Step::Change(Change { name: "a.conflist".to_owned(), to: None })).unwrap();
    conf.carry_out(&Step::Change(Change { name: "a.conflist".to_owned(), to: None })).unwrap();
    assert_eq!(dir.everything(), []);
}

#[test]
fn no_runtime_loads_a_file_that_is_being_written() {
    let name = format!("{ASIDE}10-a.conflist.tmp");
    assert!(!EXTENSIONS.iter().any(|extension| name.ends_with(extension)));
}

#[test]
fn the_journal_comes_and_goes_without_a_trace() {
    let dir = Dir::new("journal");
    let conf = ConfDir(dir.0.clone());
    let journal = Journal::default().with(
        &super::super::decide::Plan {
            primary: None,
            standing: super::super::decide::Standing::InOrder,
            changes: vec![Change { name: "a.conf".to_owned(), to: None }],
            skipped: Vec::new(),
        },
        &Seen::default(),
    );
    conf.carry_out(&Step::Keep(journal.clone())).unwrap();
    assert_eq!(conf.journal().unwrap(), journal);
    dir.write(".adit/journal.json", "damaged");
    assert_eq!(conf.journal().unwrap(), Journal::default());
    dir.write(".adit/.adit-new.journal.json.tmp", "?");
    dir.write(".adit-new.x.conf.tmp", "?");
    conf.carry_out(&Step::Forget).unwrap();
    conf.carry_out(&Step::Forget).unwrap();
    assert_eq!(dir.everything(), []);
}

#[test]
fn a_read_only_directory_is_told_with_what_to_do() {
    let error = NodeError {
        attempt: "write",
        path: "/opt/cni/bin/adit-cni".into(),
        source: io::Error::from(io::ErrorKind::ReadOnlyFilesystem),
    };
    assert!(error.to_string().contains("set global.platform"), "{error}");
}
