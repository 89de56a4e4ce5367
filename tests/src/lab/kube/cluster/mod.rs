//! A whole Kubernetes on one system: etcd, API server, controller manager and scheduler on the lab's underlay, and machines
//! with containerd, runc, the reference plugins of CNI, kubelet and kube-proxy, each in namespaces of its own.
//!
//! All of it is what a cluster runs, from the projects' own sources or Debian's packages. What is not as on a machine:
//!
//! * A machine is a PID, mount, UTS, IPC and network namespace with an `/etc`, `/var`, `/opt` and `/run` of its own, and a
//!   folder in each hierarchy of cgroups. The kernel, its modules and `/sys` are the system's.
//! * A kubelet would set `vm.overcommit_memory`, `kernel.panic` and the like for the whole system. It reads files with the
//!   values it wants instead; its feature gate for user namespaces does not help, as it asks whether it is in one.
//! * Kubelet 1.36 accepts cgroups of version 1 when it is told to (`failCgroupV1`), and containerd 1.6 with a warning: it
//!   cannot tell its cgroup driver, which 1.37 will demand. On version 2 nobody has tried this yet.
//! * The control plane is on no node: the API server calls webhooks by the addresses of their endpoints
//!   (`--enable-aggregator-routing`), and reaches kubelets and pods by routes.
//! * No registry is reached: every image comes from an archive. AppArmor is off, quotas of disks are not kept, and
//!   conntrack's limits are the system's.
//!
//! Two nodes and CoreDNS are ready in about 15 seconds on two cores that do nothing else, and within a minute on the same
//! cores at a load of 15; istiod takes 15 seconds more, our charts 10.
//!
//! Everything lives in the lab's PID and mount namespaces and ends with its process, however that ends; the machines'
//! folders of cgroups are removed by [`Machine`]'s end, and by `make e2e` where a process had no time for it.

mod helm;
mod istiod;
mod kubectl;
mod machine;
mod programs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

pub use kubectl::Ran;
pub use machine::Machine;

use super::{ApiServer, Serves, home, serves, tool};
use crate::lab::eventually::within;
use crate::lab::node::Node;
use crate::lab::plan::{self, Families};
use crate::lab::process::Process;
use crate::lab::{HOME, NameServer, Netns, underlay};

/// A running cluster.
pub struct Cluster {
    // Dropped in this order: controllers first, so that nothing is made while machines end.
    control: Vec<Process>,
    machines: Vec<Machine>,
    server: ApiServer,
    _names: NameServer,
    underlay: Netns,
    kubeconfig: PathBuf,
    forwards: AtomicU32,
}

impl Cluster {
    /// Starts one with nodes of these names and waits until all are ready.
    #[track_caller]
    pub fn start(names: &[&str]) -> Self {
        let families = Families::V4;
        let underlay = underlay(families);
        let numbered = names.iter().zip(1u8..);
        let nodes: Vec<Node> = numbered
            .map(|(name, number)| Node::create(name, number, families, &underlay, Path::new(HOME)))
            .collect();
        for node in &nodes {
            node.route_pods_in(&underlay);
            for other in nodes.iter().filter(|other| other.name() != node.name()) {
                node.route_pods_in(other.netns());
            }
        }
        let resolver = NameServer::start(&underlay, &plan::control_plane(families));
        let server = ApiServer::serving(Serves::Cluster(names.iter().map(|&name| name.to_owned()).collect()));
        let files = programs::Files::new(&home());
        let kubeconfig = files.kubeconfig("admin", serves::ADMINISTRATOR);
        let control = [
            ("kube-controller-manager", programs::controllers(&files)),
            ("kube-scheduler", programs::scheduler(&files)),
        ];
        let control = control
            .map(|(name, program)| program.start(name, &underlay, &home().join(format!("{name}.log"))));
        let machines: Vec<_> = nodes.into_iter().map(Machine::furnish).collect();
        for machine in &machines {
            machine.begin(&files);
        }
        let cluster = Self {
            control: control.into(),
            machines,
            server,
            _names: resolver,
            underlay,
            kubeconfig,
            forwards: AtomicU32::new(0),
        };
        cluster.wait_ready();
        // Without a machine there is nobody who asks for names, and nowhere to answer.
        if !names.is_empty() {
            cluster.load(&tool("coredns-image.tar"));
            cluster.apply(include_str!("dns.yaml"));
            cluster.rolled_out("kube-system", "deployment/coredns");
        }
        cluster
    }

    /// A machine by its name.
    #[track_caller]
    pub fn machine(&self, name: &str) -> &Machine {
        let found = self.machines.iter().find(|machine| machine.name() == name);
        found.unwrap_or_else(|| panic!("the cluster has no machine {name}"))
    }

    /// All machines.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The API server.
    pub const fn server(&self) -> &ApiServer {
        &self.server
    }

    /// Where an administrator's client finds the cluster, from the [underlay](Cluster::underlay).
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The network that the nodes share with the control plane, and with whoever is outside the nodes.
    pub const fn underlay(&self) -> &Netns {
        &self.underlay
    }

    /// Gives every machine the images of an archive.
    #[track_caller]
    pub fn load(&self, archive: &Path) {
        for machine in &self.machines {
            machine.load(archive);
        }
    }

    #[track_caller]
    fn wait_ready(&self) {
        within(PATIENCE, "every node is ready", || {
            self.control.iter().for_each(Process::assert_running);
            self.machines.iter().for_each(Machine::assert_running);
            for machine in &self.machines {
                let path = format!("/api/v1/nodes/{}", machine.name());
                let node = self.server.request(super::Verb::Get, &path, None).map_err(|e| e.to_string())?;
                let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
                match ready {
                    Some(ready) if ready["status"] == "True" => {}
                    other => return Err(format!("{}: {other:?}", machine.name())),
                }
            }
            // Pods cannot be made before.
            let account = "/api/v1/namespaces/default/serviceaccounts/default";
            self.server.request(super::Verb::Get, account, None).map(drop).map_err(|e| e.to_string())
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // For the report of the failure, beside the logs.
            let asked = [
                ["get", "pods,daemonsets,services,endpointslices", "-A", "-o", "wide"].as_slice(),
                &["get", "events", "-A"],
                &["describe", "pods", "-A"],
            ];
            let told: String = asked.iter().map(|args| self.kubectl(args).stdout).collect();
            let _ = fs::write(home().join("objects.log"), told);
        }
        self.control.iter().for_each(Process::kill);
    }
}

/// For what kubelets and controllers do. On a machine that does other work too.
pub const PATIENCE: Duration = Duration::from_secs(120);
