"""The real Helm engine: loads a chart, lints it, renders it."""

import contextlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import helm_python as helm

from . import documents


_SERVER = re.compile(r"[$.\w]*\.Capabilities\.KubeVersion\.(?:Git)?Version")


class Refused(Exception):
    """Helm did not render: the chart or its schema refused the values."""


@dataclass(frozen=True)
class Rendered:
    """What one chart says for one set of values."""

    files: dict = field(repr=False)
    notes: str = field(repr=False)

    def objects(self):
        """Every object with the template it came from, in the order of the templates."""
        found = []
        for name, text in sorted(self.files.items()):
            try:
                parsed = documents.read_all(text)
            except documents.yaml.YAMLError as error:
                raise ValueError(f"{name}: {error}") from error
            except documents.DuplicateKey as error:
                raise ValueError(f"{name}: {error}") from error
            for one in parsed:
                if not isinstance(one, dict) or "kind" not in one or "metadata" not in one:
                    raise ValueError(f"{name}: a document that is no Kubernetes object: {documents.write(one)[:120]}")
                found.append((name, one))
        return found

    def by_key(self):
        """Objects of the release by `Kind/name`; the pods of `helm test` are none of them."""
        found = {}
        for name, one in self.objects():
            if one["metadata"].get("annotations", {}).get("helm.sh/hook") == "test":
                continue
            key = key_of(one)
            if key in found:
                raise ValueError(f"{name}: {key} is rendered twice")
            found[key] = one
        return found


class Chart:
    """A chart on disk, as Helm has read it."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.name = self.folder.name
        try:
            with _quiet():
                self._chart = helm.Chart.load(self.folder)
        except helm.HelmError as error:
            raise Refused(f"does not load: {error}") from error

    @property
    def metadata(self):
        """`Chart.yaml`."""
        return self._chart.metadata

    @property
    def version(self):
        """The chart's version."""
        return self._chart.version

    @property
    def schema(self):
        """`values.schema.json`, or nothing."""
        return self._chart.schema

    @contextlib.contextmanager
    def on(self, server):
        """The chart as a server of this version has it; the engine's own rendering knows no server to ask."""
        if not server:
            yield self
            return
        with tempfile.TemporaryDirectory(prefix="chartcheck-") as folder:
            copy = Path(folder) / self.name
            shutil.copytree(self.folder, copy)
            for file in copy.glob("templates/*"):
                if file.is_file():
                    text = file.read_text(encoding="utf-8")
                    file.write_text(_SERVER.sub(f'"{server}"', text), encoding="utf-8")
            yield Chart(copy)

    def render(self, values, release, namespace, upgrade=False):
        """Renders what `helm install` or `helm upgrade` would send."""
        try:
            with _quiet():
                self._chart.validate_schema(values)
                files = self._chart.render(
                    values, name=release, namespace=namespace, is_install=not upgrade, is_upgrade=upgrade
                )
        except helm.HelmError as error:
            raise Refused(str(error)) from error
        notes = files.get(f"{self.name}/templates/NOTES.txt", "")  # those of charts within are not shown
        return Rendered({name: text for name, text in files.items() if name.endswith((".yaml", ".yml"))}, notes)

    def lint(self, values, namespace):
        """What `helm lint --strict` tells, as (severity, path, text)."""
        with _quiet():
            report = helm.lint(self.folder, values, strict=True, namespace=namespace, with_subcharts=True)
        told = [(one["severity"], one["path"], one["error"]) for one in report["messages"]]
        return told, report["errors"]


@contextlib.contextmanager
def _quiet():
    """Keeps from the terminal what Helm has to say of symbolic links, which it follows, and of values of a wrong type."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def key_of(one):
    """How findings and facts name an object."""
    return f"{one['kind']}/{one['metadata'].get('name', '?')}"


def release():
    """The version of Helm that renders."""
    return helm.helm_sdk_version()
