//! What istiod asks of a proxy before it signs for pods, and what the two must agree on.

use std::collections::BTreeMap;

use super::control_plane::{Istiod, container, env, istiods};
use crate::check::catalog::{Area, Check, When};
use crate::check::facts::{Facts, Known, known, label_of};
use crate::check::finding::{Judged, Problem, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "istiod-trusted-account",
        area: Area::Istiod,
        title: "istiod trusts the proxy's account",
        when: When::Always,
        about: "A proxy asks for its pods' certificates under its own account, which must be in istiod's CA_TRUSTED_NODE_ACCOUNTS \
                (`namespace/account`, separated by commas). Otherwise every certificate is refused and pods reach nobody.",
        hint: "set trustedZtunnelNamespace (and trustedZtunnelName) in istiod's values, or install the proxy where istiod expects it",
        judge: trusted,
    },
    Check {
        id: "istiod-root-cert",
        area: Area::Istiod,
        title: "istiod's root certificate is where proxies mount it",
        when: When::Always,
        about: "istiod writes the ConfigMap istio-ca-root-cert into every namespace. The proxy's pod does not start before it is there.",
        hint: "wait for istiod to become ready; if it is, see whether meshConfig.discoverySelectors leaves the namespace out",
        judge: root_cert,
    },
    Check {
        id: "istiod-cluster-id",
        area: Area::Istiod,
        title: "proxy and istiod use one name for the cluster",
        when: When::After,
        about: "istiod refuses the token of a proxy that names another cluster. The proxy's name is ISTIO_META_CLUSTER_ID, istiod's is \
                CLUSTER_ID; both are `Kubernetes` unless told otherwise.",
        hint: "set multiCluster.clusterName of the proxy's chart to global.multiCluster.clusterName of istiod's",
        judge: cluster_id,
    },
    Check {
        id: "istiod-network",
        area: Area::Istiod,
        title: "proxy and control plane use one name for the network",
        when: When::After,
        about: "Workloads of another network are reached through its gateway. A proxy whose NETWORK is not the label \
                topology.istio.io/network of the control plane's namespace takes its own pods for remote ones.",
        hint: "set `network` of the proxy's chart to the value of the namespace's label topology.istio.io/network",
        judge: network,
    },
    Check {
        id: "istiod-revision",
        area: Area::Istiod,
        title: "there is an istiod of the proxy's revision",
        when: When::Always,
        about: "With `revision` a proxy asks istiod-REVISION; several istiods mean that somebody has to choose.",
        hint: "set `revision` of the proxy's chart to that of an istiod which is there",
        judge: revision,
    },
];

/// The proxy as its DaemonSet has it.
struct Proxy {
    account: String,
    env: BTreeMap<String, Option<String>>,
}

impl Proxy {
    /// None where nothing is installed.
    fn of(facts: &Facts) -> Known<Option<Self>> {
        let Some(set) = facts.daemon_set("ztunnel")? else { return Ok(None) };
        let pod = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let Some(pod) = pod else { return Ok(None) };
        Ok(Some(Self {
            account: pod.service_account_name.clone().unwrap_or_else(|| "default".to_owned()),
            env: container(pod, "istio-proxy").map(env).unwrap_or_default(),
        }))
    }

    fn var(&self, name: &str) -> &str {
        self.env.get(name).and_then(Option::as_deref).unwrap_or_default()
    }
}

fn trusted(facts: &Facts) -> Judged {
    let account = Proxy::of(facts)?.map_or_else(|| "ztunnel".to_owned(), |proxy| proxy.account);
    let wanted = format!("{}/{account}", facts.istio_namespace);
    let found = istiods(facts)?;
    let fine =
        if found.is_empty() { "there is no istiod".to_owned() } else { format!("{wanted} is trusted") };
    let mut verdict = Verdict::fine(fine);
    for one in found {
        let subject = format!("deployment {}", one.name);
        match one.env.get(TRUSTED) {
            Some(Some(list)) if list.split(',').any(|entry| entry.trim() == wanted) => {}
            Some(Some(list)) => {
                verdict.add(Problem::error(subject, format!("{TRUSTED} is {list:?}, without {wanted}")));
            }
            Some(None) => verdict
                .add(Problem::warning(subject, format!("{TRUSTED} comes from elsewhere and is not known"))),
            None => {
                verdict.add(Problem::error(subject, format!("{TRUSTED} is not set: istiod trusts no proxy")))
            }
        }
    }
    Ok(verdict)
}

fn root_cert(facts: &Facts) -> Judged {
    let map = known(&facts.config_maps)?.get(ROOT);
    let pem = map.and_then(|map| map.data.as_ref()).and_then(|data| data.get("root-cert.pem"));
    let namespace = &facts.istio_namespace;
    Ok(match (map, pem) {
        (Some(_), Some(pem)) if pem.contains("BEGIN CERTIFICATE") => {
            Verdict::fine(format!("ConfigMap {ROOT} in {namespace}"))
        }
        (Some(_), _) => {
            Verdict::error(format!("configmap {ROOT}"), "it has no certificate under root-cert.pem")
        }
        (None, _) => {
            Verdict::error(format!("configmap {ROOT}"), format!("it is not in namespace {namespace}"))
        }
    })
}

fn cluster_id(facts: &Facts) -> Judged {
    let Some(proxy) = Proxy::of(facts)? else { return Ok(Verdict::fine("there is no proxy")) };
    let usual = |text: &str| if text.is_empty() { "Kubernetes".to_owned() } else { text.to_owned() };
    let ours = usual(proxy.var("ISTIO_META_CLUSTER_ID"));
    let mut verdict = Verdict::fine(ours.clone());
    for one in followed(facts, &proxy)? {
        let theirs = usual(one.var("CLUSTER_ID"));
        if theirs != ours {
            let what = format!("its cluster is {theirs:?}, the proxy's is {ours:?}");
            verdict.add(Problem::error(format!("deployment {}", one.name), what));
        }
    }
    Ok(verdict)
}

fn network(facts: &Facts) -> Judged {
    let Some(proxy) = Proxy::of(facts)? else { return Ok(Verdict::fine("there is no proxy")) };
    let namespaces = known(&facts.namespaces)?.iter();
    let mut ours = namespaces.filter(|one| one.metadata.name.as_ref() == Some(&facts.istio_namespace));
    let label = ours.next().and_then(|one| label_of(&one.metadata.labels, "topology.istio.io/network"));
    let (label, network) = (label.unwrap_or_default(), proxy.var("NETWORK"));
    Ok(if label == network {
        Verdict::fine(if label.is_empty() { "the default one" } else { label })
    } else {
        let what =
            format!("NETWORK is {network:?}, the label of namespace {} is {label:?}", facts.istio_namespace);
        Verdict::error("daemonset ztunnel", what)
    })
}

fn revision(facts: &Facts) -> Judged {
    let found = istiods(facts)?;
    let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
    let Some(proxy) = Proxy::of(facts)? else {
        return Ok(match found.as_slice() {
            [] => Verdict::fine("there is no istiod"),
            [one] if one.revision != "default" => Verdict::warning(
                format!("deployment {}", one.name),
                format!("the only istiod is of revision {}, which the proxy has to name", one.revision),
            ),
            [one] => Verdict::fine(one.revision.clone()),
            [..] if names.contains(&"istiod") => Verdict::fine(format!("istiod, of {}", names.join(", "))),
            [..] => Verdict::warning("", format!("the proxy has to name a revision: {}", names.join(", "))),
        });
    };
    let host = istiod_host(&proxy);
    // Somebody else's control plane is not looked at.
    if !host.starts_with("istiod") || names.contains(&host.as_str()) {
        return Ok(Verdict::fine(format!("it asks {host}")));
    }
    let services = known(&facts.services)?.iter();
    let tag = services.filter(|one| one.metadata.namespace.as_ref() == Some(&facts.istio_namespace));
    if tag.into_iter().any(|one| one.metadata.name.as_ref() == Some(&host)) {
        return Ok(Verdict::fine(format!("it asks {host}, a tag's Service")));
    }
    Ok(Verdict::error("daemonset ztunnel", format!("it asks {host}, and there is only {}", names.join(", "))))
}

/// The istiods that the proxy may ask.
fn followed(facts: &Facts, proxy: &Proxy) -> Known<Vec<Istiod>> {
    let (all, host) = (istiods(facts)?, istiod_host(proxy));
    let named: Vec<Istiod> = all.iter().filter(|one| one.name == host).cloned().collect();
    Ok(if named.is_empty() { all } else { named })
}

/// The name of the Service that a proxy asks for its configuration.
fn istiod_host(proxy: &Proxy) -> String {
    let address = proxy.var("XDS_ADDRESS");
    let host = address.rsplit("//").next().unwrap_or_default().split(['.', ':']).next().unwrap_or_default();
    if host.is_empty() { "istiod".to_owned() } else { host.to_owned() }
}

const TRUSTED: &str = "CA_TRUSTED_NODE_ACCOUNTS";
const ROOT: &str = "istio-ca-root-cert";
