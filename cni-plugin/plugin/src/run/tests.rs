use std::path::PathBuf;

use super::*;

#[test]
fn by_hand_the_plugin_says_what_it_is() {
    let mut stderr = Vec::new();
    let reply = run(&Environment::default(), std::io::empty(), &mut stderr);
    assert_eq!(reply, Reply { document: None, success: true });
    assert!(String::from_utf8(stderr).unwrap().contains("1.0.0, 1.1.0"));
}

#[test]
fn a_stdin_that_breaks_off_is_an_io_failure() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    let environment =
        Environment::read(|name| matches!(name, "CNI_COMMAND" | "CNI_PATH").then(|| "STATUS".to_owned()));
    let reply = run(&environment, Broken, &mut std::io::sink());
    let document: Value = serde_json::from_str(&reply.document.unwrap()).unwrap();
    assert_eq!((document["code"].as_u64(), document["details"].as_str()), (Some(5), Some("broken")));
}

#[test]
fn a_panic_is_an_error_document_too() {
    struct Mad;
    impl Read for Mad {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("a bug of ours")
        }
    }
    let environment =
        Environment::read(|name| matches!(name, "CNI_COMMAND" | "CNI_PATH").then(|| "STATUS".to_owned()));
    let reply = run(&environment, Mad, &mut std::io::sink());
    assert!(!reply.success);
    let document: Value = serde_json::from_str(&reply.document.unwrap()).unwrap();
    assert_eq!(document["code"], 999);
}

#[test]
fn an_error_document_has_code_message_and_causes() {
    let source = std::io::Error::other("no such thing");
    let error = CniError::NetnsUnreadable { path: PathBuf::from("/x"), source };
    let want = serde_json::json!({
        "cniVersion": "1.0.0", "code": 5, "msg": "open the network namespace /x", "details": "no such thing",
    });
    assert_eq!(error.document("1.0.0"), want);
    let bare = CniError::NameMissing.document("1.0.0");
    assert_eq!(bare.get("details"), None);
}

#[test]
fn agents_words_become_codes() {
    let failed = |retry| Ok(Outcome::Failed { message: "no proxy".to_owned(), retry });
    let rows = [
        (Ok(Outcome::Enrolled), None),
        (Ok(Outcome::NotSelected), None),
        (failed(true), Some(11)),
        (failed(false), Some(999)),
        (Ok(Outcome::Done), Some(999)),
        (Ok(Outcome::Limited { message: "no proxy".to_owned() }), Some(999)),
    ];
    for (heard, want) in rows {
        let config = Config::parse(br#"{"name":"net"}"#).unwrap();
        let mut out = std::io::sink();
        let mut log = Log::new(config.log_level, &mut out);
        let judged = judge(heard, &Pod::default(), &config, &mut log);
        assert_eq!(judged.map_err(|error| error.code()).err(), want);
    }
}
