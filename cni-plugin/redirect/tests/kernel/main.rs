//! The rules in a real kernel: applied, tampered with, repaired, removed, and met by real connections. Needs root or
//! user namespaces, iproute2 and iptables; fails where it lacks them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod lab;
mod rules;
mod traffic;

use cni_plugin_redirect::rule::Family;
use cni_plugin_redirect::{Iptables, Variant};
use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    lab::isolate();
    let mut trials = vec![trial("the_best_iptables_is_found", rules::the_best_iptables_is_found)];
    for variant in [Variant::Nft, Variant::Legacy] {
        for (name, test) in rules::TESTS {
            trials.push(trial(&format!("{name}_with_{variant:?}"), move || test(&detect(variant))));
        }
        for family in Family::ALL {
            for (name, test) in traffic::TESTS {
                let name = format!("{name}_over_{family}_with_{variant:?}");
                trials.push(trial(&name, move || test(&detect(variant), family)));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name.to_lowercase(), move || {
        test();
        Ok(())
    })
}

fn detect(variant: Variant) -> Iptables {
    Iptables::detect(Some(variant)).unwrap()
}
