use serde_json::json;

use super::*;

fn set(arguments: &[&str]) -> Result<Value, ValuesError> {
    load(&Sources { set: arguments.iter().map(ToString::to_string).collect(), ..Sources::default() })
}

#[track_caller]
fn check(argument: &str, want: Value) {
    assert_eq!(set(&[argument]).unwrap(), want, "{argument}");
}

#[track_caller]
fn refuses(argument: &str, want: &str) {
    assert_eq!(set(&[argument]).unwrap_err().to_string(), format!("--set {argument}: {want}"));
}

#[test]
fn arguments_are_read_as_helm_reads_them() {
    check("a=1,b.c=two", json!({"a": 1, "b": {"c": "two"}}));
    check("a={1,x,true}", json!({"a": [1, "x", true]}));
    check("a[1]=x", json!({"a": [null, "x"]}));
    check("a[0].b=1,a[0].c=2", json!({"a": [{"b": 1, "c": 2}]}));
    check("a[0][1]=x", json!({"a": [[null, "x"]]}));
    check("a=null,b=,c=TRUE", json!({"a": null, "b": "", "c": true}));
    check("a=1.10,b=007,c=0", json!({"a": "1.10", "b": "007", "c": 0}));
    check(r"a=x\,y,b\.c=1", json!({"a": "x,y", "b.c": 1}));
    check(r"nodeSelector.kubernetes\.io/role=m", json!({"nodeSelector": {"kubernetes.io/role": "m"}}));
}

#[test]
fn a_later_argument_goes_over_an_earlier_one() {
    assert_eq!(set(&["a.b=1,a.c=2", "a.b=3"]).unwrap(), json!({"a": {"b": 3, "c": 2}}));
}

#[test]
fn what_cannot_be_read_says_what_to_write() {
    refuses("a", "key `a` has no value; write `a=value`");
    refuses("a.b", "key `b` has no value; write `b=value`");
    refuses("a[x]=1", "`[x]` is no index; write a number from 0 to 65536");
    refuses("a[70000]=1", "`[70000]` is no index; write a number from 0 to 65536");
    refuses("a[0]b=1", "`b` stands after `]`, where only `.`, `[` or `=` may");
    refuses("a={1,2", "the list that begins with `{` has no `}`");
    refuses("a=1,a.b=2", "`a` holds no map, so nothing can be set below it");
    refuses("a=1,a[0]=2", "`a` holds no list, so it takes no index");
}

#[test]
fn strings_stay_text_and_json_is_json() {
    let values = load(&Sources {
        set_string: vec!["tag=1,on=true".to_owned()],
        set_json: vec![r#"a={"b":[1,2]},c=null"#.to_owned(), r#"{"d":{"e":1}}"#.to_owned()],
        ..Sources::default()
    })
    .unwrap();
    assert_eq!(values, json!({"tag": "1", "on": "true", "a": {"b": [1.0, 2.0]}, "c": null, "d": {"e": 1.0}}));
}

#[test]
fn files_are_merged_in_order_and_their_documents_too() {
    let folder = std::env::temp_dir().join(format!("adit-values-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let first = write("first.yaml", "a: {b: 1, c: 2}\nl: [1]\n---\nd: yes\nmode: 0644\n");
    let second = write("second.yaml", "a: {c: 3}\nl: [2, 3]\n");
    let text = write("text", "hello\n");
    let values = load(&Sources {
        files: vec![first, second],
        set_file: vec![format!("t={}", text.display())],
        ..Sources::default()
    });
    let list = load(&Sources { files: vec![write("list.yaml", "- a\n")], ..Sources::default() });
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(
        values.unwrap(),
        json!({"a": {"b": 1.0, "c": 3.0}, "l": [2.0, 3.0], "d": true, "mode": 420.0, "t": "hello\n"})
    );
    let error = list.unwrap_err();
    assert!(matches!(error, ValuesError::NotAMap { found: "a list", .. }), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(&Sources { files: vec![PathBuf::from("/no/such")], ..Sources::default() }).unwrap_err();
    assert!(
        matches!(&error, ValuesError::Unreadable { path, .. } if path == Path::new("/no/such")),
        "{error}"
    );
}
