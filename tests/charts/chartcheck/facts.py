"""The drop-in facts: what the objects are that a stock installation has, and in which points ours differ on purpose."""

import copy
from dataclasses import dataclass, field
from pathlib import Path

from . import documents, paths

FACTS = Path(__file__).resolve().parent.parent / "facts"
VALUES = FACTS.parent / "values"


# The one setting of the agent that is YAML in a text.
SELECTOR = "AMBIENT_ENABLEMENT_SELECTOR"
# Files for chart-testing may set what only newer Kubernetes has.
TRIALS_SINCE = 30
# Stands in the facts for whatever is there.
ANY = "*"


class BadFacts(ValueError):
    """The tables themselves are wrong."""


@dataclass(frozen=True)
class Case:
    """One set of values, and the objects it must render."""

    chart: str
    name: str
    release: str
    namespace: str
    values: dict = field(repr=False)
    # Kubernetes 1.N, of which these values are said to need at least that N.
    since: int
    # The version that the API server says it is, where the chart asks.
    server: str
    # Objects by `Kind/name`; none where the facts say nothing of these values.
    expected: dict | None = field(repr=False)

    def __str__(self):
        return f"{self.chart}, case {self.name}"


def cases(chart, version):
    """Every case of a chart's table."""
    table = documents.read_file(FACTS / f"{chart}.yaml")
    deviations = documents.read_file(FACTS / "differences.yaml")
    used = set()
    found = [_case(chart, version, one, table, deviations, used) for one in table["cases"]]
    own = {part["of"] for part in table["parts"]}
    for i, deviation in enumerate(deviations):
        if deviation["chart"] in own and chart == deviation["chart"] and i not in used:
            raise BadFacts(f"differences.yaml: {deviation['chart']} {deviation['object']} is no difference in any case")
    return found


def trials(folder):
    """The chart's own files of values for chart-testing: what they make is no fact, but must be valid and whole."""
    return [
        Case(folder.name, f"ci/{file.name}", folder.name, "istio-system", documents.read_file(file), TRIALS_SINCE, "", None)
        for file in sorted(folder.glob("ci/*-values.yaml"))
    ]


def _case(chart, version, one, table, deviations, used):
    values = one.get("values", {})
    if isinstance(values, str):
        values = documents.read_file(VALUES / values)
    release, namespace = one.get("release", chart), one.get("namespace", "istio-system")
    always = table.get("always", {})
    wanted = [*always.get("with", []), *one.get("with", [])]
    expected = {}
    for part in table["parts"]:
        words = {"$RELEASE": release, "$NAMESPACE": namespace, "$VERSION": version, "$CHART": part["of"]}
        base = documents.read_file(FACTS / "objects" / f"{part['of']}.yaml")
        optional = base.get("optional", {})
        objects = _say({**base["objects"], **optional}, words)
        _label(objects, _say(base["labels"], words), _say(base.get("object labels", {}), words))
        _deviate(objects, part["of"], _say(deviations, words), one["case"], used)
        expected.update({key: o for key, o in objects.items() if key not in optional or key in wanted})
    words = {"$RELEASE": release, "$NAMESPACE": namespace, "$VERSION": version, **table.get("short", {})}
    for edit in (always, one):
        _edit(expected, _say(edit, words), f"{chart}, case {one['case']}")
    return Case(chart, one["case"], release, namespace, values, one.get("since", 0), one.get("server", ""), expected)


def _say(value, words):
    """The value with its $WORDS put in."""
    if isinstance(value, dict):
        return {_say(k, words): _say(v, words) for k, v in value.items()}
    if isinstance(value, list):
        return [_say(v, words) for v in value]
    if isinstance(value, str):
        for word, meaning in words.items():
            value = value.replace(word, meaning)
    return value


def _label(objects, labels, of_objects):
    """Labels that every object has, and which of them pods have too."""
    for one in objects.values():
        _labels(one, {**of_objects, **labels})
        if "template" in one.get("spec", {}):
            _labels(one["spec"]["template"], labels)


def _labels(one, labels):
    metadata = one.setdefault("metadata", {})
    metadata["labels"] = {**labels, **metadata.get("labels", {})}


def _deviate(objects, part, deviations, case, used):
    for i, deviation in enumerate(deviations):
        if deviation["chart"] != part or case in deviation.get("not_in", []):
            continue
        if not deviation.get("why"):
            raise BadFacts(f"differences.yaml: {part} {deviation['object']} has no reason (`why`)")
        before = copy.deepcopy(objects)
        key = deviation["object"]
        _edit(objects, {name: {key: deviation[name]} for name in ("add", "set", "remove") if name in deviation},
              f"differences.yaml, {part} {key}")
        if objects != before:
            used.add(i)


def _edit(objects, edit, where):
    """Applies `without`, `rename`, `add`, `set` and `remove` of a case or of a difference."""
    for key in edit.get("without", []):
        if objects.pop(key, None) is None:
            raise BadFacts(f"{where}: there is no {key} to leave out")
    for old, new in edit.get("rename", {}).items():
        for key in [k for k in objects if k.endswith(f"/{old}")]:
            objects[f"{key.removesuffix(old)}{new}"] = one = objects.pop(key)
            one["metadata"]["name"] = new
    for key, one in edit.get("add", {}).items():
        objects[key] = copy.deepcopy(one)
    for key, places in edit.get("remove", {}).items():
        for path in places:
            for name in _matching(objects, key, where):
                _at(where, paths.drop, objects[name], path)
    for key, places in edit.get("set", {}).items():
        for path, value in places.items():
            for name in _matching(objects, key, where):
                _at(where, paths.put, objects[name], path, copy.deepcopy(value))


def _matching(objects, key, where):
    """An object's key, or `*` for all of them."""
    if key == "*":
        return list(objects)
    if key not in objects:
        raise BadFacts(f"{where}: there is no object {key}; there are {', '.join(objects)}")
    return [key]


def _at(where, act, *arguments):
    try:
        act(*arguments)
    except paths.NoSuchPlace as error:
        raise BadFacts(f"{where}: {error.args[0]}") from error


def compare(case, rendered):
    """Every point in which the rendered objects are not the expected ones."""
    have = {key: _as_applied(one) for key, one in rendered.by_key().items()}
    if case.expected is None:
        return
    for key in case.expected:
        if key not in have:
            yield f"{key} is not rendered"
    for key in have:
        if key not in case.expected:
            yield f"{key} is rendered, and the facts know no such object"
    for key, want in case.expected.items():
        if key in have:
            for path, wanted, had in paths.differences(_as_applied(want), have[key]):
                if wanted == ANY and had not in (paths.MISSING, "", []):
                    continue
                yield f"{key} {path}: facts say {_shown(wanted)}, the chart says {_shown(had)}"


def _as_applied(one):
    """An object as it is applied: null is not there, the order within RBAC rules means nothing, YAML in a text is YAML."""
    if isinstance(one, dict):
        one = {key: _as_applied(value) for key, value in one.items() if value is not None}
        if SELECTOR in one:
            one[SELECTOR] = documents.read_all(one[SELECTOR])
        if one.get("kind") in ("ClusterRole", "Role"):
            rules = [{key: sorted(value) for key, value in rule.items()} for rule in one.get("rules", [])]
            one["rules"] = sorted(rules, key=documents.write)
        return one
    return [_as_applied(value) for value in one] if isinstance(one, list) else one


def _shown(value):
    return "nothing" if value is paths.MISSING else documents.write(value)
