use super::canary as canary_of;
use super::*;

fn given(canary: Option<&str>, outbound: Option<&str>) -> (Canary, Unproved, Vec<String>) {
    let mut errors = Errors(Vec::new());
    let text = |given: Option<&str>| given.map(str::to_owned);
    let raw = RawEnrollment { canary: text(canary), unproved_outbound: text(outbound) };
    let (canary, unproved) = (canary_of(&mut errors, &raw), unproved(&mut errors, &raw));
    (canary, unproved, errors.0.iter().map(ToString::to_string).collect())
}

#[test]
fn unproved_pods_may_speak_unless_they_are_refused() {
    for (outbound, want) in [
        (None, Unproved::Allow),
        (Some(""), Unproved::Allow),
        (Some("allow"), Unproved::Allow),
        (Some("refuse"), Unproved::Refuse),
    ] {
        assert_eq!(given(None, outbound), (Canary::On, want, Vec::new()), "{outbound:?}");
    }
}

#[test]
fn another_word_is_told_with_its_setting_and_what_that_takes() {
    let (_, _, told) = given(Some("never"), Some("deny"));
    let [canary, outbound] = told.as_slice() else { panic!("{told:?}") };
    assert!(canary.contains("ADIT_CANARY") && canary.contains("on, enrollment or off"), "{canary}");
    assert!(
        outbound.contains("ADIT_UNPROVED_OUTBOUND") && outbound.contains("allow or refuse"),
        "{outbound}"
    );
    assert!(outbound.contains("deny"), "{outbound}");
}
