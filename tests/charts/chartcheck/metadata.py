"""Rules for Chart.yaml: what Helm asks, what Artifact Hub shows, and that versions are the workspace's."""

import re
import tomllib

from . import documents, schemas
from .subject import Outcome

# What a chart that people find on Artifact Hub tells of itself.
WANTED = ("artifacthub.io/category", "artifacthub.io/license", "artifacthub.io/images", "artifacthub.io/links", "artifacthub.io/changes")


def check(subject):
    """Everything in Chart.yaml that is missing or wrong."""
    told = documents.read_file(subject.folder / "Chart.yaml")
    return Outcome(f"{len(told)} fields", list(_wrong(subject, told)))


def _wrong(subject, told):
    for field in ("apiVersion", "name", "version", "appVersion", "description", "type", "kubeVersion", "home", "sources", "keywords", "maintainers"):
        if not told.get(field):
            yield f"Chart.yaml has no {field}"
    if told.get("apiVersion") != "v2":
        yield "Chart.yaml: apiVersion is not v2"
    if told.get("name") != subject.name:
        yield f"Chart.yaml: the name is {told.get('name')}, the folder's is {subject.name}"
    version = workspace_version(subject.folder)
    for field in ("version", "appVersion"):
        if told.get(field) != version:
            yield f"Chart.yaml: {field} is {told.get(field)}, the workspace's is {version}"
    floor = re.fullmatch(r">=\s*1\.(\d+)\.0-0", told.get("kubeVersion", ""))
    if not floor or int(floor[1]) > schemas.OLDEST:
        yield f"Chart.yaml: kubeVersion is {told.get('kubeVersion')!r}, not '>=1.N.0-0' with N up to {schemas.OLDEST}"
    annotations = told.get("annotations", {})
    for name in WANTED:
        if name not in annotations:
            yield f"Chart.yaml has no annotation {name}"
    for name in ("images", "links", "changes"):
        text = annotations.get(f"artifacthub.io/{name}", "[]")
        if not isinstance(text, str) or not isinstance(documents.read_all(text)[0], list):
            yield f"Chart.yaml: the annotation artifacthub.io/{name} is no YAML list in a text"
    for dependency in told.get("dependencies", []):
        if dependency.get("version") != version:
            yield f"Chart.yaml: the dependency {dependency.get('name')} is {dependency.get('version')}, not {version}"


def workspace_version(folder):
    """The version that all crates and charts have."""
    root = next(parent for parent in folder.resolve().parents if (parent / "Cargo.toml").exists())
    return tomllib.loads((root / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]["version"]
