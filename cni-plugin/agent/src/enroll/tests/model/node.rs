//! A node on which the machine's commands have their effects, late and in any order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::*;
use super::cluster::{Life, Sandbox};
use crate::canary::Landing;
use crate::config::{Canary, Unproved};
use crate::netns::NetnsId;

pub(super) struct Node {
    pub(super) rng: fastrand::Rng,
    pub(super) machine: Enrollment,
    pub(super) now: Moment,
    /// What happened, for whoever has to understand a failure.
    trace: Vec<String>,
    pub(super) restarts: bool,
    pub(super) ambient: bool,
    pub(super) lives: BTreeMap<PodUid, Life>,
    pub(super) made: usize,
    /// What the informers have not told yet.
    pub(super) untold: VecDeque<Untold>,
    /// Namespaces in which the kernel has our rules.
    pub(super) kernel: BTreeSet<NetnsId>,
    /// Namespaces in which it has only those that bring replies back.
    pub(super) released: BTreeSet<NetnsId>,
    /// Namespaces that are refused what would leave them past the proxy.
    pub(super) shut_in: BTreeSet<NetnsId>,
    pub(super) unproved: Unproved,
    /// The newest last.
    pub(super) proxies: Vec<Proxy>,
    book: BTreeMap<PodUid, Option<Arc<Netns>>>,
    serving: bool,
    records: BTreeMap<PodUid, Saved>,
    complete: bool,
    /// Steps under way.
    pub(super) open: Vec<(PodUid, Command)>,
    /// Plugin calls that are owed an answer.
    pub(super) calls: BTreeMap<RequestId, (Call, PodUid)>,
    requests: u64,
    /// Once the disturbances are over, nothing fails.
    pub(super) calm: bool,
    pub(super) uninstalled: bool,
    /// The agent's rights went before it did: it can write nothing.
    pub(super) refused: bool,
}

pub(super) enum Untold {
    Namespace,
    Seen(Arc<Pod>, Option<Redirection>),
    Gone(PodUid),
    Synced,
}

/// A proxy's process.
pub(super) struct Proxy {
    pub(super) connected: bool,
    pub(super) serves: BTreeMap<PodUid, NetnsId>,
}

struct Saved {
    pod: Arc<Pod>,
    container: Option<String>,
    netns: NetnsId,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Add,
    Check,
    Delete,
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what had happened:\n{}", self.trace.join("\n"));
        }
    }
}

fn machine(unproved: Unproved) -> Enrollment {
    let policy = Policy {
        selectors: selector::parse(selector::DEFAULT).unwrap(),
        excluded_namespaces: BTreeSet::from(["kube-system".to_owned()]),
        system_namespace: "istio-system".to_owned(),
        node: "n1".to_owned(),
    };
    let timing = Timing {
        canary: Canary::On,
        unproved,
        measure: Some(Duration::from_secs(30)),
        withdraw_grace: Duration::from_secs(1),
        pod_wait: Duration::from_secs(3),
        plugin_deadline: Duration::from_secs(15),
    };
    Enrollment::new(policy, timing)
}

impl Node {
    pub(super) fn new(seed: u64, restarts: bool) -> Self {
        let unproved = if seed.is_multiple_of(2) { Unproved::Allow } else { Unproved::Refuse };
        let mut node = Self {
            rng: fastrand::Rng::with_seed(seed),
            machine: machine(unproved),
            now: Moment::default(),
            trace: vec![format!("seed {seed}")],
            restarts,
            ambient: true,
            lives: BTreeMap::new(),
            made: 0,
            untold: VecDeque::from([Untold::Namespace, Untold::Synced]),
            kernel: BTreeSet::new(),
            released: BTreeSet::new(),
            refused: false,
            shut_in: BTreeSet::new(),
            unproved,
            proxies: Vec::new(),
            book: BTreeMap::new(),
            serving: false,
            records: BTreeMap::new(),
            complete: false,
            open: Vec::new(),
            calls: BTreeMap::new(),
            requests: 0,
            calm: false,
            uninstalled: false,
        };
        node.on(Event::Restored { pods: Vec::new(), complete: false });
        node
    }

    pub(super) fn say(&mut self, what: impl Into<String>) {
        self.trace.push(format!("{:?} {}", self.now.0, what.into()));
    }

    /// One chance in `of`.
    pub(super) fn chance(&mut self, of: u32) -> bool {
        !self.calm && self.rng.u32(..of) == 0
    }

    pub(super) fn on(&mut self, event: Event) {
        self.say(format!("-> {event:?}").chars().take(160).collect::<String>());
        for command in self.machine.on(event, self.now) {
            self.take(command);
        }
    }

    pub(super) fn call(&mut self, call: Call, uid: PodUid) -> RequestId {
        let request = RequestId(self.requests);
        self.requests += 1;
        self.calls.insert(request, (call, uid));
        request
    }

    fn take(&mut self, command: Command) {
        self.say(words(&command));
        match &command {
            Command::Keep { uid } => {
                self.book.entry(uid.clone()).or_insert(None);
            }
            Command::Serve => {
                self.serving = true;
                for at in 0..self.proxies.len() {
                    self.snapshot(at);
                }
            }
            Command::Forget { uid } => drop(self.records.remove(uid)),
            Command::RecordsComplete(complete) => self.complete = *complete,
            Command::Answer { request, outcome } => self.answered(*request, outcome),
            Command::Remember { .. } | Command::Gap { .. } | Command::Report { .. } => {}
            Command::Announce { uid, netns, .. } => {
                self.book.insert(uid.clone(), Some(Arc::clone(netns)));
                self.begin(uid.clone(), command);
            }
            Command::Retract { uid } => {
                self.book.remove(uid);
                self.begin(uid.clone(), command);
            }
            Command::Release { pod, .. } | Command::Unredirect { pod, .. } => {
                let uid = PodUid(pod.metadata.uid.clone());
                let status = self.lives.get(&uid).and_then(|life| life.status);
                assert!(
                    self.refused || status != Some(Redirection::Enabled),
                    "{uid} loses its rules and is said to be enrolled"
                );
                self.begin(uid, command);
            }
            Command::Find { pod, .. }
            | Command::Redirect { pod, .. }
            | Command::Record { pod, .. }
            | Command::Inspect { pod, .. }
            | Command::Prove { pod, .. }
            | Command::Refuse { pod, .. }
            | Command::Allow { pod, .. }
            | Command::Save { pod, .. } => self.begin(PodUid(pod.metadata.uid.clone()), command),
        }
    }

    fn begin(&mut self, uid: PodUid, step: Command) {
        assert!(!self.open.iter().any(|(other, _)| *other == uid), "two steps at once for {uid}");
        self.open.push((uid, step));
    }

    fn answered(&mut self, request: RequestId, outcome: &Outcome) {
        let (call, uid) = self.calls.remove(&request).expect("an answer that is owed");
        let made = self.made;
        let (ambient, settled) = (self.ambient, self.untold.is_empty() && !self.uninstalled);
        let Some(life) = self.lives.get_mut(&uid).filter(|_| call == Call::Add) else { return };
        let Some(sandbox) = life.sandbox.as_mut().filter(|sandbox| !sandbox.started) else { return };
        match outcome {
            Outcome::Enrolled => {
                assert!(
                    sandbox.surprise || self.kernel.contains(&sandbox.id()),
                    "{uid} starts without rules"
                );
                assert_eq!(
                    life.status,
                    Some(Redirection::Enabled),
                    "{uid} starts before it is said to be enrolled"
                );
            }
            Outcome::NotSelected => {
                assert!(!settled || !life.is_wanted(ambient), "{uid} starts outside the mesh");
            }
            Outcome::Failed { .. } | Outcome::Done | Outcome::Limited { .. } => {
                sandbox.doomed = true;
                return;
            }
        }
        if life.present {
            life.running(made);
            let seen = Untold::Seen(life.shown(), life.status);
            self.untold.push_back(seen);
        }
    }

    /// Lets the step at `at` have its effect, and tells the machine unless it is `lost`.
    pub(super) fn finish(&mut self, at: usize, lost: bool) {
        let fails = self.chance(8);
        let (uid, step) = self.open.swap_remove(at);
        let Some(ended) = self.effect(&uid, &step, fails) else {
            self.open.push((uid, step)); // a proxy that is connected waits for its snapshot
            return;
        };
        if !lost {
            self.on(Event::Done { uid, ended });
        }
    }

    fn effect(&mut self, uid: &PodUid, step: &Command, fails: bool) -> Option<Ended> {
        let result = || if fails { Err("as it happens".to_owned()) } else { Ok(()) };
        Some(match step {
            Command::Find { .. } => {
                let sandbox = self.lives.get(uid).and_then(|life| life.sandbox.as_ref());
                let found = sandbox.map(|sandbox| Arc::clone(&sandbox.netns));
                Ended::Found(found.ok_or_else(|| "there is none".to_owned()))
            }
            Command::Redirect { netns, .. } => {
                if !fails {
                    self.kernel.insert(netns.id());
                    self.released.remove(&netns.id());
                    self.sandboxes()
                        .filter(|one| one.id() == netns.id())
                        .for_each(|one| one.surprise = false);
                }
                Ended::Redirected(result())
            }
            Command::Release { netns, .. } => {
                if !fails {
                    self.kernel.remove(&netns.id());
                    self.released.insert(netns.id());
                    self.shut_in.remove(&netns.id());
                }
                Ended::Released(result())
            }
            Command::Unredirect { netns, .. } => {
                self.kernel.remove(&netns.id());
                self.released.remove(&netns.id());
                self.shut_in.remove(&netns.id());
                Ended::Unredirected(result())
            }
            Command::Announce { netns, .. } => {
                let serving = self.serving;
                let Some(newest) = self.proxies.iter_mut().rfind(|proxy| proxy.connected) else {
                    return Some(Ended::Announced(Err("no proxy is connected".to_owned())));
                };
                if !serving {
                    return None;
                }
                if !fails {
                    newest.serves.insert(uid.clone(), netns.id());
                }
                Ended::Announced(result())
            }
            Command::Retract { .. } => {
                for proxy in self.proxies.iter_mut().filter(|proxy| proxy.connected) {
                    proxy.serves.remove(uid);
                }
                Ended::Retracted
            }
            Command::Record { value, .. } => {
                Ended::Recorded(if fails { result() } else { self.record(uid, *value) })
            }
            Command::Inspect { netns, .. } if !fails => {
                let missing = !self.kernel.contains(&netns.id());
                Ended::Inspected(Ok(missing.then(|| "rules are missing".to_owned())))
            }
            Command::Inspect { .. } => Ended::Inspected(Err("as it happens".to_owned())),
            Command::Prove { netns, .. } => Ended::Proved(Ok(self.landing(uid, netns.id()))),
            Command::Refuse { netns, .. } => Ended::Refused(self.refuse(netns.id(), fails)),
            Command::Allow { netns, .. } => {
                self.shut_in.retain(|id| fails || *id != netns.id());
                Ended::Allowed(result())
            }
            Command::Save { pod, netns, container, stage, .. } => {
                let (pod, container) = (Arc::clone(pod), container.clone());
                self.records.insert(uid.clone(), Saved { pod, container, netns: netns.id(), stage: *stage });
                Ended::Saved
            }
            Command::Forget { .. }
            | Command::RecordsComplete(_)
            | Command::Gap { .. }
            | Command::Report { .. }
            | Command::Keep { .. }
            | Command::Serve
            | Command::Remember { .. }
            | Command::Answer { .. } => panic!("{step:?} is no step"),
        })
    }

    fn record(&mut self, uid: &PodUid, value: Option<Redirection>) -> Result<(), String> {
        if self.refused {
            return Err("forbidden".to_owned());
        }
        let Some(life) = self.lives.get_mut(uid).filter(|life| life.present) else {
            return if value.is_some() { Err("the pod is gone".to_owned()) } else { Ok(()) };
        };
        if value == Some(Redirection::Enabled)
            && let Some(sandbox) =
                life.sandbox.as_ref().filter(|one| one.started && !one.surprise && !one.doomed)
        {
            assert!(self.kernel.contains(&sandbox.id()), "{uid} is said to be enrolled without rules");
        }
        life.status = value;
        self.untold.push_back(Untold::Seen(life.shown(), value));
        Ok(())
    }

    fn landing(&self, uid: &PodUid, netns: NetnsId) -> Landing {
        if !self.kernel.contains(&netns) && self.shut_in.contains(&netns) {
            return Landing::Refused("nobody listens".to_owned());
        }
        if !self.kernel.contains(&netns) {
            return Landing::Missed("nobody answers".to_owned());
        }
        let served = self.proxies.iter().any(|proxy| proxy.serves.get(uid) == Some(&netns));
        if served { Landing::Proxy } else { Landing::Refused("nobody listens".to_owned()) }
    }

    pub(super) fn sandboxes(&mut self) -> impl Iterator<Item = &mut Sandbox> {
        self.lives.values_mut().filter_map(|life| life.sandbox.as_mut())
    }

    /// Gives the proxy at `at` the whole book.
    fn snapshot(&mut self, at: usize) {
        if !self.serving || !self.proxies[at].connected {
            return;
        }
        let served = std::mem::take(&mut self.proxies[at].serves);
        for (uid, netns) in &served {
            let lost = !self.book.contains_key(uid);
            let life = self.lives.get(uid).filter(|life| lost && life.is_wanted(self.ambient));
            if let Some(life) = life.filter(|_| self.untold.is_empty()) {
                let here =
                    life.sandbox.as_ref().is_some_and(|sandbox| sandbox.started && sandbox.id() == *netns);
                let said = life.status == Some(Redirection::Enabled);
                assert!(!(here && said), "a snapshot takes {uid} from a proxy that serves it");
            }
        }
        let book: Vec<_> = self.book.iter().map(|(uid, netns)| (uid.clone(), netns.clone())).collect();
        for (uid, netns) in book {
            match netns {
                Some(netns) => self.offer(at, uid, &netns),
                None => {
                    if let Some(id) = served.get(&uid) {
                        self.proxies[at].serves.insert(uid, *id);
                    }
                }
            }
        }
    }

    fn offer(&mut self, at: usize, uid: PodUid, netns: &Arc<Netns>) {
        let netns = netns.id();
        if self.chance(8) {
            self.on(Event::Refused { uid, netns, why: "as it happens".to_owned() });
        } else {
            self.proxies[at].serves.insert(uid.clone(), netns);
            self.on(Event::Delivered { uid, netns });
        }
    }

    pub(super) fn connected(&self) -> usize {
        self.proxies.iter().filter(|proxy| proxy.connected).count()
    }

    /// A proxy begins, or one that has lost its agent finds the new one.
    pub(super) fn connect(&mut self) {
        let lonely = self.proxies.iter().position(|proxy| !proxy.connected);
        let mut proxy = match lonely {
            Some(at) => self.proxies.remove(at),
            None => Proxy { connected: false, serves: BTreeMap::new() },
        };
        proxy.connected = true;
        self.proxies.push(proxy);
        self.on(Event::Proxies(self.connected()));
        self.snapshot(self.proxies.len() - 1);
    }

    /// A proxy ends; one before it learns what it was not told.
    pub(super) fn disconnect(&mut self, at: usize) {
        let newest = !self.proxies[at + 1..].iter().any(|proxy| proxy.connected);
        let was = self.proxies.remove(at).connected;
        if !was {
            return;
        }
        self.on(Event::Proxies(self.connected()));
        let Some(next) =
            self.proxies.iter().rposition(|proxy| proxy.connected).filter(|_| newest && self.serving)
        else {
            return;
        };
        let served = self.proxies[next].serves.clone();
        let book: Vec<_> =
            self.book.iter().filter_map(|(uid, netns)| Some((uid.clone(), netns.clone()?))).collect();
        for (uid, netns) in book.into_iter().filter(|(uid, netns)| served.get(uid) != Some(&netns.id())) {
            self.offer(next, uid, &netns);
        }
    }

    /// The agent ends in the middle of everything, and the next begins with what is on disk.
    pub(super) fn restart(&mut self) {
        while let Some(at) = self.open.len().checked_sub(1) {
            let stuck = self.lives.get(&self.open[at].0).is_some_and(|life| life.stuck);
            if stuck || self.rng.bool() {
                self.open.pop();
            } else {
                let (uid, step) = self.open.pop().expect("the last");
                self.effect(&uid, &step, false);
            }
        }
        self.say("the agent restarts");
        // It may have been told to let pods out that are not proved.
        self.unproved = if self.chance(3) { Unproved::Allow } else { self.unproved };
        self.machine = machine(self.unproved);
        self.now = Moment::default();
        (self.book, self.serving, self.calls) = (BTreeMap::new(), false, BTreeMap::new());
        self.proxies.iter_mut().for_each(|proxy| proxy.connected = false);
        // Whoever was held back is taken down, and so is who was to be.
        self.sandboxes().filter(|sandbox| !sandbox.started).for_each(|sandbox| sandbox.doomed = true);
        self.untold = VecDeque::from([Untold::Namespace]);
        let present = self.lives.values().filter(|life| life.present);
        let seen = present.map(|life| Untold::Seen(life.shown(), life.status));
        self.untold.extend(seen.collect::<Vec<_>>());
        self.untold.push_back(Untold::Synced);
        if self.chance(6) {
            self.say("its records are lost");
            (self.records, self.complete) = (BTreeMap::new(), false);
            // Only a reboot takes them, and that leaves no sandbox refused.
            self.shut_in = BTreeSet::new();
        }
        let alive: BTreeMap<NetnsId, Arc<Netns>> =
            self.sandboxes().map(|sandbox| (sandbox.id(), Arc::clone(&sandbox.netns))).collect();
        let restored = self.records.values().map(|saved| Restored {
            pod: Arc::clone(&saved.pod),
            container: saved.container.clone(),
            netns: alive.get(&saved.netns).map(Arc::clone),
            stage: saved.stage,
        });
        let (pods, complete) = (restored.collect(), self.complete);
        self.on(Event::Restored { pods, complete });
    }

    pub(super) fn is_served(&self, uid: &PodUid, netns: NetnsId) -> bool {
        self.proxies.iter().any(|proxy| proxy.connected && proxy.serves.get(uid) == Some(&netns))
    }

    /// Nothing of ours knows the pod any more.
    pub(super) fn has_forgotten(&self, uid: &PodUid) -> bool {
        !self.book.contains_key(uid)
            && !self.records.contains_key(uid)
            && !self.proxies.iter().any(|proxy| proxy.serves.contains_key(uid))
    }
}
