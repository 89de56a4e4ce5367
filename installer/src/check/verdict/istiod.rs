//! The control plane: there, ready, of a version that works, and with ambient switched on.

use super::control_plane::{Istiod, is_true, istiods};
use super::version::Version;
use crate::check::catalog::{Area, Check, When};
use crate::check::facts::{Facts, known, label_of};
use crate::check::finding::{Judged, Problem, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "istiod-present",
        area: Area::Istiod,
        title: "istiod is installed and ready",
        when: When::Always,
        about: "Adit takes the place of the node components only: services, policies and certificates come from istiod, which is \
                looked for in the namespace of --istio-namespace. A control plane outside the cluster is not seen from here.",
        hint: "install Istio's charts base and istiod (profile=ambient), or name istiod's namespace with --istio-namespace",
        judge: present,
    },
    Check {
        id: "istiod-version",
        area: Area::Istiod,
        title: "istiod is of a version that Adit works with",
        when: When::Always,
        about: "Ambient mode is stable since istiod 1.24. Adit is tried with 1.29 to 1.31.",
        hint: "upgrade istiod",
        judge: version,
    },
    Check {
        id: "istiod-ambient",
        area: Area::Istiod,
        title: "istiod serves ambient proxies",
        when: When::Always,
        about: "Without PILOT_ENABLE_AMBIENT istiod sends node proxies nothing: no pod reaches another through the mesh.",
        hint: "set profile=ambient, or pilot.env.PILOT_ENABLE_AMBIENT=true, in istiod's values",
        judge: ambient,
    },
    Check {
        id: "istiod-service",
        area: Area::Istiod,
        title: "istiod's Service offers port 15012",
        when: When::Always,
        about: "Proxies ask `istiod[-REVISION].NAMESPACE.svc:15012` for their configuration and certificates.",
        hint: "install istiod's chart anew: it makes the Service",
        judge: service,
    },
    Check {
        id: "istiod-crds",
        area: Area::Istiod,
        title: "Istio's policies are known to the API server",
        when: When::Always,
        about: "AuthorizationPolicy and PeerAuthentication decide who may reach whom; istiod does not start without their definitions.",
        hint: "install Istio's chart base",
        judge: crds,
    },
    Check {
        id: "gateway-api",
        area: Area::Istiod,
        title: "the Gateway API is installed where waypoints are asked for",
        when: When::Always,
        about: "A waypoint is a Gateway. Where a namespace or a service has the label istio.io/use-waypoint and the API server knows \
                no Gateways, layer 7 policies are not applied.",
        hint: "install the standard CRDs of the Gateway API, or take the label istio.io/use-waypoint away",
        judge: gateway_api,
    },
];

fn present(facts: &Facts) -> Judged {
    let found = istiods(facts)?;
    let namespace = &facts.istio_namespace;
    if found.is_empty() {
        return Ok(Verdict::error(
            "",
            format!("namespace {namespace} has no Deployment labelled app=istiod"),
        ));
    }
    let mut verdict = Verdict::fine(told(&found));
    for one in found.iter().filter(|one| one.ready == 0) {
        let hint = format!("see why: kubectl -n {namespace} describe pods -l app=istiod");
        let name = format!("deployment {}", one.name);
        verdict.add(Problem::error(name, "no replica of it is ready").hint(hint));
    }
    Ok(verdict)
}

fn told(found: &[Istiod]) -> String {
    let each = found.iter().map(|one| format!("{} ({} ready)", one.name, one.ready));
    each.collect::<Vec<_>>().join(", ")
}

fn version(facts: &Facts) -> Judged {
    let mut verdict = Verdict::default();
    let mut fine = Vec::new();
    for one in istiods(facts)? {
        let name = format!("deployment {}", one.name);
        match one.version {
            None => verdict.add(
                Problem::warning(
                    name,
                    format!("neither its image nor its labels tell its version: {:?}", one.version_text),
                )
                .hint(format!("Adit needs {OLDEST} or newer: see what `istioctl version` says")),
            ),
            Some(version) if version < OLDEST => verdict.add(Problem::error(
                name,
                format!(
                    "istiod {} is older than {OLDEST}, from which on ambient mode is stable",
                    one.version_text
                ),
            )),
            Some(version) if !(TRIED_FROM..=TRIED_TO).contains(&version) => verdict.add(
                Problem::warning(
                    name,
                    format!(
                        "istiod {} is outside of {TRIED_FROM} to {TRIED_TO}, with which Adit is tried",
                        one.version_text
                    ),
                )
                .hint("try it on a cluster that may fail first"),
            ),
            Some(_) => fine.push(one.version_text),
        }
    }
    verdict.fine = if fine.is_empty() { NONE.to_owned() } else { fine.join(", ") };
    Ok(verdict)
}

fn ambient(facts: &Facts) -> Judged {
    let found = istiods(facts)?;
    let fine = if found.is_empty() { NONE } else { "PILOT_ENABLE_AMBIENT is true" };
    let mut verdict = Verdict::fine(fine);
    for one in found.iter().filter(|one| !is_true(one.var("PILOT_ENABLE_AMBIENT"))) {
        let is = match one.env.get("PILOT_ENABLE_AMBIENT") {
            None => "is not set".to_owned(),
            Some(None) => "comes from elsewhere and is not known".to_owned(),
            Some(Some(value)) => format!("is {value:?}"),
        };
        verdict.add(Problem::error(format!("deployment {}", one.name), format!("PILOT_ENABLE_AMBIENT {is}")));
    }
    Ok(verdict)
}

fn service(facts: &Facts) -> Judged {
    let found = istiods(facts)?;
    let mut verdict = Verdict::fine(if found.is_empty() { NONE } else { "each istiod has one" });
    let services = known(&facts.services)?;
    for one in found {
        let found = services.iter().any(|service| {
            service.metadata.namespace.as_ref() == Some(&facts.istio_namespace)
                && service.metadata.name.as_ref() == Some(&one.name)
                && service
                    .spec
                    .iter()
                    .flat_map(|spec| spec.ports.iter().flatten())
                    .any(|port| port.port == 15012)
        });
        if !found {
            let what = format!("no Service {} in {} with port 15012", one.name, facts.istio_namespace);
            verdict.add(Problem::error(format!("deployment {}", one.name), what));
        }
    }
    Ok(verdict)
}

fn crds(facts: &Facts) -> Judged {
    let known = known(&facts.crds)?;
    let mut verdict = Verdict::fine("AuthorizationPolicy and PeerAuthentication");
    for name in ["authorizationpolicies.security.istio.io", "peerauthentications.security.istio.io"] {
        if !known.contains_key(name) {
            verdict.add(Problem::error(name, format!("there is no CustomResourceDefinition {name}")));
        }
    }
    Ok(verdict)
}

fn gateway_api(facts: &Facts) -> Judged {
    let namespaces = known(&facts.namespaces)?.iter().map(|one| (&one.metadata, "namespace"));
    let services = known(&facts.services)?.iter().map(|one| (&one.metadata, "service"));
    let users: Vec<_> = namespaces
        .chain(services)
        .filter(|(meta, _)| {
            label_of(&meta.labels, "istio.io/use-waypoint").is_some_and(|name| name != "none")
        })
        .collect();
    let Some((first, kind)) = users.first() else { return Ok(Verdict::fine("no waypoint is asked for")) };
    let served = known(&facts.crds)?.get("gateways.gateway.networking.k8s.io");
    if served.is_some_and(|versions| versions.iter().any(|one| one == "v1" || one == "v1beta1")) {
        return Ok(Verdict::fine(format!("{} namespaces and services use waypoints", users.len())));
    }
    let subject = format!("{kind} {}", first.name.as_deref().unwrap_or_default());
    let others = users.len() - 1;
    Ok(Verdict::error(
        subject,
        format!("asks for a waypoint (as {others} others), and the API server knows no Gateways"),
    ))
}

const NONE: &str = "there is no istiod";
const OLDEST: Version = Version(1, 24);
const TRIED_FROM: Version = Version(1, 29);
const TRIED_TO: Version = Version(1, 31);
