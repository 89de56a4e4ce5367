"""Whether `adit`, which has no Helm in it, renders what Helm renders: every object, the notes, and what is refused."""

import json
import os
import re
import subprocess
from pathlib import Path

import helm_python as helm

from . import documents, facts, paths
from .engine import Chart, Refused, key_of
from .facts import Case
from .subject import Outcome

# What Helm's engine takes for the server's version when it has none to ask.
SERVER = "v1.36.0"
# Cases that are also rendered as an upgrade.
UPGRADED = ("default", "tutorial")

_DOCUMENT = re.compile(r"(?m)^---[ \t]*")


def check(subject):
    """Both render each case and each odd value alike; some cases also as an upgrade."""
    tool = Path(os.environ.get("ADIT", "target/debug/adit"))
    if not tool.exists():
        return Outcome("nothing", [f"there is no {tool}: cargo build --package installer"])
    findings, looked_at = [], 0
    for case in [*subject.cases, *_odd(subject)]:
        # Read anew each time: the engine drops a chart that values turn off from the one that it has read.
        with Chart(subject.folder).on(case.server) as chart:
            looked_at += 1
            findings += [f"case {case.name}: {told}" for told in _compare(tool, chart, case, upgrade=False)]
        if case.name in UPGRADED:
            looked_at += 1
            chart = Chart(subject.folder)
            findings += [f"case {case.name}, upgrade: {told}" for told in _compare(tool, chart, case, upgrade=True)]
    return Outcome(f"{looked_at} renderings", findings)


def _odd(subject):
    """Values that the facts say nothing of: those that are answered in words, and those that are hard to read."""
    answered = documents.read_file(facts.FACTS / "answers.yaml")
    hard = documents.read_file(facts.VALUES / "odd.yaml")
    for one in [*answered, *hard]:
        if subject.name in one.get("charts", [subject.name]):
            name = documents.write(one["values"])
            yield Case(subject.name, name, "a-release", "some-namespace", one["values"], 0, "", {})


def _compare(tool, chart, case, upgrade):
    given = json.dumps(case.values)
    command = [tool, "template", chart.name, "-f", "-", "-o", "json", "--name", case.release]
    command += ["-n", case.namespace, "--kube-version", case.server or SERVER, *(["--is-upgrade"] if upgrade else [])]
    ours = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    try:
        theirs = chart.render(case.values, case.release, case.namespace, upgrade)
    except Refused as refused:
        yield from _both_refuse(str(refused), ours)
        return
    if ours.returncode:
        yield f"Helm renders it, adit says: {ours.stderr.strip()}"
        return
    rendered = json.loads(ours.stdout)
    if rendered["notes"] != theirs.notes:
        yield f"the notes are {rendered['notes']!r}, and by Helm {theirs.notes!r}"
    want, have = _by_key(_read(theirs.files)), _by_key(rendered["objects"])
    for path, by_helm, by_us in paths.differences(want, have):
        yield f"{path}: by Helm {_shown(by_helm)}, by adit {_shown(by_us)}"


def _both_refuse(told, ours):
    """What a chart itself says of values, `adit` says too; of a schema both speak in their own words."""
    if ours.returncode != 2:
        yield f"Helm refuses it ({told.strip()}), adit ends with {ours.returncode}: {ours.stderr.strip()[:200]}"
    words = re.match(r"execution error at \([^)]*\): (.*)", told, re.DOTALL)
    if words and words[1].strip() not in ours.stderr:
        yield f"Helm says {words[1].strip()!r}, adit says {ours.stderr.strip()!r}"


def _read(files):
    """Objects as Helm itself reads what it has rendered."""
    for _, text in sorted(files.items()):
        for document in _DOCUMENT.split(text):
            one = helm.values_from_yaml(document)
            if one and "helm.sh/hook" not in one["metadata"].get("annotations", {}):
                yield one


def _by_key(objects):
    return {key_of(one): _whole(one) for one in objects}


def _whole(value):
    """Numbers without a fraction are whole, however they came."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shown(value):
    return "nothing" if value is paths.MISSING else documents.write(value)
