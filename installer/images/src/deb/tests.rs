use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::tree::Kind;

/// A package that dpkg-deb builds from these files.
fn package(name: &str, furnish: impl FnOnce(&Path)) -> (PathBuf, PathBuf) {
    let home = std::env::temp_dir().join(format!("adit-images-{name}-{}", std::process::id()));
    let tree = home.join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: 1:2.3-4\nArchitecture: all\nMaintainer: nobody <n@example.com>\nDescription: a test\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    furnish(&tree);
    let deb = home.join("made.deb");
    let built = Command::new("dpkg-deb").arg("--build").arg(&tree).arg(&deb).output().unwrap();
    assert!(built.status.success(), "{built:?}");
    (home, deb)
}

fn write(tree: &Path, path: &str, text: &str) {
    let path = tree.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_package_is_what_dpkg_says_without_what_images_leave_out() {
    let (home, deb) = package("a-tool", |tree| {
        write(tree, "usr/bin/tool", "#!");
        symlink("tool", tree.join("usr/bin/alias")).unwrap();
        fs::hard_link(tree.join("usr/bin/tool"), tree.join("usr/bin/second")).unwrap();
        write(tree, "usr/share/doc/a-tool/copyright", "MIT");
        write(tree, "usr/share/doc/a-tool/changelog", "long");
        write(tree, "usr/share/man/man1/tool.1", "longer");
        write(tree, "lib/systemd/system/tool.service", "a unit");
    });
    let made = open(&deb).unwrap();
    assert_eq!(
        (made.name.as_str(), made.version.as_str(), made.architecture.as_str()),
        ("a-tool", "1:2.3-4", "all")
    );
    assert!(made.control.starts_with("Package: a-tool\n"), "{}", made.control);
    assert_eq!(made.sha256, sha256(&fs::read(&deb).unwrap()));
    let files: BTreeMap<_, _> = made.files.into_iter().map(|(path, entry)| (path, entry.kind)).collect();
    let find = |path: &str| files.get(path).cloned();
    assert_eq!(find("usr/bin/tool"), Some(Kind::File(b"#!".to_vec())));
    assert_eq!(find("usr/bin/second"), find("usr/bin/tool"));
    assert_eq!(find("usr/bin/alias"), Some(Kind::Link("tool".to_owned())));
    assert_eq!(find("usr/share/doc/a-tool/copyright"), Some(Kind::File(b"MIT".to_vec())));
    for path in ["usr/share/doc/a-tool/changelog", "usr/share/man", "lib/systemd/system/tool.service"] {
        assert_eq!(find(path), None, "{path}");
    }
    fs::remove_dir_all(home).unwrap();
}

#[test]
fn a_file_that_is_no_package_is_named_with_what_to_do() {
    let path = std::env::temp_dir().join(format!("adit-images-broken-{}.deb", std::process::id()));
    fs::write(&path, "half of a package").unwrap();
    let refused = open(&path).unwrap_err();
    assert!(matches!(refused, DebError::Damaged { .. }), "{refused:?}");
    assert!(refused.to_string().contains("download it anew"), "{refused}");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_control_file_is_read_by_its_fields_names() {
    let control = "Package: a\nVersion: 1\nDescription: b\n Version: 2\nArchitecture:\n";
    assert_eq!(field(control, "Version"), Some("1"));
    assert_eq!(field(control, "Architecture"), None);
    assert_eq!(field(control, "Pack"), None);
}
