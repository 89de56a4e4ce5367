//! Reads the facts of a cluster. What cannot be read is a fact too: nothing here fails.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures_util::StreamExt as _;
use futures_util::stream;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::facts::{Clocks, Facts, Known};
use super::rights::{self, Asked, Right, Scope};
use ask::{answer, failed};

pub(super) mod ask;
pub(super) mod node_probe;

/// Whom to ask, and what.
pub(super) struct Gatherer<'a> {
    pub(super) client: Client,
    pub(super) istio_namespace: &'a str,
    pub(super) before: bool,
}

impl Gatherer<'_> {
    /// Everything that verdicts go by, but what a probe of nodes finds.
    pub(super) async fn facts(&self) -> Facts {
        let (server, clocks) = self.version().await;
        let all = &self.client;
        let istio = self.istio_namespace;
        let ((rights, crds, namespaces, nodes), (leases, pods, daemon_sets, deployments), rest) = tokio::join!(
            async {
                tokio::join!(
                    self.rights(),
                    self.crds(),
                    list(Api::all(all.clone())),
                    list(Api::all(all.clone()))
                )
            },
            async {
                let leases: Api<Lease> = Api::namespaced(all.clone(), "kube-node-lease");
                let (sets, deployments) = (Api::all(all.clone()), Api::namespaced(all.clone(), istio));
                tokio::join!(list(leases), list(Api::all(all.clone())), list(sets), list(deployments))
            },
            async {
                let quotas = Api::namespaced(all.clone(), istio);
                let (services, policies) = (Api::all(all.clone()), Api::all(all.clone()));
                tokio::join!(list(services), list(policies), list(quotas), self.config_maps(), self.cilium())
            }
        );
        let (services, policies, quotas, config_maps, cilium) = rest;
        let mut facts = Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            before: self.before,
            istio_namespace: istio.to_owned(),
            server,
            clocks,
            rights,
            crds,
            namespaces,
            nodes,
            leases,
            pods,
            daemon_sets,
            deployments,
            services,
            policies,
            quotas,
            config_maps,
            cilium,
            probed: None,
            proxies: BTreeMap::new(),
            agents: BTreeMap::new(),
        };
        if !self.before {
            facts.proxies = self.each(facts.proxy_pods().unwrap_or_default(), "15020/proxy/metrics").await;
            facts.agents = self.each(facts.agent_pods().unwrap_or_default(), "8000/proxy/readyz").await;
        }
        facts
    }

    /// The version, and the clock that the answer carries.
    async fn version(&self) -> (Known<String>, Known<Clocks>) {
        let attempt = "ask the API server for its version";
        let answer = match answer(&self.client, "/version", attempt).await {
            Ok(answer) => answer,
            Err(unread) => return (Err(unread.clone()), Err(unread)),
        };
        let version: Result<serde_json::Value, _> = serde_json::from_str(&answer.body);
        let version = version.ok().and_then(|info| Some(info.get("gitVersion")?.as_str()?.to_owned()));
        let version = version.ok_or_else(|| failed(attempt, "its answer names none"));
        let clocks = answer.date.map(|server| Clocks { here: ask::now(), server });
        (version, clocks.ok_or_else(|| failed("read the API server's clock", "its answer has no date")))
    }

    async fn rights(&self) -> Vec<Asked> {
        let asked = stream::iter(rights::all())
            .map(|right| async move { Asked { right, allowed: self.allowed(right).await } });
        asked.buffered(AT_ONCE).collect().await
    }

    async fn allowed(&self, right: Right) -> Known<bool> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let namespace = match right.scope {
            Scope::Cluster => None,
            Scope::Istio => Some(self.istio_namespace.to_owned()),
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    verb: text(right.verb),
                    group: text(right.group),
                    resource: text(right.resource),
                    subresource: text(right.subresource),
                    namespace,
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| ask::refused("ask for your own rights", &error))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// By discovery, for which nobody needs a right; definitions themselves are large.
    async fn crds(&self) -> Known<BTreeMap<String, Vec<String>>> {
        let attempt = "list the API groups";
        let groups = self.client.list_api_groups().await.map_err(|error| ask::refused(attempt, &error))?;
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for group in groups.groups.iter().filter(|group| GROUPS.contains(&group.name.as_str())) {
            for version in &group.versions {
                let listed = self.client.list_api_group_resources(&version.group_version).await;
                let listed = listed.map_err(|error| ask::refused("list the API's resources", &error))?;
                for resource in listed.resources.iter().filter(|resource| !resource.name.contains('/')) {
                    let name = format!("{}.{}", resource.name, group.name);
                    found.entry(name).or_default().push(version.version.clone());
                }
            }
        }
        Ok(found)
    }

    async fn config_maps(&self) -> Known<BTreeMap<String, ConfigMap>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.istio_namespace);
        let mut found = BTreeMap::new();
        for name in CONFIG_MAPS {
            let map = api.get_opt(name).await.map_err(|error| {
                ask::refused(&format!("get configmaps in {}", self.istio_namespace), &error)
            })?;
            found.extend(map.map(|map| (name.to_owned(), map)));
        }
        Ok(found)
    }

    async fn cilium(&self) -> Known<Option<BTreeMap<String, String>>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), "kube-system");
        let map = api.get_opt("cilium-config").await;
        let map = map.map_err(|error| ask::refused("get configmap cilium-config in kube-system", &error))?;
        Ok(map.map(|map| map.data.unwrap_or_default()))
    }

    /// What each pod answers on a port of its own, through the API server.
    async fn each(&self, pods: Vec<&Pod>, path: &str) -> BTreeMap<String, Known<String>> {
        let asked = stream::iter(pods).map(|pod| async move {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let uri = format!("/api/v1/namespaces/{}/pods/{name}:{path}", self.istio_namespace);
            let attempt = format!("get pods/proxy in {}", self.istio_namespace);
            let said = answer(&self.client, &uri, &attempt).await.map(|answer| answer.body);
            (name, said)
        });
        asked.buffered(AT_ONCE).collect::<Vec<_>>().await.into_iter().collect()
    }
}

async fn list<K>(api: Api<K>) -> Known<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let listed = api.list(&ListParams::default()).await;
    listed.map(|list| list.items).map_err(|error| ask::refused(&format!("list {}", told::<K>()), &error))
}

/// As RBAC names it.
fn told<K: Resource<DynamicType = ()>>() -> String {
    let group = K::group(&());
    if group.is_empty() { K::plural(&()).into_owned() } else { format!("{}.{group}", K::plural(&())) }
}

const AT_ONCE: usize = 16;
const CONFIG_MAPS: [&str; 2] = ["istio-ca-root-cert", "istio-cni-config"];
const GROUPS: [&str; 2] = ["security.istio.io", "gateway.networking.k8s.io"];
