//! What is read of the kernel's accounts, and what is made of it.

use super::{Threads, busy, ran};

#[test]
fn busy_is_everything_but_idle_waiting_and_stolen() {
    let stat = "cpu  100 20 300 4000 50 6 70 8 9 0\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 1\n";
    assert!((busy(stat) - 4.96).abs() < 1e-9);
}

#[test]
fn a_new_thread_counts_whole_and_an_ended_one_not_at_all() {
    let threads =
        |all: &[(&str, u64)]| Threads(all.iter().map(|(name, ns)| ((*name).to_owned(), *ns)).collect());
    let before = threads(&[("1", 1_000_000_000), ("2", 5_000_000_000)]);
    let after = threads(&[("1", 1_500_000_000), ("3", 250_000_000)]);
    assert!((after.since(&before) - 0.75).abs() < 1e-9);
}

#[test]
fn the_first_field_is_time_on_a_cpu() {
    assert_eq!(ran("123456 789 12\n"), Some(123_456));
    assert_eq!(ran(""), None);
}
