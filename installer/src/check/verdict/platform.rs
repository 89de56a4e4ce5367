//! Platforms that keep their CNI directories elsewhere, told by what nodes say of themselves.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;

use crate::check::catalog::{Area, Check, When};
use crate::check::facts::{Facts, Known, known, label_of};
use crate::check::finding::{Judged, Verdict};
use crate::check::node::info;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "platform",
        area: Area::Nodes,
        title: "the platform's directories are those of the installation",
        when: When::Always,
        about: "k3s, k3d, MicroK8s, OpenShift and GKE keep CNI configurations or plugins in places of their own; `global.platform` \
                names them all at once. With the wrong ones pods of the mesh start without being captured, or not at all.",
        hint: "install with --set global.platform=NAME",
        judge: platform,
    },
    Check {
        id: "priority-quota",
        area: Area::Nodes,
        title: "node-critical pods are allowed in the namespace",
        when: When::Always,
        about: "Agent and proxy have the priority class system-node-critical. GKE admits it outside of kube-system only in a namespace \
                with a ResourceQuota for it.",
        hint: "install with --set global.platform=gke, which adds the ResourceQuotas",
        judge: quota,
    },
];

/// A platform, where it keeps configurations, and where plugins.
pub(in crate::check) struct Platform {
    name: &'static str,
    pub(in crate::check) conf: &'static str,
    pub(in crate::check) bin: &'static str,
}

/// The one that a node's own words tell.
pub(in crate::check) fn platform_of(node: &Node) -> Option<&'static Platform> {
    let info = info(node)?;
    let name = if info.kubelet_version.contains("+k3s") {
        // k3d runs k3s in containers, whose image says so.
        if info.os_image.contains("K3s") { "k3d" } else { "k3s" }
    } else if label_of(&node.metadata.labels, "microk8s.io/cluster").is_some() {
        "microk8s"
    } else if info.kubelet_version.contains("-gke") {
        "gke"
    } else if info.os_image.contains("CoreOS") && label_of(&node.metadata.labels, OPENSHIFT).is_some() {
        "openshift"
    } else {
        return None;
    };
    PLATFORMS.iter().find(|platform| platform.name == name)
}

fn all(facts: &Facts) -> Known<BTreeSet<&'static str>> {
    Ok(known(&facts.nodes)?.iter().filter_map(platform_of).map(|platform| platform.name).collect())
}

fn platform(facts: &Facts) -> Judged {
    let names = all(facts)?;
    let Some(platform) = PLATFORMS.iter().find(|platform| names.contains(platform.name)) else {
        return Ok(Verdict::fine("nodes tell of none that keeps them elsewhere"));
    };
    let name = platform.name;
    let set = facts.daemon_set("istio-cni-node")?;
    let pod = set.and_then(|set| set.spec.as_ref()?.template.spec.as_ref());
    let Some(pod) = pod else {
        return Ok(Verdict::warning(
            "",
            format!("the nodes are those of {name}, which the installation has to be told"),
        ));
    };
    let volumes = pod.volumes.iter().flatten().filter_map(|volume| volume.host_path.as_ref());
    let paths: Vec<&str> = volumes.map(|host| host.path.trim_end_matches('/')).collect();
    let missing = [platform.conf, platform.bin].into_iter().find(|path| !paths.contains(path));
    Ok(match missing {
        None => Verdict::fine(name),
        Some(path) => Verdict::error(
            "daemonset istio-cni-node",
            format!("the nodes are those of {name}, and the agent does not have {path}"),
        ),
    })
}

fn quota(facts: &Facts) -> Judged {
    if !all(facts)?.contains("gke") || facts.istio_namespace == "kube-system" {
        return Ok(Verdict::fine("the platform asks for nothing"));
    }
    let allowed = known(&facts.quotas)?.iter().any(|quota| {
        let selector = quota.spec.as_ref().and_then(|spec| spec.scope_selector.as_ref());
        let wanted = selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
        wanted.into_iter().any(|one| {
            one.scope_name == "PriorityClass" && one.values.iter().flatten().any(|value| value == CLASS)
        })
    });
    let namespace = &facts.istio_namespace;
    Ok(if allowed {
        Verdict::fine(format!("a ResourceQuota of {namespace} allows {CLASS}"))
    } else {
        let what = format!("the nodes are those of GKE, and no ResourceQuota allows {CLASS} here");
        Verdict::error(format!("namespace {namespace}"), what)
    })
}

const CLASS: &str = "system-node-critical";
const OPENSHIFT: &str = "node.openshift.io/os_id";

const PLATFORMS: [Platform; 5] = [
    Platform {
        name: "k3s",
        conf: "/var/lib/rancher/k3s/agent/etc/cni/net.d",
        bin: "/var/lib/rancher/k3s/data/cni",
    },
    Platform { name: "k3d", conf: "/var/lib/rancher/k3s/agent/etc/cni/net.d", bin: "/bin" },
    Platform {
        name: "microk8s",
        conf: "/var/snap/microk8s/current/args/cni-network",
        bin: "/var/snap/microk8s/current/opt/cni/bin",
    },
    Platform { name: "gke", conf: "/etc/cni/net.d", bin: "/home/kubernetes/bin" },
    Platform { name: "openshift", conf: "/etc/cni/multus/net.d", bin: "/var/lib/cni/bin" },
];
