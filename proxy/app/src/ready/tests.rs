//! What metrics say of readiness.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::{PODS, Ready, STATE};
use crate::metrics::TaskLabel;

#[test]
fn metrics_say_of_every_task_whether_it_is_waited_for() {
    let gauges = Family::<TaskLabel, Gauge>::default();
    let told = |task| gauges.get_or_create(&TaskLabel { task }).get();
    let ready = Ready::waiting_for(&[STATE, PODS]).telling(gauges.clone());
    assert_eq!([told(STATE), told(PODS)], [1, 1]);
    ready.done(STATE);
    ready.done(PODS);
    assert_eq!([told(STATE), told(PODS)], [0, 0]);
    ready.pending(PODS);
    assert_eq!([told(STATE), told(PODS)], [0, 1], "the agent's connection dropped");
}
