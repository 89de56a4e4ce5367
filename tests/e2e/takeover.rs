//! A node that runs the real istio-cni becomes ours under traffic, and goes back, without a pod's restart.

pub(crate) mod container;
pub(crate) mod load;

use std::sync::Arc;
use std::time::Duration;

use tests::lab::{Lab, Node, Pod, Process, Server, Speaks, eventually, within};

use super::runtime::containerd::{Containerd, Made};
use container::{Agents, Owner};
use load::{Load, SECRET};

/// Node `a` under containerd with an agent of a DaemonSet, node `b` as every lab has it.
pub(crate) struct Cluster {
    pub(crate) lab: Lab,
    pub(crate) node: Arc<Node>,
    pub(crate) containerd: Containerd,
    pub(crate) agents: Agents,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let lab = Lab::new().kubernetes().start();
        let node = lab.node("a");
        node.agent().kill();
        lab.kubernetes().apply(&daemon_set("install-cni"));
        lab.enroll_namespace("default");
        let containerd = Containerd::start_without(&node);
        let agents = Agents::of(&lab, &node, containerd.confs(), containerd.bins());
        Self { lab, node, containerd, agents }
    }

    /// A pod of node `a` that its agent has enrolled.
    pub(crate) fn pod(&self, name: &str) -> Made {
        let uid = self.lab.pod(name).declare();
        let made = within(PATIENCE, format_args!("containerd makes {name}"), || {
            self.containerd.run("default", name, &uid)
        });
        self.containerd.tell(&self.lab, "default", name, &made);
        for node in self.lab.nodes() {
            node.proxy().wait_workload("default", name, "HBONE");
        }
        made
    }

    /// As a rolling update replaces the pod of a DaemonSet: its template names the next program first.
    fn make_room(&self, agent: &Process, next: &str) {
        self.lab.kubernetes().apply(&daemon_set(next));
        agent.signal(nix::sys::signal::Signal::SIGTERM);
        agent.wait();
    }

    fn peer(&self) -> Pod {
        let peer = self.lab.pod("peer").on("b").create();
        peer.wait_enrolled();
        peer
    }
}

/// Traffic in both directions between the nodes, with what crosses between them.
struct Under {
    loads: [Load; 2],
    _servers: [Server; 2],
    capture: tests::lab::Capture,
}

impl Under {
    fn traffic(cluster: &Cluster, pod: &Made, peer: &Pod) -> Self {
        let servers = [Server::start(pod.netns(), 7001, Speaks::Echo), peer.serve(7001, Speaks::Echo)];
        let capture = cluster.lab.capture();
        let to_pod = format!("{}:7001", pod.ip()).parse().expect("an address");
        let loads = [Load::start(peer.netns(), vec![to_pod]), Load::start(pod.netns(), vec![peer.at(7001)])];
        let under = Self { loads, _servers: servers, capture };
        under.goes_on("before anything changes");
        under
    }

    /// Waits until more was served in both directions.
    #[track_caller]
    fn goes_on(&self, when: &str) {
        for load in &self.loads {
            let before = load.served();
            eventually(format_args!("traffic goes on {when}"), || {
                let more = load.served() - before;
                if more >= 20 { Ok(()) } else { Err(format!("{more} served")) }
            });
        }
    }

    #[track_caller]
    fn assert_whole(self) {
        for load in self.loads {
            let outcome = load.finish();
            println!("{} exchanges served", outcome.served);
            assert_eq!(
                outcome.failed,
                [""; 0],
                "of {} exchanges",
                outcome.served + outcome.failed.len() as u64
            );
        }
        assert!(!self.capture.finish().holds(SECRET), "what pods said was seen between the nodes");
    }
}

pub(crate) fn a_node_of_istio_cni_becomes_ours_under_traffic_and_goes_back() {
    let mut cluster = Cluster::start();
    let istio = cluster.agents.start(Owner::Istio);
    assert_eq!(cluster.agents.chain(), ["ptp", "istio-cni"]);
    let pod = cluster.pod("web");
    let peer = cluster.peer();
    let traffic = Under::traffic(&cluster, &pod, &peer);

    cluster.make_room(&istio, "adit-node-agent");
    traffic.goes_on("without an agent");
    let ours = cluster.agents.start(Owner::Ours);
    assert_eq!(cluster.agents.chain(), ["ptp", "adit-cni"]);
    traffic.goes_on("under ours");
    let later = cluster.pod("later");
    traffic.goes_on("beside a new pod of ours");

    cluster.make_room(&ours, "install-cni");
    assert_eq!(cluster.agents.chain(), ["ptp", "istio-cni"]);
    traffic.goes_on("without ours");
    let istio = cluster.agents.start(Owner::Istio);
    eventually("the chain is istio-cni's again", || match cluster.agents.chain() {
        chain if chain == ["ptp", "istio-cni"] => Ok(()),
        chain => Err(format!("{chain:?}")),
    });
    cluster.pod("last");
    traffic.goes_on("under istio-cni again");
    traffic.assert_whole();
    for made in [&pod, &later] {
        cluster.containerd.remove(made).unwrap_or_else(|e| panic!("{e}"));
    }
    istio.assert_running();
    drop(cluster.node);
}

pub(crate) fn istio_cni_alone_enrolls_pods_in_this_harness() {
    let mut cluster = Cluster::start();
    let _istio = cluster.agents.start(Owner::Istio);
    let pod = cluster.pod("web");
    let peer = cluster.peer();
    let traffic = Under::traffic(&cluster, &pod, &peer);
    traffic.goes_on("under istio-cni");
    traffic.assert_whole();
    cluster.containerd.remove(&pod).unwrap_or_else(|e| panic!("{e}"));
}

const PATIENCE: Duration = Duration::from_secs(60);

/// As much of the chart's as either agent asks for when it is told to end.
fn daemon_set(program: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: istio-cni-node, namespace: istio-system}}
spec:
  selector: {{matchLabels: {{k8s-app: istio-cni-node}}}}
  template:
    metadata: {{labels: {{k8s-app: istio-cni-node}}}}
    spec:
      serviceAccountName: istio-cni
      containers: [{{name: install-cni, image: install-cni, command: [{program}]}}]
"
    )
}
