//! The rules in a real kernel: applied, tampered with, repaired, removed, and met by real connections. Needs root or
//! user namespaces, iproute2, nftables, iptables and ipset; fails where it lacks them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod host;
mod lab;
mod rig;
mod rules;
mod traffic;

use cni_plugin_redirect::rule::Family;
use cni_plugin_redirect::{Backend, Kind, Variant};
use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    lab::isolate();
    lab::enter_cgroup();
    let mut trials = Vec::new();
    for kind in [Kind::Nftables, Kind::Iptables(Variant::Nft), Kind::Iptables(Variant::Legacy)] {
        for (name, test) in rules::TESTS {
            trials.push(trial(name, &format!("with {kind}"), move || test(&backend(kind))));
        }
        for (name, test) in host::TESTS {
            trials.push(trial(name, &format!("with {kind}"), move || test(&host::Rig(kind))));
        }
        for family in Family::ALL {
            for (name, test) in traffic::TESTS {
                let way = format!("over {family} with {kind}");
                trials.push(trial(name, &way, move || test(&backend(kind), family)));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    lab::leave_cgroup();
    conclusion.exit();
}

fn trial(name: &str, way: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    let name = format!("{name} {way}").to_lowercase().replace([' ', '-'], "_");
    Trial::test(name.trim_end_matches('_'), move || {
        test();
        Ok(())
    })
}

fn backend(kind: Kind) -> Backend {
    Backend::try_out(kind).unwrap()
}
