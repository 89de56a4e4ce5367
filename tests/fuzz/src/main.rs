//! Gives one target, named by `ADIT_FUZZ_TARGET`, whatever libFuzzer thinks of.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tests::fuzz::{TARGETS, Target, named};

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| (target().run)(bytes));

fn target() -> Target {
    *TARGET.get_or_init(|| {
        let name = std::env::var("ADIT_FUZZ_TARGET").unwrap_or_default();
        let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        named(&name).unwrap_or_else(|| panic!("ADIT_FUZZ_TARGET={name:?} is none of {known:?}"))
    })
}
