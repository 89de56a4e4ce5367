mod informers;
mod measure;
mod model;
mod probes;
mod refuse;
mod restore;

use cni_plugin_wire::event::Outcome;

use super::*;
use crate::config::Unproved;
use crate::netns::Netns;
use crate::netns::tests::stand_in;
use crate::selector;

const MODE: &str = "istio.io/dataplane-mode";

/// The machine, a clock, and commands as words.
struct Rig {
    machine: Enrollment,
    now: Moment,
}

impl Rig {
    /// Nothing known yet.
    fn unsynced() -> Self {
        let policy = Policy {
            selectors: selector::parse(selector::DEFAULT).unwrap(),
            excluded_namespaces: BTreeSet::from(["kube-system".to_owned()]),
            system_namespace: "istio-system".to_owned(),
            node: "n1".to_owned(),
        };
        let timing = Timing {
            canary: Canary::Off,
            unproved: Unproved::Allow,
            measure: Some(Duration::from_secs(30)),
            withdraw_grace: Duration::from_secs(1),
            pod_wait: Duration::from_secs(3),
            plugin_deadline: Duration::from_millis(4500),
        };
        let mut rig = Self { machine: Enrollment::new(policy, timing), now: Moment::default() };
        assert_eq!(rig.on(Event::Proxies(1)), [""; 0]);
        rig
    }

    /// Synced, with an `ambient` namespace `mesh` and an unlabelled namespace `plain`.
    fn new() -> Self {
        let mut rig = Self::unsynced();
        rig.namespaces();
        assert_eq!(rig.on(Event::Synced), ["remember mesh", "serve"]);
        rig
    }

    fn namespaces(&mut self) {
        assert_eq!(self.namespace("mesh", "ambient"), [""; 0]);
        assert_eq!(self.namespace("plain", ""), [""; 0]);
    }

    fn on(&mut self, event: Event) -> Vec<String> {
        self.all(event).iter().filter(|command| !is_aside(command)).map(words).collect()
    }

    /// Pods that are enrolled, and pods that are wanted and not enrolled yet.
    fn counts(&self) -> (usize, usize) {
        let Census { enrolled, pending, unproved, without_netns } = self.machine.census();
        (enrolled, pending + unproved + without_netns)
    }

    /// All commands, and those that follow once records are written, as they always are, and once pods may speak that an
    /// earlier agent may have refused.
    fn all(&mut self, event: Event) -> Vec<Command> {
        let allows = self.machine.timing.unproved == Unproved::Allow;
        let mut commands = self.machine.on(event, self.now);
        let mut at = 0;
        while let Some(command) = commands.get(at) {
            let answered = if let Command::Save { pod, .. } = command {
                Some((uid_of(pod), Ended::Saved))
            } else if let Command::Allow { pod, .. } = command {
                allows.then(|| (uid_of(pod), Ended::Allowed(Ok(()))))
            } else {
                None
            };
            if let Some((uid, ended)) = answered {
                commands.extend(self.machine.on(Event::Done { uid, ended }, self.now));
            }
            at += 1;
        }
        commands.retain(|command| !(allows && matches!(command, Command::Allow { .. })));
        commands
    }

    fn namespace(&mut self, name: &str, mode: &str) -> Vec<String> {
        let mut namespace = Namespace::default();
        namespace.metadata.name = name.to_owned();
        namespace.metadata.labels.insert(MODE.to_owned(), mode.to_owned());
        self.on(Event::NamespaceSeen(namespace))
    }

    fn seen(&mut self, pod: &Pod) -> Vec<String> {
        self.on(Event::PodSeen { pod: Arc::new(pod.clone()), recorded: None })
    }

    fn done(&mut self, pod: &str, ended: Ended) -> Vec<String> {
        self.on(Event::Done { uid: uid(pod), ended })
    }

    fn later(&mut self, seconds: u64) -> Vec<String> {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.on(Event::Tick)
    }

    fn add(&mut self, number: u64, pod: &str, container: &str, netns: &Arc<Netns>) -> Vec<String> {
        let event = Event::Add {
            request: RequestId(number),
            sandbox: sandbox(pod, container),
            uid: Some(uid(pod)),
            netns: Arc::clone(netns),
            ips: Vec::new(),
        };
        self.on(event)
    }

    /// A pod that was found running, up to its enrollment.
    fn enrolled(pod: &Pod) -> (Self, Arc<Netns>) {
        let mut rig = Self::new();
        let netns = Arc::new(stand_in());
        let name = pod.metadata.name.clone();
        rig.seen(pod);
        rig.done(&name, Ended::Found(Ok(Arc::clone(&netns))));
        rig.done(&name, Ended::Announced(Ok(())));
        rig.done(&name, Ended::Redirected(Ok(())));
        assert_eq!(rig.done(&name, Ended::Recorded(Ok(()))), [""; 0]);
        assert_eq!(rig.counts(), (1, 0));
        (rig, netns)
    }

    /// A pod whose start the plugin holds back, up to its enrollment.
    fn started(pod: &Pod, container: &str) -> (Self, Arc<Netns>) {
        let mut rig = Self::new();
        let netns = Arc::new(stand_in());
        let name = pod.metadata.name.clone();
        rig.seen(&without_address(&name));
        rig.add(1, &name, container, &netns);
        rig.done(&name, Ended::Redirected(Ok(())));
        rig.done(&name, Ended::Announced(Ok(())));
        assert_eq!(rig.done(&name, Ended::Recorded(Ok(()))), ["answer 1 Enrolled"]);
        assert_eq!(rig.seen(pod), [""; 0]);
        (rig, netns)
    }
}

/// Whether a command only tells somebody something, or keeps records.
fn is_aside(command: &Command) -> bool {
    matches!(
        command,
        Command::Save { .. }
            | Command::Forget { .. }
            | Command::RecordsComplete(_)
            | Command::Gap { .. }
            | Command::Report { .. }
    )
}

fn words(command: &Command) -> String {
    match command {
        Command::Find { pod, .. } => format!("find {}", pod.metadata.name),
        Command::Redirect { pod, .. } => format!("redirect {}", pod.metadata.name),
        Command::Release { pod, .. } => format!("release {}", pod.metadata.name),
        Command::Unredirect { pod, .. } => format!("unredirect {}", pod.metadata.name),
        Command::Announce { uid, .. } => format!("announce {uid}"),
        Command::Retract { uid } => format!("retract {uid}"),
        Command::Record { pod, value } => {
            format!("record {} {}", pod.metadata.name, value.map_or("nothing", Redirection::value))
        }
        Command::Inspect { pod, .. } => format!("inspect {}", pod.metadata.name),
        Command::Prove { pod, .. } => format!("prove {}", pod.metadata.name),
        Command::Save { pod, stage, .. } => format!("save {} {}", pod.metadata.name, stage.word()),
        Command::Refuse { pod, .. } => format!("refuse {}", pod.metadata.name),
        Command::Allow { pod, .. } => format!("allow {}", pod.metadata.name),
        Command::Forget { uid } => format!("forget {uid}"),
        Command::RecordsComplete(complete) => format!("complete {complete}"),
        Command::Gap { pod, proof, why } => format!("gap {} {proof:?}: {why}", pod.metadata.name),
        Command::Report { pod, report } => format!("report {} {report:?}", pod.metadata.name),
        Command::Keep { uid } => format!("keep {uid}"),
        Command::Serve => "serve".to_owned(),
        Command::Remember { namespaces } => {
            format!("remember {}", namespaces.iter().cloned().collect::<Vec<_>>().join(","))
        }
        Command::Answer { request, outcome } => match outcome {
            Outcome::Failed { message, retry } => {
                let again = if *retry { "retry" } else { "final" };
                format!("answer {} {again}: {message}", request.0)
            }
            Outcome::Enrolled | Outcome::NotSelected | Outcome::Done | Outcome::Limited { .. } => {
                format!("answer {} {outcome:?}", request.0)
            }
        },
    }
}

fn uid_of(pod: &Pod) -> PodUid {
    PodUid(pod.metadata.uid.clone())
}

fn uid(pod: &str) -> PodUid {
    PodUid(format!("u-{pod}"))
}

fn sandbox(pod: &str, container: &str) -> SandboxName {
    SandboxName { namespace: "mesh".to_owned(), name: pod.to_owned(), container: container.to_owned() }
}

/// A running pod of namespace `mesh` with an address.
fn pod(name: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = name.to_owned();
    pod.metadata.namespace = "mesh".to_owned();
    pod.metadata.uid = uid(name).0;
    pod.spec.node_name = "n1".to_owned();
    pod.status.phase = "Running".to_owned();
    pod.status.pod_ip = Some("10.0.0.5".to_owned());
    pod
}

fn without_address(name: &str) -> Pod {
    let mut pod = pod(name);
    pod.status.pod_ip = None;
    pod
}

fn opted_out(name: &str) -> Pod {
    let mut pod = pod(name);
    pod.metadata.labels.insert(MODE.to_owned(), "none".to_owned());
    pod
}

#[test]
fn a_running_pod_gets_its_proxy_before_its_rules_and_its_status_last() {
    let mut rig = Rig::new();
    let netns = Arc::new(stand_in());
    assert_eq!(rig.seen(&pod("a")), ["keep u-a", "find a"]);
    assert_eq!(rig.machine.doubtful(), (1, 0));
    assert_eq!(rig.done("a", Ended::Found(Ok(netns))), ["announce u-a"]);
    assert_eq!(rig.machine.doubtful(), (0, 0));
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["redirect a"]);
    assert_eq!(rig.counts(), (0, 1));
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["record a enabled"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.counts(), (1, 0));
}

#[test]
fn a_starting_pod_gets_its_rules_first_and_starts_when_all_is_done() {
    let mut rig = Rig::new();
    assert_eq!(rig.seen(&without_address("a")), ["keep u-a"]);
    assert_eq!(rig.add(7, "a", "c1", &Arc::new(stand_in())), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["announce u-a"]);
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["record a enabled"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), ["answer 7 Enrolled"]);
}

#[test]
fn a_starting_pod_gets_its_dns_rules_once_its_proxy_listens() {
    let mut rig = Rig::new();
    rig.seen(&without_address("a"));
    rig.add(7, "a", "c1", &Arc::new(stand_in()));
    assert_eq!(rig.done("a", Ended::RedirectedButDns), ["announce u-a"]);
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["record a enabled"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), ["answer 7 Enrolled"]);
}

#[test]
fn a_pod_whose_proxy_takes_no_dns_is_enrolled_without_it() {
    let mut rig = Rig::new();
    rig.seen(&without_address("a"));
    rig.add(7, "a", "c1", &Arc::new(stand_in()));
    rig.done("a", Ended::RedirectedButDns);
    rig.done("a", Ended::Announced(Ok(())));
    assert_eq!(rig.done("a", Ended::RedirectedButDns), ["record a enabled"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), ["answer 7 Enrolled"]);
    assert!(rig.machine.wake().is_some(), "it is measured again, as every pod, and the listener found");
}

#[test]
fn when_a_proxy_goes_its_pods_are_measured_and_again_when_one_comes() {
    let (mut rig, netns) = Rig::started(&pod("a"), "c1");
    assert_eq!(rig.on(Event::Proxies(0)), [""; 0]);
    let soon = rig.machine.wake().unwrap();
    assert!(soon.0 - rig.now.0 < Duration::from_secs(1), "{soon:?}");
    assert_eq!(rig.later(1), ["find a"]);
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::clone(&netns)))), ["inspect a"]);
    let drift = Some("v4 raw/ISTIO_OUTPUT is not planned".to_owned());
    assert_eq!(rig.done("a", Ended::Inspected(Ok(drift))), ["redirect a"]);
    assert_eq!(rig.machine.doubtful(), (0, 1), "it is said to be enrolled, and it is not");
    assert_eq!(rig.done("a", Ended::RedirectedButDns), [""; 0]);
    assert_eq!((rig.counts(), rig.machine.doubtful()), ((1, 0), (0, 0)));
    assert_eq!(rig.on(Event::Delivered { uid: uid("a"), netns: netns.id() }), ["inspect a"]);
    assert_eq!(rig.done("a", Ended::Inspected(Ok(None))), [""; 0]);
}

#[test]
fn a_changed_wish_of_an_enrolled_pod_is_measured_against_at_once_and_other_changes_are_not() {
    let (mut rig, _netns) = Rig::started(&pod("a"), "c1");
    let mut changed = Pod::clone(&pod("a"));
    changed.metadata.annotations.insert("example.com/other".to_owned(), "true".to_owned());
    assert_eq!(rig.seen(&Arc::new(changed.clone())), [""; 0]);
    let bypass = "ambient.istio.io/bypass-inbound-capture".to_owned();
    changed.metadata.annotations.insert(bypass, "true".to_owned());
    assert_eq!(rig.seen(&Arc::new(changed)), ["inspect a"]);
    let drift = Some("IPv4 nat/ISTIO_PRERT holds other rules".to_owned());
    assert_eq!(rig.done("a", Ended::Inspected(Ok(drift))), ["redirect a"]);
}

#[test]
fn a_pod_without_an_address_is_not_searched_for() {
    let mut rig = Rig::new();
    assert_eq!(rig.seen(&without_address("a")), ["keep u-a"]);
    assert_eq!(rig.seen(&pod("a")), ["find a"]);
}

#[test]
fn two_events_of_one_pod_never_run_at_once() {
    let mut rig = Rig::new();
    rig.seen(&pod("a"));
    assert_eq!(rig.seen(&opted_out("a")), [""; 0]);
    assert_eq!(rig.seen(&pod("a")), [""; 0]);
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::new(stand_in())))), ["announce u-a"]);
}

#[test]
fn a_pod_that_fails_delays_no_other() {
    let mut rig = Rig::new();
    assert_eq!(rig.seen(&pod("a")), ["keep u-a", "find a"]);
    assert_eq!(rig.seen(&pod("b")), ["keep u-b", "find b"]);
    assert_eq!(rig.done("a", Ended::Found(Err("none".to_owned()))), [""; 0]);
    assert_eq!(rig.done("b", Ended::Found(Ok(Arc::new(stand_in())))), ["announce u-b"]);
    assert_eq!(rig.machine.wake(), Some(Moment(Duration::from_millis(250))));
}

#[test]
fn failures_back_off_and_are_tried_again() {
    let mut rig = Rig::new();
    rig.seen(&pod("a"));
    let mut waited = Vec::new();
    for _ in 0..8 {
        assert_eq!(rig.done("a", Ended::Found(Err("none".to_owned()))), [""; 0]);
        let at = rig.machine.wake().unwrap();
        waited.push((at.0 - rig.now.0).as_millis());
        rig.now = at;
        assert_eq!(rig.on(Event::Tick), ["find a"]);
    }
    assert_eq!(waited, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000]);
}

#[test]
fn a_change_of_the_pod_ends_the_wait() {
    let mut rig = Rig::new();
    rig.seen(&pod("a"));
    rig.done("a", Ended::Found(Err("none".to_owned())));
    assert_eq!(rig.seen(&pod("a")), [""; 0]);
    let mut moved = pod("a");
    moved.status.pod_ip = Some("10.0.0.6".to_owned());
    assert_eq!(rig.seen(&moved), ["find a"]);
}

#[test]
fn a_pod_without_a_proxy_is_pending_until_one_serves_it() {
    let mut rig = Rig::new();
    let netns = Arc::new(stand_in());
    rig.seen(&pod("a"));
    rig.done("a", Ended::Found(Ok(Arc::clone(&netns))));
    assert_eq!(rig.done("a", Ended::Announced(Err("no proxy".to_owned()))), ["record a pending"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.later(1), ["announce u-a"]);
    assert_eq!(rig.done("a", Ended::Announced(Err("no proxy".to_owned()))), [""; 0]);
    let delivered = Event::Delivered { uid: uid("a"), netns: netns.id() };
    assert_eq!(rig.on(delivered), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["record a enabled"]);
}

#[test]
fn a_delivery_during_an_announcement_settles_it() {
    let mut rig = Rig::new();
    let netns = Arc::new(stand_in());
    rig.seen(&pod("a"));
    rig.done("a", Ended::Found(Ok(Arc::clone(&netns))));
    assert_eq!(rig.on(Event::Delivered { uid: uid("a"), netns: netns.id() }), [""; 0]);
    assert_eq!(rig.done("a", Ended::Announced(Err("gone".to_owned()))), ["redirect a"]);
}

#[test]
fn a_proxy_that_refuses_in_a_snapshot_is_asked_again() {
    let (mut rig, netns) = Rig::enrolled(&pod("a"));
    let refused = Event::Refused { uid: uid("a"), netns: netns.id(), why: "no".to_owned() };
    assert_eq!(rig.on(refused), [""; 0]);
    assert_eq!(rig.later(1), ["announce u-a"]);
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), [""; 0]);
}

#[test]
fn a_namespace_label_brings_its_pods_in_and_out() {
    let mut rig = Rig::new();
    let mut plain = pod("a");
    plain.metadata.namespace = "plain".to_owned();
    assert_eq!(rig.seen(&plain), [""; 0]);
    assert_eq!(rig.namespace("plain", "ambient"), ["remember mesh,plain", "keep u-a", "find a"]);
    rig.done("a", Ended::Found(Ok(Arc::new(stand_in()))));
    rig.done("a", Ended::Announced(Ok(())));
    rig.done("a", Ended::Redirected(Ok(())));
    rig.done("a", Ended::Recorded(Ok(())));
    assert_eq!(rig.namespace("plain", "none"), ["remember mesh", "record a pending"]);
    assert_eq!(rig.on(Event::NamespaceGone("plain".to_owned())), [""; 0]);
}

#[test]
fn a_pod_s_time_that_comes_while_another_pod_is_looked_at_is_not_missed() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    rig.seen(&opted_out("a"));
    rig.done("a", Ended::Recorded(Ok(())));
    rig.now = rig.now.after(Duration::from_millis(1500));
    assert_eq!(rig.machine.wake(), Some(Moment(Duration::from_secs(1))), "half a second ago");
    let commands = rig.seen(&pod("b"));
    assert!(commands.contains(&"release a".to_owned()), "{commands:?}");
}

#[test]
fn a_leaving_pod_loses_its_status_then_its_capture_then_its_proxy_then_its_rules() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    assert_eq!(rig.seen(&opted_out("a")), ["record a pending"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.machine.wake(), Some(rig.now.after(Duration::from_secs(1))));
    assert_eq!(rig.later(1), ["release a"]);
    assert_eq!(rig.done("a", Ended::Released(Ok(()))), [""; 0], "the proxy goes on with what it carries");
    assert_eq!(rig.machine.wake(), Some(rig.now.after(Duration::from_secs(1))));
    assert_eq!(rig.later(1), ["retract u-a"]);
    assert_eq!(rig.done("a", Ended::Retracted), ["unredirect a"]);
    assert_eq!(rig.done("a", Ended::Unredirected(Ok(()))), ["record a nothing"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.counts(), (0, 0));
    assert_eq!(rig.later(3600), [""; 0]);
}

#[test]
fn a_pod_whose_rules_cannot_be_removed_keeps_its_proxy() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    rig.seen(&opted_out("a"));
    rig.done("a", Ended::Recorded(Ok(())));
    rig.later(1);
    assert_eq!(rig.done("a", Ended::Released(Err("busy".to_owned()))), [""; 0]);
    assert_eq!(rig.later(20), ["unredirect a"]);
    for _ in 0..10 {
        assert_eq!(rig.done("a", Ended::Unredirected(Err("busy".to_owned()))), [""; 0]);
        assert_eq!(rig.later(20), ["unredirect a"]);
    }
}

#[test]
fn a_pod_that_comes_back_after_its_rules_were_half_removed_gets_them_again() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    rig.seen(&opted_out("a"));
    rig.done("a", Ended::Recorded(Ok(())));
    rig.later(1);
    assert_eq!(rig.done("a", Ended::Released(Err("busy".to_owned()))), [""; 0]);
    assert_eq!(rig.seen(&pod("a")), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["record a enabled"]);
}

#[test]
fn a_pod_that_comes_back_while_its_proxy_ends_what_it_carries_is_captured_again() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    rig.seen(&opted_out("a"));
    rig.done("a", Ended::Recorded(Ok(())));
    rig.later(1);
    rig.done("a", Ended::Released(Ok(())));
    assert_eq!(rig.seen(&pod("a")), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["record a enabled"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.counts(), (1, 0));
}

#[test]
fn a_pod_that_comes_back_between_its_proxy_and_its_last_rules_is_served_first() {
    let (mut rig, netns) = Rig::enrolled(&pod("a"));
    rig.seen(&opted_out("a"));
    rig.done("a", Ended::Recorded(Ok(())));
    rig.later(1);
    rig.done("a", Ended::Released(Ok(())));
    rig.later(1);
    assert_eq!(rig.seen(&pod("a")), [""; 0]);
    assert_eq!(rig.done("a", Ended::Retracted), ["keep u-a", "announce u-a"]);
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["record a enabled"]);
    drop(netns);
}

#[test]
fn a_leaving_pod_whose_status_cannot_be_written_keeps_everything_until_it_can() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    rig.seen(&opted_out("a"));
    assert_eq!(rig.done("a", Ended::Recorded(Err("disk full".to_owned()))), [""; 0]);
    assert_eq!(rig.later(1), ["record a pending"]);
}

#[test]
fn an_agent_that_begins_while_a_pod_leaves_goes_on_with_it() {
    let mut rig = Rig::unsynced();
    rig.namespaces();
    rig.on(Event::PodSeen { pod: Arc::new(opted_out("a")), recorded: Some(Redirection::Pending) });
    assert_eq!(rig.on(Event::Synced), ["keep u-a", "remember mesh", "find a", "serve"]);
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::new(stand_in())))), ["release a"]);
    assert_eq!(rig.done("a", Ended::Released(Ok(()))), [""; 0]);
    assert_eq!(rig.later(1), ["retract u-a"]);
    assert_eq!(rig.done("a", Ended::Retracted), ["unredirect a"]);
    assert_eq!(rig.done("a", Ended::Unredirected(Ok(()))), ["record a nothing"]);
}

#[test]
fn what_a_proxy_said_before_it_let_a_pod_go_counts_no_more() {
    let (mut rig, netns) = Rig::enrolled(&pod("a"));
    rig.seen(&opted_out("a"));
    rig.done("a", Ended::Recorded(Ok(())));
    rig.later(1);
    rig.done("a", Ended::Released(Ok(())));
    rig.later(1);
    rig.done("a", Ended::Retracted);
    rig.done("a", Ended::Unredirected(Ok(())));
    assert_eq!(rig.on(Event::Delivered { uid: uid("a"), netns: netns.id() }), [""; 0]);
    rig.done("a", Ended::Recorded(Ok(())));
    assert_eq!(rig.seen(&pod("a")), ["keep u-a", "find a"]);
    assert_eq!(rig.done("a", Ended::Found(Ok(netns))), ["announce u-a"]);
}

#[test]
fn a_pod_that_comes_back_during_the_grace_only_gets_its_status_back() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    rig.seen(&opted_out("a"));
    rig.done("a", Ended::Recorded(Ok(())));
    assert_eq!(rig.seen(&pod("a")), ["record a enabled"]);
}

#[test]
fn a_deleted_pod_keeps_its_rules_and_loses_the_rest() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    assert_eq!(rig.on(Event::PodGone(uid("a"))), ["retract u-a"]);
    assert_eq!(rig.done("a", Ended::Retracted), ["record a nothing"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.machine.wake(), None);
}

#[test]
fn a_pod_is_deleted_also_when_its_namespace_went_first() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    assert_eq!(rig.on(Event::NamespaceGone("mesh".to_owned())), ["remember ", "record a pending"]);
    assert_eq!(rig.on(Event::PodGone(uid("a"))), [""; 0]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), ["retract u-a"]);
    assert_eq!(rig.done("a", Ended::Retracted), ["record a nothing"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.machine.wake(), None);
}

#[test]
fn a_pod_that_ended_is_let_go_without_touching_its_namespace() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    let mut ended = pod("a");
    ended.status.phase = "Succeeded".to_owned();
    ended.status.pod_ip = None;
    assert_eq!(rig.seen(&ended), ["retract u-a"]);
    assert_eq!(rig.done("a", Ended::Retracted), ["record a nothing"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
}

#[test]
fn a_pod_being_deleted_stays_until_it_is_gone() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    let mut ending = pod("a");
    ending.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    assert_eq!(rig.seen(&ending), [""; 0]);
}

#[test]
fn nothing_is_done_and_no_snapshot_given_before_the_source_is_read() {
    let mut rig = Rig::unsynced();
    rig.namespaces();
    assert_eq!(rig.seen(&pod("a")), [""; 0]);
    assert_eq!(rig.on(Event::Synced), ["remember mesh", "keep u-a", "find a"]);
    let netns = Arc::new(stand_in());
    assert_eq!(rig.done("a", Ended::Found(Ok(netns))), ["announce u-a", "serve"]);
}

#[test]
fn a_search_that_hangs_holds_the_snapshot_up_only_for_a_while() {
    let mut rig = Rig::unsynced();
    rig.namespaces();
    rig.seen(&pod("a"));
    rig.on(Event::Synced);
    assert_eq!(rig.machine.wake(), Some(Moment(SEARCH_TIME)));
    assert_eq!(rig.later(5), ["serve"]);
}

#[test]
fn an_agent_that_restarts_measures_what_an_earlier_one_enrolled() {
    let mut rig = Rig::unsynced();
    rig.namespaces();
    rig.on(Event::PodSeen { pod: Arc::new(pod("a")), recorded: Some(Redirection::Enabled) });
    assert_eq!(rig.on(Event::Synced), ["keep u-a", "remember mesh", "find a"]);
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::new(stand_in())))), ["announce u-a", "serve"]);
    assert_eq!(rig.done("a", Ended::Announced(Err("no proxy".to_owned()))), [""; 0]);
    assert_eq!(rig.later(1), ["announce u-a"]);
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["inspect a"]);
    assert_eq!(rig.done("a", Ended::Inspected(Ok(None))), [""; 0]);
    assert_eq!(rig.counts(), (1, 0));
}

#[test]
fn a_pod_that_left_while_no_agent_ran_is_withdrawn() {
    let mut rig = Rig::unsynced();
    rig.namespaces();
    rig.on(Event::PodSeen { pod: Arc::new(opted_out("a")), recorded: Some(Redirection::Enabled) });
    assert_eq!(rig.on(Event::Synced), ["keep u-a", "remember mesh", "record a pending", "serve"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.later(1), ["find a"]);
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::new(stand_in())))), ["release a"]);
    rig.done("a", Ended::Released(Ok(())));
    assert_eq!(rig.later(1), ["retract u-a"]);
}

#[test]
fn a_leaving_pod_whose_namespace_is_never_found_is_given_up() {
    let mut rig = Rig::unsynced();
    rig.namespaces();
    rig.on(Event::PodSeen { pod: Arc::new(opted_out("a")), recorded: Some(Redirection::Enabled) });
    rig.on(Event::Synced);
    rig.done("a", Ended::Recorded(Ok(())));
    for _ in 0..5 {
        assert_eq!(rig.later(20), ["find a"]);
        assert_eq!(rig.done("a", Ended::Found(Err("none".to_owned()))), [""; 0]);
    }
    assert_eq!(rig.later(20), ["retract u-a"]);
}

#[test]
fn pods_of_other_nodes_are_none_of_ours() {
    let mut rig = Rig::new();
    let mut elsewhere = pod("a");
    elsewhere.spec.node_name = "n2".to_owned();
    assert_eq!(rig.seen(&elsewhere), [""; 0]);
    assert_eq!(rig.counts(), (0, 0));
}

#[test]
fn a_plugin_call_waits_for_its_pod_to_become_known() {
    let mut rig = Rig::new();
    let netns = Arc::new(stand_in());
    assert_eq!(rig.add(1, "a", "c1", &netns), [""; 0]);
    assert_eq!(rig.machine.wake(), Some(Moment(Duration::from_secs(3))));
    assert_eq!(rig.seen(&without_address("a")), ["keep u-a", "redirect a"]);
}

#[test]
fn an_unknown_pod_starts_only_where_its_namespace_is_not_selected() {
    let mut rig = Rig::new();
    let netns = Arc::new(stand_in());
    rig.add(1, "a", "c1", &netns);
    let plain = SandboxName { namespace: "plain".to_owned(), ..sandbox("b", "c2") };
    let add = Event::Add {
        request: RequestId(2),
        sandbox: plain,
        uid: None,
        netns: Arc::clone(&netns),
        ips: Vec::new(),
    };
    assert_eq!(rig.on(add), [""; 0]);
    assert_eq!(
        rig.later(3),
        ["answer 1 retry: pod mesh/a is not known to the node agent yet", "answer 2 NotSelected"]
    );
    let excluded = SandboxName { namespace: "kube-system".to_owned(), ..sandbox("b", "c2") };
    let add = Event::Add { request: RequestId(3), sandbox: excluded, uid: None, netns, ips: Vec::new() };
    assert_eq!(rig.on(add), ["answer 3 NotSelected"]);
}

#[test]
fn a_plugin_call_before_the_source_is_read_waits_and_then_fails() {
    let mut rig = Rig::unsynced();
    assert_eq!(rig.add(1, "a", "c1", &Arc::new(stand_in())), [""; 0]);
    assert_eq!(rig.machine.wake(), Some(Moment(Duration::from_secs(3))));
    assert_eq!(rig.later(3), ["answer 1 retry: the node agent has not read its pods yet"]);
}

#[test]
fn a_pod_that_is_not_selected_starts_as_it_is() {
    let mut rig = Rig::new();
    rig.seen(&opted_out("a"));
    assert_eq!(rig.add(1, "a", "c1", &Arc::new(stand_in())), ["answer 1 NotSelected"]);
}

#[test]
fn another_pod_of_the_same_name_is_not_meant() {
    let mut rig = Rig::new();
    rig.seen(&pod("a"));
    let add = Event::Add {
        request: RequestId(1),
        sandbox: sandbox("a", "c1"),
        uid: Some(PodUid("successor".to_owned())),
        netns: Arc::new(stand_in()),
        ips: Vec::new(),
    };
    assert_eq!(rig.on(add), [""; 0]);
    assert_eq!(rig.later(3), ["answer 1 retry: pod mesh/a is not known to the node agent yet"]);
}

#[test]
fn a_static_pod_is_known_by_the_uid_that_its_runtime_tells() {
    let mut rig = Rig::new();
    let hash = "0f6ab2b5ab3e0c9a16c5d2f5d80e34a1";
    let mut mirror = without_address("a");
    mirror.metadata.annotations.insert("kubernetes.io/config.mirror".to_owned(), hash.to_owned());
    rig.seen(&mirror);
    let add = Event::Add {
        request: RequestId(1),
        sandbox: sandbox("a", "c1"),
        uid: Some(PodUid(hash.to_owned())),
        netns: Arc::new(stand_in()),
        ips: Vec::new(),
    };
    assert_eq!(rig.on(add), ["redirect a"]);
}

#[test]
fn a_pod_without_a_uid_of_its_own_is_known_by_name() {
    let mut rig = Rig::new();
    let mut made = without_address("a");
    made.metadata.uid.clear();
    made.ensure_uid();
    rig.seen(&made);
    assert_eq!(rig.add(1, "a", "c1", &Arc::new(stand_in())), ["redirect a"]);
}

#[test]
fn a_start_fails_at_once_when_its_rules_fail() {
    let mut rig = Rig::new();
    rig.seen(&without_address("a"));
    rig.add(1, "a", "c1", &Arc::new(stand_in()));
    let failed = rig.done("a", Ended::Redirected(Err("no iptables".to_owned())));
    assert_eq!(failed, ["answer 1 retry: pod mesh/a is not enrolled: no iptables"]);
}

#[test]
fn a_start_waits_for_a_proxy_as_long_as_it_may() {
    let mut rig = Rig::new();
    rig.seen(&without_address("a"));
    rig.add(1, "a", "c1", &Arc::new(stand_in()));
    rig.done("a", Ended::Redirected(Ok(())));
    assert_eq!(rig.done("a", Ended::Announced(Err("no proxy".to_owned()))), ["record a pending"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.later(5), ["announce u-a", "answer 1 retry: pod mesh/a is not enrolled: no proxy"]);
}

#[test]
fn a_start_that_waited_for_its_pod_has_less_time_for_the_rest() {
    let mut rig = Rig::new();
    rig.add(1, "a", "c1", &Arc::new(stand_in()));
    assert_eq!(rig.later(2), [""; 0]);
    rig.seen(&without_address("a"));
    rig.done("a", Ended::Redirected(Ok(())));
    let why = "no proxy has confirmed yet that it serves the pod";
    assert_eq!(rig.later(3), [format!("answer 1 retry: pod mesh/a is not enrolled: {why}")]);
}

#[test]
fn a_new_sandbox_of_the_same_pod_is_enrolled_anew() {
    let (mut rig, _old) = Rig::started(&without_address("a"), "c1");
    assert_eq!(rig.add(2, "a", "c2", &Arc::new(stand_in())), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["announce u-a"]);
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["answer 2 Enrolled"]);
}

#[test]
fn the_same_sandbox_added_twice_needs_nothing_more() {
    let (mut rig, netns) = Rig::started(&without_address("a"), "c1");
    assert_eq!(rig.add(2, "a", "c1", &netns), ["answer 2 Enrolled"]);
}

#[test]
fn what_ends_late_for_an_old_sandbox_is_not_taken_for_the_new() {
    let mut rig = Rig::new();
    rig.seen(&without_address("a"));
    assert_eq!(rig.add(1, "a", "c1", &Arc::new(stand_in())), ["redirect a"]);
    let replaced = rig.add(2, "a", "c2", &Arc::new(stand_in()));
    assert_eq!(
        replaced,
        ["answer 1 retry: pod mesh/a is not enrolled: another sandbox of the pod is being started"]
    );
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["announce u-a"]);
}

#[test]
fn a_deleted_sandbox_is_withdrawn_and_not_found_again() {
    let (mut rig, netns) = Rig::started(&pod("a"), "c1");
    assert_eq!(
        rig.on(Event::Delete { request: RequestId(9), sandbox: sandbox("a", "c0") }),
        ["answer 9 Done"]
    );
    assert_eq!(rig.on(Event::Delete { request: RequestId(9), sandbox: sandbox("a", "c1") }), ["retract u-a"]);
    assert_eq!(rig.done("a", Ended::Retracted), ["record a nothing", "answer 9 Done"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), ["find a"]);
    assert_eq!(rig.done("a", Ended::Found(Ok(netns))), [""; 0]);
    assert_eq!(rig.counts(), (0, 1));
    assert_eq!(rig.on(Event::PodGone(uid("a"))), [""; 0]);
    assert_eq!(rig.counts(), (0, 0));
}

#[test]
fn a_sandbox_that_is_taken_down_does_not_wait_for_a_proxy_that_is_stuck() {
    let (mut rig, _netns) = Rig::started(&pod("a"), "c1");
    let delete = Event::Delete { request: RequestId(9), sandbox: sandbox("a", "c1") };
    assert_eq!(rig.on(delete), ["retract u-a"]);
    assert_eq!(rig.later(3), ["answer 9 Done"]);
    assert_eq!(rig.done("a", Ended::Retracted), ["record a nothing"]);
}

#[test]
fn a_delete_for_an_unknown_sandbox_is_looked_into_before_it_is_believed() {
    let (mut rig, netns) = Rig::enrolled(&pod("a"));
    assert_eq!(
        rig.on(Event::Delete { request: RequestId(9), sandbox: sandbox("a", "c0") }),
        ["answer 9 Done", "find a"]
    );
    assert_eq!(rig.done("a", Ended::Found(Ok(netns))), [""; 0]);
    assert_eq!(rig.counts(), (1, 0));
    assert_eq!(
        rig.on(Event::Delete { request: RequestId(9), sandbox: sandbox("a", "c0") }),
        ["answer 9 Done", "find a"]
    );
    assert_eq!(rig.done("a", Ended::Found(Err("none".to_owned()))), ["retract u-a"]);
}

#[test]
fn a_delete_fails_the_start_that_still_waits() {
    let mut rig = Rig::new();
    rig.add(1, "a", "c1", &Arc::new(stand_in()));
    let answered = ["answer 1 retry: the sandbox was taken down", "answer 9 Done"];
    assert_eq!(rig.on(Event::Delete { request: RequestId(9), sandbox: sandbox("a", "c1") }), answered);
    rig.seen(&without_address("a"));
    rig.add(2, "a", "c2", &Arc::new(stand_in()));
    let answered = ["answer 2 retry: pod mesh/a is not enrolled: the sandbox was taken down"];
    assert_eq!(rig.on(Event::Delete { request: RequestId(9), sandbox: sandbox("a", "c2") }), answered);
}

#[test]
fn sandboxes_that_the_runtime_no_longer_has_are_withdrawn() {
    let (mut rig, _netns) = Rig::started(&pod("a"), "c1");
    let kept = |id: &str| Event::Collect { containers: BTreeSet::from([id.to_owned()]) };
    assert_eq!(rig.on(kept("c1")), [""; 0]);
    assert_eq!(rig.on(kept("c2")), ["find a"]);
    assert_eq!(rig.done("a", Ended::Found(Err("none".to_owned()))), ["retract u-a"]);
}

#[test]
fn a_sandbox_that_a_list_leaves_out_but_that_lives_stays_enrolled() {
    let (mut rig, netns) = Rig::started(&pod("a"), "c1");
    assert_eq!(rig.on(Event::Collect { containers: BTreeSet::new() }), ["find a"]);
    assert_eq!(rig.done("a", Ended::Found(Ok(netns))), [""; 0]);
    assert_eq!(rig.counts(), (1, 0));
}

#[test]
fn an_enrolled_pod_is_measured_again_and_again() {
    let (mut rig, netns) = Rig::enrolled(&pod("a"));
    let due = rig.machine.wake().unwrap();
    assert!(due >= Moment(Duration::from_secs(30)) && due <= Moment(Duration::from_secs(38)), "{due:?}");
    for _ in 0..3 {
        assert_eq!(rig.later(40), ["find a"]);
        assert_eq!(rig.done("a", Ended::Found(Ok(Arc::clone(&netns)))), ["inspect a"]);
        assert_eq!(rig.done("a", Ended::Inspected(Ok(None))), [""; 0]);
    }
}

#[test]
fn rules_that_drifted_are_repaired() {
    let (mut rig, netns) = Rig::enrolled(&pod("a"));
    rig.later(40);
    rig.done("a", Ended::Found(Ok(netns)));
    let drift = Ended::Inspected(Ok(Some("a jump is missing".to_owned())));
    assert_eq!(rig.done("a", drift), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), [""; 0]);
    assert_eq!(rig.counts(), (1, 0));
}

#[test]
fn a_pod_that_moved_to_another_namespace_is_enrolled_there() {
    let (mut rig, _old) = Rig::enrolled(&pod("a"));
    rig.later(40);
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::new(stand_in())))), ["announce u-a"]);
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["redirect a"]);
}

#[test]
fn a_measurement_that_finds_no_process_keeps_the_namespace_it_has() {
    let (mut rig, _netns) = Rig::started(&pod("a"), "c1");
    rig.later(40);
    assert_eq!(rig.done("a", Ended::Found(Err("none".to_owned()))), ["inspect a"]);
    assert_eq!(rig.done("a", Ended::Inspected(Ok(None))), [""; 0]);
    assert_eq!(rig.counts(), (1, 0));
}

#[test]
fn a_check_is_answered_by_looking() {
    let (mut rig, _netns) = Rig::started(&without_address("a"), "c1");
    let check = |number| Event::Check { request: RequestId(number), sandbox: sandbox("a", "c1"), uid: None };
    assert_eq!(rig.on(check(2)), ["inspect a"]);
    assert_eq!(rig.done("a", Ended::Inspected(Ok(None))), ["answer 2 Enrolled"]);
    assert_eq!(rig.on(check(3)), ["inspect a"]);
    assert_eq!(
        rig.done("a", Ended::Inspected(Ok(Some("a jump is missing".to_owned())))),
        [
            "answer 3 retry: pod mesh/a: its rules had changed and are being repaired: a jump is missing",
            "redirect a"
        ]
    );
    assert_eq!(
        rig.on(check(4)),
        ["answer 4 retry: pod mesh/a is not enrolled yet: its redirection rules are not in place yet"]
    );
    rig.seen(&opted_out("a"));
    assert_eq!(rig.on(check(5)), ["answer 5 NotSelected"]);
}

#[test]
fn a_check_is_answered_also_when_the_sandbox_goes_meanwhile() {
    let (mut rig, _netns) = Rig::started(&without_address("a"), "c1");
    rig.on(Event::Check { request: RequestId(2), sandbox: sandbox("a", "c1"), uid: None });
    let answers = rig.on(Event::Delete { request: RequestId(9), sandbox: sandbox("a", "c1") });
    assert_eq!(
        answers,
        ["answer 2 retry: pod mesh/a is not enrolled: the node agent is not done with it yet"]
    );
}

#[test]
fn a_status_that_cannot_be_written_is_tried_again() {
    let mut rig = Rig::new();
    rig.seen(&pod("a"));
    rig.done("a", Ended::Found(Ok(Arc::new(stand_in()))));
    rig.done("a", Ended::Announced(Ok(())));
    rig.done("a", Ended::Redirected(Ok(())));
    assert_eq!(rig.done("a", Ended::Recorded(Err("disk full".to_owned()))), [""; 0]);
    assert_eq!(rig.later(1), ["record a enabled"]);
}

#[test]
fn an_uninstall_that_may_not_write_takes_the_rules_away_all_the_same() {
    let refused = || Ended::Recorded(Err("forbidden".to_owned()));
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    assert_eq!(rig.on(Event::WithdrawAll), ["remember ", "record a pending"]);
    assert_eq!(rig.done("a", refused()), ["release a"], "it is not waited for");
    rig.done("a", Ended::Released(Ok(())));
    assert_eq!(rig.later(1), ["retract u-a"]);
    assert_eq!(rig.done("a", Ended::Retracted), ["unredirect a"]);
    assert_eq!(rig.done("a", Ended::Unredirected(Ok(()))), ["record a nothing"]);
    assert_eq!(rig.done("a", refused()), [""; 0]);
    assert_eq!(rig.machine.left(), Some(vec!["mesh/a (its status)".to_owned()]), "what stays is told");
    assert_eq!(rig.later(1), ["record a nothing"], "and tried again for as long as there is time");
}

#[test]
fn an_uninstall_withdraws_every_pod_and_takes_none_in() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    assert_eq!(rig.on(Event::WithdrawAll), ["remember ", "record a pending"]);
    assert_eq!(rig.machine.left(), Some(vec!["mesh/a".to_owned()]));
    rig.done("a", Ended::Recorded(Ok(())));
    assert_eq!(rig.later(1), ["release a"]);
    rig.done("a", Ended::Released(Ok(())));
    rig.later(1);
    rig.done("a", Ended::Retracted);
    assert_eq!(rig.machine.left(), Some(vec!["mesh/a".to_owned()]));
    rig.done("a", Ended::Unredirected(Ok(())));
    assert_eq!(rig.machine.left(), Some(vec!["mesh/a (its status)".to_owned()]));
    rig.done("a", Ended::Recorded(Ok(())));
    assert_eq!(rig.machine.left(), Some(Vec::new()));
    rig.seen(&without_address("b"));
    assert_eq!(rig.add(1, "b", "c1", &Arc::new(stand_in())), ["answer 1 NotSelected"]);
}

#[test]
fn a_dump_says_what_is_known_of_every_pod() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    rig.seen(&opted_out("b"));
    let dump = rig.machine.dump(rig.now);
    let told: Vec<_> =
        dump.iter().map(|pod| (pod.name.as_str(), pod.goal, pod.enrolled, pod.verdict)).collect();
    assert_eq!(
        told,
        [("mesh/a", "in", true, "selected"), ("mesh/b", "out", false, "no selector matches it")]
    );
    let a = dump.first().unwrap();
    assert_eq!((a.recorded, a.announced.as_ref()), (Some("enabled"), Some(&a.rules)));
}
