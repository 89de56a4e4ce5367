"""What no schema sees: whether the objects of a release fit each other, and nothing is named twice."""

import re

from .engine import key_of

# What istiod, the user or OpenShift brings; everything else that is referred to must be rendered.
BROUGHT = {"ConfigMap/istio-ca-crl", "ClusterRole/system:openshift:scc:privileged"}
# The volume of istiod's root certificate, whose ConfigMap istiod writes under the name that it is given.
ROOTS = "istiod-ca-cert"
# Cases that render a part of a release on purpose.
PARTS = ("scope",)

_LABEL = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.:]*[a-z0-9])?$")


def check(rendered, case):
    """Everything that does not fit."""
    try:
        objects = rendered.by_key()
    except ValueError as error:
        yield str(error)
        return
    known = set(objects) | BROUGHT
    for one in objects.values():
        yield from (f"{key_of(one)}: {told}" for told in _metadata(one["metadata"]))
        if one["kind"] in ("DaemonSet", "Deployment"):
            yield from (f"{key_of(one)}: {told}" for told in _workload(one["spec"]))
        if not case.name.startswith(PARTS):
            yield from (f"{key_of(one)} refers to {wanted}, which is not there" for wanted in _refers(one) if wanted not in known)


def _metadata(metadata):
    if not _NAME.match(metadata.get("name", "")):
        yield f"{metadata.get('name')!r} is no name"
    for key, value in metadata.get("labels", {}).items():
        if not isinstance(value, str) or not _LABEL.match(value):
            yield f"the label {key} cannot be {value!r}"
    for key, value in metadata.get("annotations", {}).items():
        if not isinstance(value, str):
            yield f"the annotation {key} is no text: {value!r}"


def _workload(spec):
    template, selector = spec["template"], spec["selector"]["matchLabels"]
    yield from _metadata({"name": "pod", **template["metadata"]})
    missing = {k: v for k, v in selector.items() if template["metadata"]["labels"].get(k) != v}
    if missing:
        yield f"its selector wants {missing}, which its pods do not have"
    pod = template["spec"]
    volumes = [volume["name"] for volume in pod.get("volumes", [])]
    yield from _twice("volume", volumes)
    mounted = set()
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        mounts = container.get("volumeMounts", [])
        mounted |= {mount["name"] for mount in mounts}
        yield from (f"mounts {m['name']}, which is no volume" for m in mounts if m["name"] not in volumes)
        yield from _twice("mount path", [mount["mountPath"] for mount in mounts])
        yield from _twice("variable", [variable["name"] for variable in container.get("env", [])])
        yield from _twice("port", [port["name"] for port in container.get("ports", [])])
        for variable in container.get("env", []):
            if "value" in variable and not isinstance(variable["value"], str):
                yield f"the variable {variable['name']} is no text: {variable['value']!r}"
    yield from (f"the volume {name} is mounted nowhere" for name in volumes if name not in mounted)


def _twice(what, names):
    yield from (f"the {what} {name} is there twice" for name in sorted({n for n in names if names.count(n) > 1}))


def _refers(one):
    kind = one["kind"]
    if kind in ("ClusterRoleBinding", "RoleBinding"):
        yield f"{one['roleRef']['kind']}/{one['roleRef']['name']}"
        yield from (f"{subject['kind']}/{subject['name']}" for subject in one["subjects"])
    if kind in ("DaemonSet", "Deployment"):
        pod = one["spec"]["template"]["spec"]
        yield f"ServiceAccount/{pod['serviceAccountName']}"
        for container in pod["containers"]:
            yield from (f"ConfigMap/{e['configMapRef']['name']}" for e in container.get("envFrom", []) if "configMapRef" in e)
        volumes = [v for v in pod.get("volumes", []) if "configMap" in v and v["name"] != ROOTS]
        yield from (f"ConfigMap/{volume['configMap']['name']}" for volume in volumes)
