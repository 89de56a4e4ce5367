//! What happens to the node, how it comes to rest, and what must hold then.

use std::sync::Arc;
use std::time::Duration;

use super::super::*;
use super::cluster::{Life, Sandbox};
use super::node::{Call, Node, Untold};
use crate::netns::NetnsId;

impl Node {
    /// One thing happens.
    pub(super) fn disturb(&mut self) {
        // Timers run out while other things happen.
        self.now = self.now.after(Duration::from_millis(self.rng.u64(..300)));
        match self.rng.u32(..23) {
            0 | 1 => self.create(),
            2 | 3 => self.start(),
            4 | 5 => self.tell(),
            6..=9 => self.finish_one(),
            10 => self.delete(),
            11 => self.tear_down(),
            12 => self.replace(),
            13 => self.relabel(),
            14 => self.end(),
            15 => self.tamper(),
            16 => self.question(),
            17 if self.proxies.len() < 3 => self.connect(),
            18 if self.restarts && !self.proxies.is_empty() => {
                let at = self.rng.usize(..self.proxies.len());
                self.disconnect(at);
            }
            19 if self.restarts && self.chance(2) => self.restart(),
            20 => self.wait(),
            21 => self.rewrite(),
            _ => self.pass(),
        }
    }

    fn pass(&mut self) {
        self.now = self.now.after(Duration::from_millis(self.rng.u64(..2_000)));
        self.on(Event::Tick);
    }

    /// To whatever the machine waits for.
    fn wait(&mut self) {
        let wake = self.machine.wake().unwrap_or_else(|| self.now.after(Duration::from_secs(1)));
        self.now = wake.max(self.now);
        self.on(Event::Tick);
    }

    fn some(&mut self, which: impl Fn(&Life) -> bool) -> Option<PodUid> {
        let among: Vec<PodUid> =
            self.lives.iter().filter(|(_, life)| which(life)).map(|(uid, _)| uid.clone()).collect();
        if among.is_empty() { None } else { Some(among[self.rng.usize(..among.len())].clone()) }
    }

    fn create(&mut self) {
        let name = ["a", "b", "c", "d"][self.rng.usize(..4)];
        let namespace = ["mesh", "mesh", "plain", "kube-system"][self.rng.usize(..4)];
        let taken = |life: &Life| {
            life.present && (&*life.pod.metadata.name, &*life.pod.metadata.namespace) == (name, namespace)
        };
        if self.lives.values().any(taken) {
            return;
        }
        self.made += 1;
        let mut pod = without_address(name);
        pod.metadata.namespace = namespace.to_owned();
        pod.metadata.uid = format!("u-{name}-{}", self.made);
        pod.status.phase = "Pending".to_owned();
        match self.rng.u32(..8) {
            0 => drop(pod.metadata.labels.insert(MODE.to_owned(), "none".to_owned())),
            1 if namespace != "kube-system" => {
                drop(pod.metadata.labels.insert(MODE.to_owned(), "ambient".to_owned()))
            }
            _ => {}
        }
        let uid = PodUid(pod.metadata.uid.clone());
        let mut life = Life::new(pod);
        life.stuck = self.lives.is_empty() && self.made == 1 && self.rng.u32(..3) == 0;
        self.say(format!(
            "pod {uid} in {namespace} is made{}",
            if life.stuck { ", and nothing ends for it" } else { "" }
        ));
        self.untold.push_back(Untold::Seen(life.shown(), None));
        self.lives.insert(uid, life);
    }

    /// The kubelet starts a sandbox, and the plugin asks.
    fn start(&mut self) {
        let waits = |life: &Life| life.present && life.sandbox.is_none() && !life.pod.is_terminal();
        if let Some(uid) = self.some(waits) {
            self.start_one(&uid);
        }
    }

    fn start_one(&mut self, uid: &PodUid) {
        let request = self.call(Call::Add, uid.clone());
        let Some(life) = self.lives.get_mut(uid) else { return };
        let sandbox = Sandbox::new(format!("c{}", request.0), false);
        let (name, netns) = (named(life, &sandbox.container), Arc::clone(&sandbox.netns));
        life.sandbox = Some(sandbox);
        let ips = vec!["10.0.0.9".parse().unwrap()];
        self.on(Event::Add { request, sandbox: name, uid: Some(uid.clone()), netns, ips });
    }

    fn tell(&mut self) {
        let Some(untold) = self.untold.pop_front() else { return };
        match untold {
            Untold::Namespace => {
                for (name, mode) in [
                    ("mesh", if self.ambient { "ambient" } else { "" }),
                    ("plain", ""),
                    ("kube-system", "ambient"),
                ] {
                    let mut namespace = Namespace::default();
                    namespace.metadata.name = name.to_owned();
                    namespace.metadata.labels.insert(MODE.to_owned(), mode.to_owned());
                    self.on(Event::NamespaceSeen(namespace));
                }
            }
            Untold::Seen(pod, recorded) => self.on(Event::PodSeen { pod, recorded }),
            Untold::Gone(uid) => self.on(Event::PodGone(uid)),
            Untold::Synced => self.on(Event::Synced),
        }
    }

    /// A step ends, whichever; those of a pod that is stuck never do.
    fn finish_one(&mut self) {
        let can: Vec<usize> = (0..self.open.len()).filter(|at| !self.is_stuck(*at)).collect();
        if !can.is_empty() {
            let at = can[self.rng.usize(..can.len())];
            self.finish(at, false);
        }
    }

    fn is_stuck(&self, at: usize) -> bool {
        self.lives.get(&self.open[at].0).is_some_and(|life| life.stuck)
    }

    fn delete(&mut self) {
        let Some(uid) = self.some(|life| life.present) else { return };
        if self.rng.bool() {
            self.tear_one_down(&uid);
        }
        if let Some(life) = self.lives.get_mut(&uid) {
            (life.present, life.status) = (false, None);
        }
        self.say(format!("{uid} is deleted"));
        self.untold.push_back(Untold::Gone(uid));
    }

    fn tear_down(&mut self) {
        let over = |life: &Life| {
            life.sandbox
                .as_ref()
                .is_some_and(|sandbox| sandbox.doomed || !life.present || life.pod.is_terminal())
        };
        if let Some(uid) = self.some(over) {
            self.tear_one_down(&uid);
        }
    }

    fn tear_one_down(&mut self, uid: &PodUid) {
        let Some(life) = self.lives.get(uid) else { return };
        let Some(sandbox) = &life.sandbox else { return };
        let (name, id) = (named(life, &sandbox.container), sandbox.id());
        let request = self.call(Call::Delete, uid.clone());
        self.on(Event::Delete { request, sandbox: name });
        self.kernel.remove(&id);
        if let Some(life) = self.lives.get_mut(uid) {
            life.sandbox = None;
        }
    }

    /// Another sandbox, of which the plugin is told nothing.
    fn replace(&mut self) {
        let runs = |life: &Life| {
            life.present && !life.pod.is_terminal() && life.sandbox.as_ref().is_some_and(|one| one.started)
        };
        let Some(uid) = self.some(runs) else { return };
        self.say(format!("{uid} gets another sandbox behind our back"));
        self.made += 1;
        let (made, is_told) = (self.made, self.rng.bool());
        let Some(life) = self.lives.get_mut(&uid) else { return };
        let gone = life.sandbox.replace(Sandbox::new(format!("r{made}"), true)).map(|sandbox| sandbox.id());
        let before = life.pod.status.clone();
        life.running(made);
        if is_told {
            self.untold.push_back(Untold::Seen(life.shown(), life.status));
        } else {
            life.pod.status = before;
        }
        self.kernel.retain(|id| Some(*id) != gone);
    }

    fn relabel(&mut self) {
        if self.rng.bool() {
            self.ambient = !self.ambient;
            self.say(format!("the namespace's label: {}", self.ambient));
            self.untold.push_back(Untold::Namespace);
            return;
        }
        let Some(uid) = self.some(|life| life.present && life.pod.metadata.namespace != "kube-system") else {
            return;
        };
        let mode = ["ambient", "none", "other"][self.rng.usize(..3)];
        let Some(life) = self.lives.get_mut(&uid) else { return };
        life.pod.metadata.labels.insert(MODE.to_owned(), mode.to_owned());
        self.untold.push_back(Untold::Seen(life.shown(), life.status));
    }

    /// Another writer takes what the agent wrote out of a pod's status.
    fn rewrite(&mut self) {
        let Some(uid) = self.some(|life| life.present && life.status.is_some()) else { return };
        self.say(format!("{uid} loses its status"));
        let Some(life) = self.lives.get_mut(&uid) else { return };
        life.status = None;
        self.untold.push_back(Untold::Seen(life.shown(), None));
    }

    fn end(&mut self) {
        let runs = |life: &Life| life.present && life.sandbox.as_ref().is_some_and(|one| one.started);
        let Some(uid) = self.some(runs) else { return };
        let Some(life) = self.lives.get_mut(&uid) else { return };
        life.pod.status.phase = "Succeeded".to_owned();
        self.untold.push_back(Untold::Seen(life.shown(), life.status));
    }

    fn tamper(&mut self) {
        let Some(uid) = self.some(|life| life.sandbox.is_some()) else { return };
        let Some(sandbox) = self.lives.get_mut(&uid).and_then(|life| life.sandbox.as_mut()) else { return };
        sandbox.surprise = true;
        let id = sandbox.id();
        self.say(format!("{uid} is robbed of its rules"));
        self.kernel.remove(&id);
    }

    /// CHECK, GC, and a DEL for something long gone.
    fn question(&mut self) {
        let Some(uid) = self.some(|life| life.sandbox.is_some()) else { return };
        let Some(life) = self.lives.get(&uid) else { return };
        let container = life.sandbox.as_ref().map(|sandbox| sandbox.container.clone()).unwrap_or_default();
        match self.rng.u32(..3) {
            0 => {
                let name = named(life, &container);
                let request = self.call(Call::Check, uid.clone());
                self.on(Event::Check { request, sandbox: name, uid: Some(uid) });
            }
            1 => {
                let containers = self.sandboxes().map(|sandbox| sandbox.container.clone()).collect();
                self.on(Event::Collect { containers });
            }
            _ => {
                let name = named(life, "long-gone");
                let request = self.call(Call::Delete, uid);
                self.on(Event::Delete { request, sandbox: name });
            }
        }
    }

    /// Nothing fails any more: everything that is under way ends, and everything due is done.
    pub(super) fn settle(&mut self) {
        self.calm = true;
        self.say("calm");
        let until = self.now.after(Duration::from_secs(100));
        while self.connected() == 0 || self.proxies.iter().any(|proxy| !proxy.connected) {
            self.connect();
        }
        while self.now < until {
            while !self.untold.is_empty() {
                self.tell();
            }
            self.kubelet();
            let mut rounds = 0;
            while (0..self.open.len()).any(|at| !self.is_stuck(at)) {
                self.finish_one();
                rounds += 1;
                assert!(rounds < 500, "work without end");
            }
            if self.untold.is_empty() {
                let most = self.now.after(Duration::from_secs(5));
                let wake = self.machine.wake().map(|at| at.max(self.now.after(Duration::from_millis(1))));
                self.now = wake.map_or(most, |at| at.min(most));
                // Nobody looks at what has not asked for it.
                if wake != Some(self.now) {
                    continue;
                }
                self.on(Event::Tick);
            }
        }
    }

    fn kubelet(&mut self) {
        self.lives.retain(|_, life| life.present || life.sandbox.is_some());
        for uid in self.lives.keys().cloned().collect::<Vec<_>>() {
            let Some(life) = self.lives.get(&uid) else { continue };
            let over = !life.present || life.pod.is_terminal();
            match &life.sandbox {
                Some(sandbox) if over || sandbox.doomed => self.tear_one_down(&uid),
                None if !over => self.start_one(&uid),
                Some(_) | None => {}
            }
        }
    }

    pub(super) fn holds_its_promises(&self) {
        let stuck: Vec<PodUid> =
            self.lives.iter().filter(|(_, life)| life.stuck).map(|(uid, _)| uid.clone()).collect();
        for (uid, life) in self.lives.iter().filter(|(_, life)| !life.stuck) {
            let id = life.sandbox.as_ref().map(Sandbox::id);
            assert!(id.is_none_or(|id| !self.shut_in.contains(&id)), "{uid} stays refused");
            if life.is_wanted(self.ambient) && life.pod.metadata.namespace != "kube-system" {
                let id = id.unwrap_or_else(|| panic!("{uid} never starts"));
                assert_eq!(life.status, Some(Redirection::Enabled), "{uid} is wanted");
                assert!(self.kernel.contains(&id), "{uid} is said to be enrolled without rules");
                assert!(self.is_served(uid, id), "{uid} is said to be enrolled without a proxy");
            } else {
                assert_eq!(life.status, None, "{uid} is not wanted");
                assert!(id.is_none_or(|id| self.is_free(id)), "{uid} keeps rules");
                assert!(self.has_forgotten(uid), "{uid} is not wanted and not forgotten");
            }
        }
        for state in self.machine.dump(self.now) {
            let uid = PodUid(state.uid.clone());
            let gone = !self.lives.contains_key(&uid);
            assert!(!gone || state.step.is_some(), "{state:?} outlives its pod");
        }
        let mut owed: Vec<_> = self.calls.values().cloned().collect();
        // A step that never ends is what a CHECK of its pod waits for, and the kubelet goes on trying.
        owed.retain(|(_, uid)| !stuck.contains(uid));
        assert_eq!(owed, [], "calls without an answer");
    }

    /// No rule of ours is there.
    fn is_free(&self, netns: NetnsId) -> bool {
        !self.kernel.contains(&netns) && !self.released.contains(&netns)
    }

    /// Every pod leaves the mesh, and none comes in any more.
    pub(super) fn uninstall(&mut self) {
        self.uninstalled = true;
        self.refused = self.rng.bool();
        self.on(Event::WithdrawAll);
        self.settle();
        for (uid, life) in self.lives.iter().filter(|(_, life)| !life.stuck) {
            assert!(self.refused || life.status.is_none(), "{uid} after the uninstall");
            let id = life.sandbox.as_ref().map(Sandbox::id);
            assert!(id.is_none_or(|id| self.is_free(id)), "{uid} keeps rules after the uninstall");
            assert!(
                id.is_none_or(|id| !self.shut_in.contains(&id)),
                "{uid} stays refused after the uninstall"
            );
        }
    }
}

fn named(life: &Life, container: &str) -> SandboxName {
    let Pod { metadata, .. } = &life.pod;
    SandboxName {
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        container: container.to_owned(),
    }
}
