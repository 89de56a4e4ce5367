//! Single addresses, resuming from what was kept, and asking anew.

use super::*;
use crate::session::{Addresses, Answered, Held};

#[test]
fn on_demand_nothing_is_subscribed_to_but_policies_are_all_wanted() {
    let mut session = on_demand();
    let [address, authorization] = session.open().try_into().unwrap();
    assert_eq!((address.resource_names_subscribe, address.resource_names_unsubscribe), star());
    assert_eq!(authorization.resource_names_subscribe, Vec::<String>::new());
    assert!(!session.synced());
    settle(&mut session, push(AUTHORIZATION_TYPE, "1"), &[]);
    assert!(session.synced(), "addresses do not count");
}

#[test]
fn a_key_is_asked_for_once_and_answered_by_name_alias_or_absence() {
    let mut session = on_demand();
    let request = session.ask("/10.0.0.1").unwrap();
    assert_eq!((request.resource_names_subscribe, request.node), (vec!["/10.0.0.1".to_owned()], None));
    assert_eq!(session.ask("/10.0.0.1"), None, "it is under way");
    session.ask("uid").unwrap();
    session.ask("/10.0.0.9").unwrap();

    let mut found = push(ADDRESS_TYPE, "1").with("uid-of-1", "1").with("uid", "1").without("/10.0.0.9");
    found.resources[0].aliases = vec!["/10.0.0.1".to_owned()];
    settle(&mut session, found, &[]);
    let Answered { keys, release } = session.answered();
    assert_eq!(keys, ["/10.0.0.1", "/10.0.0.9", "uid"]);
    // The control plane keeps sending the resources, by their names; the alias and the absent one are done with.
    assert_eq!(release.unwrap().resource_names_unsubscribe, ["/10.0.0.1", "/10.0.0.9"]);
    assert_eq!(session.answered(), Answered::default());
    assert_eq!(resumed(&mut session)[0], held(&[("uid", "1"), ("uid-of-1", "1")]));
    assert!(session.ask("/10.0.0.9").is_some(), "it may be there by now");
}

#[test]
fn a_refused_answer_is_an_answer() {
    let mut session = on_demand();
    session.ask("uid").unwrap();
    settle(&mut session, push(ADDRESS_TYPE, "1").with("uid", "1"), &["uid"]);
    assert_eq!(session.answered().keys, ["uid"]);
}

#[test]
fn an_unanswered_key_is_asked_for_again_on_the_next_stream() {
    let mut session = on_demand();
    settle(&mut session, push(ADDRESS_TYPE, "1").with("known", "7"), &[]);
    session.ask("/10.0.0.1").unwrap();
    assert_eq!(resumed(&mut session)[0], held(&[("/10.0.0.1", ""), ("known", "7")]));
    let release = session.abandon(vec!["/10.0.0.1".to_owned()]).unwrap();
    assert_eq!(release.resource_names_unsubscribe, ["/10.0.0.1"]);
    assert_eq!(resumed(&mut session)[0], held(&[("known", "7")]));
}

#[test]
fn what_was_kept_of_an_earlier_life_is_reported_and_not_yet_synced() {
    let mut session = session();
    let kept =
        |type_url, name: &str, version: &str| Held { type_url, name: name.into(), version: version.into() };
    session.resume(vec![kept(TypeUrl::Address, "a", "1"), kept(TypeUrl::Authorization, "ns/p", "")]);
    assert!(!session.synced());
    assert_eq!(resumed(&mut session), [held(&[("a", "1")]), held(&[("ns/p", "")])]);
    let (update, _) = receive(&mut session, push(ADDRESS_TYPE, "1").without("a"));
    assert_eq!(update.removed, ["a"]);
}

#[test]
fn a_session_that_may_not_report_drops_what_is_not_sent_again() {
    let mut session = session();
    settle(&mut session, push(ADDRESS_TYPE, "1").with("a", "1").with("b", "1"), &[]);
    session.forget_versions();
    assert_eq!(resumed(&mut session)[0], held(&[]));
    let (update, pending) = receive(&mut session, push(ADDRESS_TYPE, "2").with("b", "1"));
    assert_eq!(update.removed, ["a"]);
    session.settle(pending, Vec::new());
    assert_eq!(resumed(&mut session)[0], held(&[("b", "1")]), "it reports again");
}

fn on_demand() -> Session {
    session().wanting(Addresses::OnDemand)
}

fn star() -> (Vec<String>, Vec<String>) {
    (vec!["*".to_owned()], vec!["*".to_owned()])
}
