use std::collections::VecDeque;

use cni_plugin_redirect::host::Who;
use tokio::task::JoinHandle;

use super::*;

/// A host that is only remembered, with failures to come.
#[derive(Default)]
struct Fake(Mutex<Fakes>);

#[derive(Default)]
struct Fakes {
    targets: BTreeSet<Target>,
    settled: Vec<BTreeSet<Target>>,
    foreign: bool,
    failures: VecDeque<()>,
}

impl Fake {
    fn failure(&self) -> Result<(), HostError> {
        let failed = self.0.lock().failures.pop_front().is_some();
        if failed { Err(HostError::NoBackend { tried: Vec::new() }) } else { Ok(()) }
    }
}

impl HostRules for Fake {
    fn targets(&self) -> Result<BTreeSet<Target>, HostError> {
        self.failure()?;
        Ok(self.0.lock().targets.clone())
    }

    fn settle(&self, targets: &BTreeSet<Target>) -> Result<Settled, HostError> {
        self.failure()?;
        let mut fakes = self.0.lock();
        fakes.targets.clone_from(targets);
        fakes.settled.push(targets.clone());
        Ok(Settled { who: Who::AssumedRoot, change: None })
    }

    fn remove_foreign(&self) -> Result<bool, HostError> {
        Ok(std::mem::take(&mut self.0.lock().foreign))
    }

    fn remove(&self) -> Result<(), HostError> {
        self.0.lock().targets.clear();
        Ok(())
    }

    fn hand_back(&self) -> Result<HandedBack, HostError> {
        Ok(if self.0.lock().foreign { HandedBack::Removed } else { HandedBack::Kept })
    }

    fn kubelet_left(&self) -> bool {
        false
    }
}

struct Rig {
    host: Arc<Fake>,
    exemptions: Exemptions,
    metrics: Metrics,
    said: Mutex<BTreeMap<PodUid, BTreeSet<Target>>>,
    work: JoinHandle<()>,
}

impl Rig {
    fn new(left: &[&str]) -> Self {
        let host = Arc::new(Fake::default());
        host.0.lock().targets = set(left);
        let metrics = Metrics::new();
        let (exemptions, worker) = Exemptions::new(Arc::clone(&host) as Arc<dyn HostRules>, metrics.clone());
        Self { host, exemptions, metrics, said: Mutex::default(), work: tokio::spawn(worker.run()) }
    }

    async fn exempt(&self, name: &str, targets: &[&str]) -> Result<(), ProbeError> {
        self.said.lock().insert(uid(name), set(targets));
        self.exemptions.claim(self.said.lock().clone(), false);
        self.exemptions.settled().await
    }

    fn targets(&self) -> BTreeSet<Target> {
        self.host.0.lock().targets.clone()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.work.abort();
    }
}

fn uid(name: &str) -> PodUid {
    PodUid(name.to_owned())
}

fn set(list: &[&str]) -> BTreeSet<Target> {
    list.iter()
        .map(|text| {
            let address: std::net::SocketAddr = text.parse().unwrap();
            (address.ip(), address.port())
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_answer_comes_when_the_host_has_it() {
    let rig = Rig::new(&[]);
    rig.exempt("a", &["10.0.0.1:80", "[fd00::1]:80"]).await.unwrap();
    assert_eq!(rig.targets(), set(&["10.0.0.1:80", "[fd00::1]:80"]));
    rig.exempt("b", &["10.0.0.2:80"]).await.unwrap();
    rig.exemptions.claim(BTreeMap::from([(uid("b"), set(&["10.0.0.2:80"]))]), false);
    rig.exemptions.settled().await.unwrap();
    assert_eq!(rig.targets(), set(&["10.0.0.2:80"]));
    assert_eq!(rig.exemptions.pods(), 1);
    assert!(rig.metrics.encode().unwrap().contains("adit_agent_probe_exemptions 1\n"));
}

#[tokio::test(start_paused = true)]
async fn what_the_last_agent_left_stays_until_every_pod_was_said() {
    let rig = Rig::new(&["10.0.0.1:80", "10.0.0.2:80"]);
    rig.host.0.lock().foreign = true;
    rig.exempt("a", &["10.0.0.1:80"]).await.unwrap();
    rig.exempt("c", &["10.0.0.3:80"]).await.unwrap();
    assert_eq!(rig.targets(), set(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]));
    assert!(rig.host.0.lock().foreign, "istio-cni's rules serve meanwhile");
    let said = rig.said.lock().clone();
    rig.exemptions.claim(said, true);
    rig.exemptions.settled().await.unwrap();
    assert_eq!(rig.targets(), set(&["10.0.0.1:80", "10.0.0.3:80"]));
    assert!(!rig.host.0.lock().foreign);
    let always = |targets: &BTreeSet<Target>| targets.contains(&("10.0.0.1".parse().unwrap(), 80));
    assert!(
        rig.host.0.lock().settled.iter().all(always),
        "no moment without a probe that is wanted throughout"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_counted_and_tried_again() {
    let rig = Rig::new(&["10.0.0.9:80"]);
    rig.host.0.lock().failures.extend([(), ()]);
    let error = rig.exempt("a", &["10.0.0.1:80"]).await.unwrap_err();
    assert!(matches!(error, ProbeError::Host(_)), "{error:?}");
    // Without being asked again.
    while !rig.targets().contains(&("10.0.0.1".parse().unwrap(), 80)) {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!(rig.targets(), set(&["10.0.0.1:80", "10.0.0.9:80"]), "what was left is not lost by a failure");
    assert!(rig.metrics.encode().unwrap().contains("adit_agent_probe_exemption_failures_total 2\n"));
}

#[tokio::test(start_paused = true)]
async fn rules_are_looked_at_again_without_being_asked() {
    let rig = Rig::new(&[]);
    rig.exempt("a", &["10.0.0.1:80"]).await.unwrap();
    rig.host.0.lock().targets.clear();
    while rig.targets().is_empty() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!(rig.targets(), set(&["10.0.0.1:80"]));
}

#[tokio::test(start_paused = true)]
async fn many_at_once_are_written_together() {
    let rig = Rig::new(&[]);
    for port in 1..200_u16 {
        rig.said.lock().insert(uid(&format!("pod-{port}")), set(&[&format!("10.0.0.{port}:{port}")]));
        let said = rig.said.lock().clone();
        rig.exemptions.claim(said, false);
    }
    rig.exemptions.settled().await.unwrap();
    assert_eq!(rig.targets().len(), 199);
    let passes = rig.host.0.lock().settled.len();
    assert!(passes < 10, "{passes} passes");
}

#[tokio::test(start_paused = true)]
async fn once_removed_nothing_comes_back() {
    let rig = Rig::new(&[]);
    rig.exempt("a", &["10.0.0.1:80"]).await.unwrap();
    rig.exemptions.remove_all().await.unwrap();
    let error = rig.exempt("b", &["10.0.0.2:80"]).await.unwrap_err();
    assert!(matches!(error, ProbeError::Over(_)), "{error:?}");
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(rig.targets(), BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn handed_back_ours_stay_as_they_are() {
    let rig = Rig::new(&[]);
    rig.exempt("a", &["10.0.0.1:80"]).await.unwrap();
    rig.exemptions.hand_back().await.unwrap();
    assert_eq!(rig.targets(), set(&["10.0.0.1:80"]));
}
