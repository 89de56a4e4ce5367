//! Thousands of random lives of a node, against what enrollment promises: whatever happens in whatever order, nobody is said to
//! be captured who is not, one pod holds up no other, every plugin call is answered once, and nothing is left behind.

mod chaos;
mod cluster;
mod node;
mod outbound;

use self::node::Node;

/// One after the other; a failure names its seed and what had happened.
fn live(seeds: std::ops::Range<u64>, restarts: bool) {
    for seed in seeds {
        let mut node = Node::new(seed, restarts);
        for _ in 0..node.rng.usize(10..70) {
            node.disturb();
            node.lets_nobody_out_unproved();
        }
        node.settle();
        node.holds_its_promises();
        if node.rng.u8(..) < 16 {
            node.uninstall();
        }
    }
}

#[test]
fn pods_that_come_and_go_are_captured_or_not_said_to_be_in_seven_thousand_schedules() {
    live(0..7_000, false);
}

#[test]
fn so_they_are_when_agents_and_proxies_restart_in_seven_thousand_schedules() {
    live(10_000..17_000, true);
}
