use super::*;

fn wanted(targets: &[&str]) -> Wanted {
    Wanted {
        probe_v4: Ipv4Addr::new(169, 254, 7, 127),
        probe_v6: None,
        who: Who::Uid(0),
        targets: set(targets),
    }
}

fn set(targets: &[&str]) -> BTreeSet<Target> {
    targets
        .iter()
        .map(|text| {
            let address: std::net::SocketAddr = text.parse().unwrap();
            (address.ip(), address.port())
        })
        .collect()
}

fn rule() -> Rule {
    Rule::new("postrouting", "a rule".to_owned(), 0)
}

fn found(targets: &[&str]) -> Found {
    Found { rules: vec![rule().comment], hooked: true, sets: true, targets: set(targets), jumps: Vec::new() }
}

#[test]
fn what_is_there_is_left_alone() {
    assert_eq!(wanted(&["10.0.0.1:80"]).change(&found(&["10.0.0.1:80"]), &[rule()]), None);
}

#[test]
fn only_the_difference_is_written() {
    let change =
        wanted(&["10.0.0.1:80", "10.0.0.2:80"]).change(&found(&["10.0.0.1:80", "10.0.0.3:80"]), &[rule()]);
    let want = Change { add: set(&["10.0.0.2:80"]), delete: set(&["10.0.0.3:80"]), ..Change::default() };
    assert_eq!(change, Some(want));
}

#[test]
fn rules_are_written_again_when_anything_about_them_differs() {
    let good = found(&[]);
    let spoilt = [
        Found { hooked: false, ..good.clone() },
        Found { sets: false, ..good.clone() },
        Found { rules: Vec::new(), ..good.clone() },
        Found { rules: vec![rule().comment, "accept".to_owned()], ..good.clone() },
        Found { rules: vec!["accept".to_owned()], ..good },
    ];
    for found in spoilt {
        let change = wanted(&[]).change(&found, &[rule()]);
        assert_eq!(change, Some(Change { rules: true, ..Change::default() }), "{found:?}");
    }
}

#[test]
fn a_rule_is_known_by_its_text_and_by_what_it_names() {
    let same = Rule::new("postrouting", "a rule".to_owned(), 0);
    assert_eq!(same.comment, rule().comment);
    assert_ne!(Rule::new("postrouting", "a rule.".to_owned(), 0).comment, rule().comment);
    assert_ne!(Rule::new("postrouting", "a rule".to_owned(), 7).comment, rule().comment);
}

#[test]
fn who_is_matched_is_said_in_words() {
    let cgroup = Cgroup { path: "/kubelet.service".to_owned(), level: 1, inode: 9, directory: "/x".into() };
    for (who, said) in [
        (Who::Cgroup { uid: 0, cgroup }, "sockets of user 0 in the kubelet's cgroup /kubelet.service"),
        (Who::Uid(5), "sockets of the kubelet's user 5"),
        (Who::AssumedRoot, "sockets of root, as no kubelet was found"),
    ] {
        assert_eq!(who.to_string(), said);
    }
}
