//! Other CNIs and meshes, told by their DaemonSets and settings.

use k8s_openapi::api::apps::v1::DaemonSet;

use crate::check::catalog::{Area, Check, When};
use crate::check::facts::{Facts, known, label_of};
use crate::check::finding::{Judged, Problem, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "cni-cilium",
        area: Area::Nodes,
        title: "Cilium leaves room for another plugin",
        when: When::Always,
        about: "Cilium takes other plugins out of the chain (cni-exclusive), may rewrite the address by which probes are known \
                (enable-bpf-masquerade), and with its replacement of kube-proxy connects pods' sockets before they are seen unless \
                it is told to do so on the host only (bpf-lb-sock-hostns-only).",
        hint: "change it in Cilium's values and restart its agents",
        judge: cilium,
    },
    Check {
        id: "cni-others",
        area: Area::Nodes,
        title: "no other CNI needs settings of its own",
        when: When::Always,
        about: "Some CNIs work with an ambient mesh only in certain modes: Calico without its eBPF data plane before 3.29, Multus with \
                a plugin of its own, the AWS VPC CNI with POD_SECURITY_GROUP_ENFORCING_MODE=standard, Kube-OVN.",
        hint: "see the CNI's documentation on Istio's ambient mode",
        judge: others,
    },
    Check {
        id: "mesh-others",
        area: Area::Nodes,
        title: "no other mesh captures the same pods",
        when: When::Always,
        about: "Two programs that redirect the same pods take each other's traffic: another node proxy or CNI agent of Istio's under \
                other names, or Linkerd's CNI plugin.",
        hint: "remove one of the two, or keep their namespaces apart",
        judge: meshes,
    },
];

fn cilium(facts: &Facts) -> Judged {
    let Some(settings) = known(&facts.cilium)? else { return Ok(Verdict::fine("there is no Cilium")) };
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|set| set == value);
    let mut verdict = Verdict::fine("it does");
    if !is("cni-exclusive", "false") {
        verdict.add(
            Problem::error(CILIUM, "cni-exclusive is not false: Cilium removes the plugin from the chain")
                .hint("set cni.exclusive=false in Cilium's values"),
        );
    }
    if is("enable-bpf-masquerade", "true") {
        verdict.add(
            Problem::error(
                CILIUM,
                "enable-bpf-masquerade is true: probes lose the address by which pods let them in",
            )
            .hint("set bpf.masquerade=false in Cilium's values"),
        );
    }
    let replaces = ["true", "strict"].iter().any(|value| is("kube-proxy-replacement", value));
    if replaces && !is("bpf-lb-sock-hostns-only", "true") {
        verdict.add(
            Problem::error(
                CILIUM,
                "Cilium replaces kube-proxy inside pods too: the proxy never sees Services' addresses",
            )
            .hint("set socketLB.hostNamespaceOnly=true in Cilium's values"),
        );
    }
    Ok(verdict)
}

fn others(facts: &Facts) -> Judged {
    let mut verdict = Verdict::fine("none that is known to");
    for set in known(&facts.daemon_sets)? {
        let subject = format!("daemonset {}", named(set));
        match set.metadata.name.as_deref().unwrap_or_default() {
            "calico-node" if is_set(set, "FELIX_BPFENABLED", "true") => verdict.add(
                Problem::warning(subject, "Calico's eBPF data plane drops kubelets' probes of mesh pods before 3.29")
                    .hint("use Calico 3.29 or newer, or its standard data plane"),
            ),
            "kube-multus-ds" | "multus" | "multus-ds" if chained(facts)? => verdict.add(
                Problem::warning(subject, "Multus calls plugins by configurations of its own")
                    .hint("on OpenShift, install with --set global.platform=openshift; elsewhere see chained and cniConfDir"),
            ),
            "kube-ovn-cni" => verdict.add(
                Problem::warning(subject, "Kube-OVN routes probes past the host's rules in some modes")
                    .hint("see whether pods with probes stay ready in one namespace before you enroll more"),
            ),
            "aws-node"
                if is_set(set, "ENABLE_POD_ENI", "true")
                    && !is_set(set, "POD_SECURITY_GROUP_ENFORCING_MODE", "standard") =>
            {
                verdict.add(
                    Problem::warning(subject, "security groups of pods are enforced past the host's rules: probes may fail")
                        .hint("set POD_SECURITY_GROUP_ENFORCING_MODE=standard on the VPC CNI"),
                );
            }
            _ => {}
        }
    }
    Ok(verdict)
}

/// Whether the plugin joins a chain, as it does unless the agent is told otherwise.
fn chained(facts: &Facts) -> Result<bool, crate::check::facts::Unread> {
    let settings = known(&facts.config_maps)?.get("istio-cni-config").and_then(|map| map.data.as_ref());
    Ok(settings.and_then(|data| data.get("CHAINED_CNI_PLUGIN")).is_none_or(|value| value != "false"))
}

fn meshes(facts: &Facts) -> Judged {
    let mut verdict = Verdict::fine("none");
    for set in known(&facts.daemon_sets)? {
        let (namespace, name) = (set.metadata.namespace.as_deref(), set.metadata.name.as_deref());
        let own = namespace == Some(facts.istio_namespace.as_str())
            && matches!(name, Some("ztunnel" | "istio-cni-node"));
        let subject = format!("daemonset {}", named(set));
        let labels =
            set.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref()).map(|meta| &meta.labels);
        let label = |key: &str| labels.and_then(|labels| label_of(labels, key));
        if name == Some("linkerd-cni") {
            let what =
                "Linkerd's plugin redirects pods with its sidecars: keep its namespaces out of this mesh";
            verdict.add(Problem::warning(subject, what));
        } else if !own && (label("app") == Some("ztunnel") || label("k8s-app") == Some("istio-cni-node")) {
            verdict.add(Problem::error(subject, "it captures pods beside the components in this namespace").hint(format!(
                "remove it, or name its namespace with --istio-namespace: kubectl -n {} delete daemonset {}",
                namespace.unwrap_or_default(),
                name.unwrap_or_default()
            )));
        }
    }
    Ok(verdict)
}

fn named(set: &DaemonSet) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", part(&set.metadata.namespace), part(&set.metadata.name))
}

fn is_set(set: &DaemonSet, name: &str, value: &str) -> bool {
    let pod = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let containers = pod.iter().flat_map(|pod| &pod.containers);
    let mut variables = containers.flat_map(|one| one.env.iter().flatten());
    variables.any(|one| one.name == name && one.value.as_deref() == Some(value))
}

const CILIUM: &str = "configmap kube-system/cilium-config";
