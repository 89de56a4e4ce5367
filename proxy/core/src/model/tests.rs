//! Names that are read, and names that are not.

use proptest::prelude::*;

use super::{Identity, NamespacedHostname, StringMatch};
use crate::Pick;

#[test]
fn an_identity_has_exactly_five_parts() {
    let text = "spiffe://td.example/ns/shop/sa/web";
    let identity: Identity = text.parse().unwrap();
    assert_eq!(identity, Identity::new("td.example", "shop", "web"));
    assert_eq!(identity.to_string(), text);
    assert_eq!(identity.principal(), "td.example/ns/shop/sa/web");
    for text in [
        "",
        "td/ns/a/sa/b",
        "https://td/ns/a/sa/b",
        "spiffe://td/ns/a/sa",
        "spiffe://td/ns/a/sa/b/c",
        "spiffe://td/ns/a/sa/b/",
        "spiffe://td/sa/a/ns/b",
        "spiffe:///ns/a/sa/b",
        "spiffe://td/ns//sa/b",
        "spiffe://td/ns/a/sa/",
        "SPIFFE://td/ns/a/sa/b",
    ] {
        let error = text.parse::<Identity>().unwrap_err();
        assert!(error.to_string().starts_with(&format!("{text:?} is not")), "{error}");
    }
}

#[test]
fn a_service_s_name_has_one_slash() {
    let read = |text: &str| text.parse::<NamespacedHostname>().map(|key| key.to_string());
    assert_eq!(read("ns/web.ns.svc").as_deref(), Ok("ns/web.ns.svc"));
    for text in ["web", "c//Pod/ns/web", "a/b/c"] {
        assert!(read(text).is_err_and(|error| error.to_string().contains(text)));
    }
}

#[test]
fn presence_is_anything_but_nothing() {
    assert!(StringMatch::Presence.fits("x"));
    assert!(!StringMatch::Presence.fits(""));
}

proptest! {
    #[test]
    fn a_choice_stays_below_its_bound(bits in any::<u64>(), turn in any::<u64>(), bound in 1_u64..) {
        prop_assert!(Pick(bits).below(turn, bound) < bound);
        prop_assert_eq!(Pick(bits).below(turn, 0), 0);
    }
}
