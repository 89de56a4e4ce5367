"""Validates objects against the schemas of Kubernetes itself, unknown fields refused."""

import functools
import json
import re
from pathlib import Path

import jsonschema
import kubernetes_validate
import referencing

from . import documents
from .engine import key_of

# The newest Kubernetes that is claimed, and the oldest that may be: what istiod of today still runs on. Where a chart's
# `kubeVersion` allows older ones, those are checked too.
NEWEST, OLDEST = 35, 30

_SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"

# Kinds of custom resources, which Kubernetes itself has no schema of.
FOREIGN = {
    "NetworkAttachmentDefinition": "k8s.cni.cncf.io/v1",
    "SecurityContextConstraints": "security.openshift.io/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
}

_told = {}


def claimed(metadata):
    """The versions of Kubernetes that a chart claims, by its `kubeVersion`."""
    floor = re.fullmatch(r">=\s*1\.(\d+)\.0-0", metadata.get("kubeVersion", ""))
    return [f"1.{minor}" for minor in range(min(int(floor[1]) if floor else OLDEST, OLDEST), NEWEST + 1)]


def foreign(one):
    """Whether an object is of a kind that Kubernetes has no schema of."""
    return FOREIGN.get(one["kind"]) == one["apiVersion"]


def check(one, versions):
    """What the API servers of these versions would refuse in an object."""
    key = json.dumps([one, versions], sort_keys=True)
    if key not in _told:
        _told[key] = list(_check(one, versions))
    return _told[key]


def _check(one, versions):
    if foreign(one):
        return
    for version in versions:
        validator = _validator(version, one["kind"], one["apiVersion"])
        if validator is None:
            yield f"{key_of(one)}: Kubernetes {version} has no {one['apiVersion']} {one['kind']}"
            continue
        for error in validator.iter_errors(one):
            yield f"{key_of(one)} {'.'.join(map(str, error.path))}: Kubernetes {version}: {error.message[:200]}"


@functools.cache
def _validator(version, kind, api_version):
    # The package's name for a schema: `rbac.authorization.k8s.io/v1` ClusterRole is `clusterrole-rbac-v1.json`.
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    file = _SCHEMAS / f"v{version}.0-local-strict" / f"{kind.lower()}-{group}.json"
    if not file.exists():
        return None
    schema = json.loads(file.read_text(encoding="utf-8"))
    registry = referencing.Resource.from_contents(schema) @ _definitions(version)
    return jsonschema.Draft202012Validator(schema, registry=registry)


@functools.cache
def _definitions(version):
    file = _SCHEMAS / f"v{version}.0-local-strict" / "_definitions.json"
    return referencing.Resource.from_contents(json.loads(file.read_text(encoding="utf-8"))) @ referencing.Registry()
