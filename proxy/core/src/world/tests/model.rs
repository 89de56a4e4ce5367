//! The world against a slow and obvious one: lists, searched from end to end.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use proptest::prelude::*;

use crate::{
    Moment,
    fixtures::{node, policy, service, workload},
    model::{Action, Identity, NamespacedHostname, Policy, Protocol, Scope, Service, Workload},
    world::{Change, World},
};

/// What was said last, in the order of arrival.
#[derive(Clone, Default)]
struct Model {
    workloads: Vec<Workload>,
    services: Vec<Service>,
    policies: Vec<Policy>,
}

impl Model {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Workload(new) if self.workloads.contains(&new) => {}
            Change::Workload(new) => {
                self.workloads.retain(|known| known.uid != new.uid);
                self.workloads.push(*new);
            }
            Change::Service(new) => {
                self.services.retain(|known| known.key != new.key);
                self.services.push(*new);
            }
            Change::RemoveAddress(name) => {
                let before = self.workloads.len();
                self.workloads.retain(|known| known.uid != name);
                if self.workloads.len() == before {
                    self.services.retain(|known| known.key.to_string() != *name);
                }
            }
            Change::Policy(new) => {
                self.policies.retain(|known| known.key != new.key);
                self.policies.push(*new);
            }
            Change::RemovePolicy(key) => self.policies.retain(|known| known.key != key),
            Change::UnreadablePolicy(_) => panic!("not generated"),
        }
    }

    fn workload_at(&self, address: IpAddr) -> Option<&Workload> {
        let holders = self.workloads.iter().filter(|known| known.addresses.contains(&address));
        holders.max_by_key(|known| (known.uid.contains("//Pod/"), known.protocol == Protocol::Hbone))
    }

    fn service_at(&self, address: IpAddr, client: &str) -> Option<&Service> {
        let visible = || self.services.iter().filter(|known| known.is_visible_to(Some(client)));
        // Ascending by name, so that of equals the first by name is taken.
        let rank = |service: &&Service| {
            let own = service.namespace().as_ref() == client;
            (own, !own && service.canonical, std::cmp::Reverse(service.key.clone()))
        };
        let exact =
            visible().filter(|known| known.vips.iter().any(|vip| vip.address == address)).max_by_key(rank);
        let prefix = || {
            visible()
                .filter_map(|known| {
                    let nets = known.cidr_vips.iter().filter(|vip| vip.cidr.contains(&address));
                    nets.map(|vip| vip.cidr.prefix_len()).max().map(|length| (known, length))
                })
                .max_by_key(|(known, length)| {
                    let (own, _, name) = rank(known);
                    (own, *length, known.canonical, name)
                })
                .map(|(known, _)| known)
        };
        exact.or_else(prefix)
    }

    fn endpoints(&self, key: &NamespacedHostname) -> BTreeSet<&str> {
        self.workloads
            .iter()
            .filter(|known| known.services.contains_key(key))
            .map(|known| &*known.uid)
            .collect()
    }

    fn policies_covering(&self, namespace: &str) -> BTreeSet<&str> {
        let covers = |policy: &&Policy| match policy.scope {
            Scope::Global => true,
            Scope::Namespace => &*policy.namespace == namespace,
            Scope::WorkloadSelector => false,
        };
        self.policies.iter().filter(covers).map(|policy| &*policy.key).collect()
    }

    fn identities(&self, tunnels_only: bool) -> BTreeSet<Identity> {
        let local = self.workloads.iter().filter(|known| &*known.node == "node-a");
        local
            .filter(|known| !tunnels_only || known.protocol == Protocol::Hbone)
            .map(Workload::identity)
            .collect()
    }
}

const ADDRESSES: [&str; 4] = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "2001:db8::1"];
const CIDRS: [&str; 4] = ["10.0.0.0/24", "10.0.0.0/16", "0.0.0.0/0", "2001:db8::/32"];
const NAMESPACES: [&str; 2] = ["ns", "other"];
const HOSTS: [&str; 2] = ["a", "b"];
const PODS: [&str; 3] = ["x", "y", "z"];

fn any_workload() -> impl Strategy<Value = Workload> {
    let names = (prop::sample::select(&PODS[..]), prop::sample::select(&NAMESPACES[..]));
    let addresses = prop::sample::subsequence(&ADDRESSES[..], 0..=2);
    let serves = prop::sample::subsequence(vec!["ns/a", "ns/b", "other/a", "other/b"], 0..=2);
    (names, addresses, serves, any::<(bool, bool, bool)>()).prop_map(
        |((name, namespace), addresses, serves, flags)| {
            let (is_pod, hbone, here) = flags;
            let mut made = workload(name).in_namespace(namespace);
            made = addresses.into_iter().fold(made, Workload::at);
            made = serves.into_iter().fold(made, |made, service| made.serving(service, [(80, 8080)]));
            made = if hbone { made.hbone() } else { made };
            if !is_pod {
                made.uid = format!("entry/{namespace}/{name}").into();
            }
            made.on_node(if here { "node-a" } else { "node-b" })
        },
    )
}

fn any_service() -> impl Strategy<Value = Service> {
    let names = (prop::sample::select(&HOSTS[..]), prop::sample::select(&NAMESPACES[..]));
    let vips = prop::sample::subsequence(&ADDRESSES[..], 0..=2);
    let cidrs = prop::sample::subsequence(&CIDRS[..], 0..=2);
    (names, vips, cidrs, any::<(bool, bool)>()).prop_map(
        |((host, namespace), vips, cidrs, (canonical, private))| {
            let mut made = service(host).in_namespace(namespace);
            made = vips.into_iter().fold(made, Service::at);
            made = cidrs.into_iter().fold(made, Service::over);
            made = if canonical { made.canonical() } else { made };
            if private { made.private() } else { made }
        },
    )
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let scopes = prop::sample::select(vec![Scope::Global, Scope::Namespace, Scope::WorkloadSelector]);
    let keys = prop::sample::select(vec!["ns/p", "ns/q", "other/p"]);
    (keys, scopes).prop_map(|(key, scope)| policy(key, Action::Allow, vec![]).scoped(scope))
}

fn any_change() -> impl Strategy<Value = Change> {
    let names = vec!["Kubernetes//Pod/ns/x", "Kubernetes//Pod/ns/y", "entry/ns/x", "ns/a", "ns/b", "other/a"];
    prop_oneof![
        4 => any_workload().prop_map(Change::from),
        4 => any_service().prop_map(Change::from),
        1 => any_policy().prop_map(Change::from),
        3 => prop::sample::select(names).prop_map(|name| Change::RemoveAddress(name.into())),
        1 => prop::sample::select(vec!["ns/p", "ns/q"]).prop_map(|key| Change::RemovePolicy(key.into())),
    ]
}

#[track_caller]
fn same(world: &World, model: &Model) {
    for address in ADDRESSES.map(|address| address.parse::<IpAddr>().unwrap()) {
        let found = world.workload_at("", address).map(Arc::as_ref);
        assert_eq!(found, model.workload_at(address), "the workload at {address}");
        for client in NAMESPACES {
            let found = world.service_at("", address, Some(client)).map(Arc::as_ref);
            assert_eq!(found, model.service_at(address, client), "the service at {address} for {client}");
        }
    }
    for (namespace, host) in NAMESPACES.into_iter().flat_map(|namespace| HOSTS.map(|host| (namespace, host)))
    {
        let key = NamespacedHostname { namespace: namespace.into(), hostname: host.into() };
        let known = model.services.iter().find(|known| known.key == key);
        assert_eq!(world.service(&key).map(Arc::as_ref), known);
        let endpoints: BTreeSet<_> = world.endpoints(&key).map(|endpoint| &*endpoint.workload.uid).collect();
        assert_eq!(endpoints, model.endpoints(&key), "endpoints of {key}");
        for endpoint in world.endpoints(&key) {
            assert_eq!(world.endpoint(&key, &endpoint.workload.uid), Some(endpoint));
            assert_eq!(
                model.workloads.iter().find(|known| known.uid == endpoint.workload.uid),
                Some(&*endpoint.workload)
            );
        }
    }
    for namespace in NAMESPACES {
        let covering: BTreeSet<_> = world.policies_covering(namespace).map(|policy| &*policy.key).collect();
        assert_eq!(covering, model.policies_covering(namespace));
    }
    assert_eq!(world.workloads().len(), model.workloads.len());
    assert_eq!(world.services().len(), model.services.len());
    assert_eq!(world.policies().len(), model.policies.len());
}

proptest! {
    #[test]
    fn batches_leave_what_the_obvious_world_holds(batches in prop::collection::vec(prop::collection::vec(any_change(), 1..6), 1..12)) {
        let mut world = World::new(node());
        let mut model = Model::default();
        let mut certificates = BTreeSet::new();
        for batch in batches {
            let before = model.clone();
            let view = world.clone();
            for change in batch.clone() {
                model.apply(change);
            }
            let effects = world.apply(batch, Moment::default());
            same(&world, &model);
            same(&view, &before);

            certificates.extend(effects.wanted);
            for identity in &effects.forgotten {
                certificates.remove(identity);
            }
            prop_assert!(certificates.is_superset(&model.identities(true)), "a local tunnel without a certificate");
            prop_assert!(certificates.is_subset(&model.identities(false)), "a certificate that nobody has");
        }
    }
}
