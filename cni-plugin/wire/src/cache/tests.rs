use super::*;

#[test]
fn what_is_written_is_read() {
    let path = scratch("round");
    let selected = SelectedNamespaces(["b", "a"].map(str::to_owned).into());
    selected.write(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"version":1,"namespaces":["a","b"]}"#);
    let read = SelectedNamespaces::read(&path).unwrap().unwrap();
    assert_eq!(read, selected);
    assert!(read.contains("a") && !read.contains("c"));
}

#[test]
fn a_file_that_was_never_written_says_nothing() {
    assert!(SelectedNamespaces::read(&scratch("absent")).unwrap().is_none());
}

#[test]
fn a_damaged_file_is_not_an_empty_one() {
    let path = scratch("damaged");
    for text in ["", "{}", r#"{"version":1}"#, r#"{"version":1,"namespaces":[1]}"#] {
        fs::write(&path, text).unwrap();
        let error = SelectedNamespaces::read(&path).unwrap_err();
        assert!(matches!(error, CacheError::Malformed { .. }), "{text}: {error:?}");
    }
}

#[test]
fn a_newer_file_is_refused_by_name() {
    let path = scratch("newer");
    fs::write(&path, r#"{"version":2,"namespaces":[]}"#).unwrap();
    let error = SelectedNamespaces::read(&path).unwrap_err();
    assert!(matches!(error, CacheError::UnsupportedVersion { got: 2, .. }), "{error:?}");
}

#[test]
fn a_missing_folder_is_a_failed_write() {
    let path = scratch("folder").with_file_name("none").join("selected-namespaces.json");
    let error = SelectedNamespaces::default().write(&path).unwrap_err();
    assert!(matches!(error, CacheError::Write { .. }), "{error:?}");
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("adit-cache-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder.join("selected-namespaces.json")
}
