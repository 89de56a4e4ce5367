use super::*;

fn attachment(config: &str) -> String {
    format!(
        r#"{{"kind":"cniCacheV1","containerId":"c","config":"{}","ifName":"eth0"}}"#,
        STANDARD.encode(config)
    )
}

#[test]
fn attachments_with_the_plugin_in_their_chain_are_counted() {
    let cache = std::env::temp_dir().join(format!("adit-attachments-{}", std::process::id()));
    let results = cache.join("results");
    fs::create_dir_all(results.join("a-directory")).unwrap();
    let files = [
        ("net-1-eth0", attachment(r#"{"plugins":[{"type":"ptp"},{"type":"adit-cni"}]}"#)),
        ("net-2-eth0", attachment(r#"{"plugins":[{"type":"ptp"},{"type":"istio-cni"}]}"#)),
        ("net-3-eth0", attachment(r#"{"type":"adit-cni"}"#)),
        ("net-4-eth0", "damaged".to_owned()),
        ("net-5-eth0", r#"{"config":"no base64!"}"#.to_owned()),
        ("net-6-eth0", r#"{"cniVersion":"0.3.1","ips":[]}"#.to_owned()),
    ];
    for (name, text) in files {
        fs::write(results.join(name), text).unwrap();
    }
    assert_eq!(with_plugin(&cache, "adit-cni").unwrap(), 2);
    assert_eq!(with_plugin(&cache, "istio-cni").unwrap(), 1);
    fs::remove_dir_all(&cache).unwrap();
    assert_eq!(with_plugin(&cache, "adit-cni").unwrap_err().path, results);
}
