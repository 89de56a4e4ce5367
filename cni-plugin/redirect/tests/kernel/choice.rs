//! Which backend is found, and that looking for it changes nothing.

use std::os::fd::AsFd;

use cni_plugin_redirect::{Backend, Drift, Kind, RedirectError, Variant, Wish, apply, choose};

use crate::istio;
use crate::lab::Namespace;
use crate::programs::{counting, without};
use crate::rig::planned;

/// A name and what it promises.
type Row = (&'static str, fn());

pub(crate) const TESTS: &[Row] = &[
    ("looking_for_a_backend_leaves_no_trace", looking_for_a_backend_leaves_no_trace),
    ("a_choice_holds_over_many_starts", a_choice_holds_over_many_starts),
    ("a_deployment_of_istio_cni_is_recognised", a_deployment_of_istio_cni_is_recognised),
    ("without_iptables_native_nftables_serve", without_iptables_native_nftables_serve),
    ("without_nft_an_iptables_serves", without_nft_an_iptables_serves),
    ("a_recorded_backend_that_is_gone_is_replaced_and_named", a_recorded_backend_that_is_gone_is_replaced),
    ("where_nothing_works_every_trial_is_named", where_nothing_works_every_trial_is_named),
    ("an_enrolment_costs_few_programs", an_enrolment_costs_few_programs),
];

const WISHES: [Wish; 5] = [
    Wish::Auto,
    Wish::Nftables,
    Wish::Iptables(None),
    Wish::Iptables(Some(Variant::Nft)),
    Wish::Iptables(Some(Variant::Legacy)),
];

fn looking_for_a_backend_leaves_no_trace() {
    let host = Namespace::new();
    for wish in WISHES {
        choose(wish, None, Some(host.as_fd())).unwrap();
        host.inside(|| choose(wish, None, None)).unwrap();
    }
    assert_eq!(host.run("nft list ruleset; cat /proc/net/ip_tables_names /proc/net/ip6_tables_names"), "");
}

/// What misled others: tables that were made by asking for them, and then rules of both kinds.
fn a_choice_holds_over_many_starts() {
    let (host, pod) = (Namespace::new(), Namespace::new());
    for wish in [Wish::Auto, Wish::Iptables(None)] {
        let mut recorded = None;
        let mut first = None;
        for start in 0..20 {
            let chosen = choose(wish, recorded, Some(host.as_fd())).unwrap();
            let kind = *recorded.get_or_insert_with(|| chosen.backend.kind());
            assert_eq!(chosen.backend.kind(), kind);
            let applied = apply::apply(&chosen.backend, pod.as_fd(), &planned(false)).unwrap();
            assert_eq!(
                apply::inspect(&chosen.backend, pod.as_fd(), &planned(false)).unwrap(),
                Drift::default()
            );
            let rules =
                pod.run("nft -s -a list ruleset; iptables-legacy-save -t nat; ip6tables-legacy-save -t nat");
            let state = (applied.plan.hash(), rules.lines().filter(|l| !l.starts_with('#')).count());
            assert_eq!(*first.get_or_insert(state), state, "{rules}");
            match start {
                0 => drop(host.run("iptables-legacy -t nat -L; iptables-legacy -t filter -L")),
                5 => drop(host.run("iptables-legacy -t nat -A OUTPUT -d 10.9.9.9 -j ACCEPT")),
                10 => drop(host.run("iptables-nft -t nat -A OUTPUT -d 10.9.9.9 -j ACCEPT")),
                _ => {}
            }
        }
    }
}

fn a_deployment_of_istio_cni_is_recognised() {
    let chosen = |host: &Namespace, wish| choose(wish, None, Some(host.as_fd())).unwrap().backend.kind();
    for (deployed, command) in [
        (Kind::Iptables(Variant::Legacy), "iptables-legacy -t nat -N ISTIO_POSTRT"),
        (Kind::Iptables(Variant::Nft), "iptables-nft -t nat -N ISTIO_POSTRT"),
        (Kind::Nftables, "nft add table inet istio-ambient-nat"),
    ] {
        let host = Namespace::new();
        host.run(command);
        assert_eq!(chosen(&host, Wish::Auto), deployed);
        assert_eq!(chosen(&host, Wish::Nftables), Kind::Nftables);
    }
    // Tables without a rule are no evidence; rules are.
    let host = Namespace::new();
    host.run("iptables-legacy -t nat -L");
    assert_eq!(chosen(&host, Wish::Iptables(None)), Kind::Iptables(Variant::Nft));
    host.run("iptables-legacy -t nat -A OUTPUT -d 10.9.9.9 -j ACCEPT");
    assert_eq!(chosen(&host, Wish::Iptables(None)), Kind::Iptables(Variant::Legacy));
}

fn without_iptables_native_nftables_serve() {
    without(&["iptables", "ip6tables", "xtables"], || {
        let chosen = choose(Wish::Auto, None, None).unwrap();
        assert_eq!(chosen.backend.kind(), Kind::Nftables);
        let pod = Namespace::new();
        apply::apply(&chosen.backend, pod.as_fd(), &planned(true)).unwrap();
        assert_eq!(apply::inspect(&chosen.backend, pod.as_fd(), &planned(true)).unwrap(), Drift::default());
        apply::remove(&chosen.backend, pod.as_fd()).unwrap();
        assert_eq!(pod.run("nft list ruleset"), "");
    });
}

/// Native tables of an earlier agent are taken away by netlink then.
fn without_nft_an_iptables_serves() {
    let pod = Namespace::new();
    pod.run(&istio::enrol(Kind::Nftables));
    without(&["nft"], || {
        let chosen = choose(Wish::Auto, None, None).unwrap();
        assert_eq!(chosen.backend.kind(), Kind::Iptables(Variant::Nft));
        assert!(chosen.why.contains("nft: not installed"), "{}", chosen.why);
        apply::apply(&chosen.backend, pod.as_fd(), &planned(false)).unwrap();
        assert_eq!(apply::inspect(&chosen.backend, pod.as_fd(), &planned(false)).unwrap(), Drift::default());
    });
    assert!(!pod.run("nft list tables").contains("istio-ambient"));
}

fn a_recorded_backend_that_is_gone_is_replaced() {
    without(&["iptables-legacy", "ip6tables-legacy"], || {
        let chosen = choose(Wish::Auto, Some(Kind::Iptables(Variant::Legacy)), None).unwrap();
        assert_eq!(chosen.backend.kind(), Kind::Nftables);
        assert!(chosen.why.contains("iptables-legacy-restore: not installed"), "{}", chosen.why);
    });
}

fn where_nothing_works_every_trial_is_named() {
    without(&["nft", "iptables", "ip6tables", "xtables"], || {
        let error = choose(Wish::Auto, None, None).unwrap_err();
        assert!(matches!(&error, RedirectError::NoBackend { tried } if tried.len() == 4), "{error:?}");
        for name in ["nft", "iptables-nft-restore", "iptables-legacy-restore", "iptables-restore"] {
            assert!(error.to_string().contains(&format!("{name}: not installed")), "{error}");
        }
    });
}

/// What each step starts: enrolling, measuring, enrolling again, withdrawing.
fn an_enrolment_costs_few_programs() {
    for (kind, want) in [
        (Kind::Nftables, [1, 1, 1, 0]),
        (Kind::Iptables(Variant::Nft), [2, 2, 2, 4]),
        (Kind::Iptables(Variant::Legacy), [2, 2, 2, 4]),
    ] {
        counting(|count| {
            let backend = Backend::try_out(kind).unwrap();
            // What a program prints of a plan is learnt once.
            apply::inspect(&backend, Namespace::new().as_fd(), &planned(false)).unwrap();
            let pod = Namespace::new();
            let mut last = count();
            let mut since = || {
                let before = std::mem::replace(&mut last, count());
                last - before
            };
            apply::apply(&backend, pod.as_fd(), &planned(false)).unwrap();
            let enrolling = since();
            apply::inspect(&backend, pod.as_fd(), &planned(false)).unwrap();
            let measuring = since();
            apply::apply(&backend, pod.as_fd(), &planned(false)).unwrap();
            let again = since();
            apply::remove(&backend, pod.as_fd()).unwrap();
            assert_eq!([enrolling, measuring, again, since()], want, "{kind}");
        });
    }
}
