//! The rules in a real kernel: applied, tampered with, repaired, removed, and met by real connections. Needs root or
//! user namespaces, iproute2, nftables, iptables and ipset; fails where it lacks them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod choice;
mod families;
mod host;
mod istio;
mod lab;
mod programs;
mod refusal;
mod rig;
mod rules;
mod takeover;
mod traffic;
mod wishes;

use cni_plugin_redirect::rule::Family;
use cni_plugin_redirect::{Backend, Kind, Variant};
use libtest_mimic::{Arguments, Trial};

use self::takeover::Former;

fn main() {
    let arguments = Arguments::from_args();
    lab::isolate();
    lab::enter_cgroup();
    let mut trials = vec![trial(
        "a_node_without_ip6tables_captures_ipv4",
        "",
        families::a_node_without_ip6tables_captures_ipv4,
    )];
    trials.extend(choice::TESTS.iter().map(|(name, test)| trial(name, "", test)));
    for kind in KINDS {
        for (name, test) in rules::TESTS.iter().chain(families::TESTS).chain(takeover::TESTS) {
            trials.push(trial(name, &format!("with {kind}"), move || test(&backend(kind))));
        }
        for (name, test) in host::TESTS {
            trials.push(trial(name, &format!("with {kind}"), move || test(&host::Rig(kind))));
        }
        for family in Family::ALL {
            for (name, test) in
                traffic::TESTS.iter().chain(wishes::TESTS).chain(refusal::TESTS).chain(takeover::REPAIR)
            {
                let way = format!("over {family} with {kind}");
                trials.push(trial(name, &way, move || test(&backend(kind), family)));
            }
            let formers = KINDS.iter().flat_map(|former| [Former::Istio(*former), Former::Ours(*former)]);
            for former in formers {
                let way = format!("by {kind} over {family}");
                let test = move || takeover::is_taken_over_without_a_break(&backend(kind), former, family);
                trials.push(trial(&format!("{former} is_taken_over_without_a_break"), &way, test));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    lab::leave_cgroup();
    conclusion.exit();
}

const KINDS: [Kind; 3] = [Kind::Nftables, Kind::Iptables(Variant::Nft), Kind::Iptables(Variant::Legacy)];

fn trial(name: &str, way: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    let name = format!("{name} {way}").trim().to_lowercase().replace([' ', '-'], "_");
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

fn backend(kind: Kind) -> Backend {
    Backend::try_out(kind).unwrap()
}
