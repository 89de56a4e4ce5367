"""The dashboard and the alerts: they ask for metrics that our programs have, and tell a person what to do."""

import json
import re

from . import documents, facts
from .subject import Outcome

ROOT = facts.FACTS.parents[2]
# Where tests hold the lists of families: each has a row there, or the program's own tests fail.
TABLES = ("proxy/app/src/metrics/tests.rs", "cni-plugin/agent/src/metrics/tests.rs")
# A collector of the proxy that names its families itself, as (name, help, kind).
COLLECTORS = ("proxy/app/src/metrics/identities.rs",)
OF_KIND = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}

_ROW = re.compile(r'\("([a-z][a-z0-9_]+)", "(counter|gauge|histogram)"')
_LITERAL = re.compile(r'"((?:adit|istio)_[a-z0-9_]+)"')
# A name that is neither a function's nor a keyword's nor a label's: followed by `{`, or one that has our prefixes.
_METRIC = re.compile(r"\b((?:adit|istio|ztunnel|workload_manager|nodeagent|process|tokio)_[a-z0-9_]+)\b(?!\s*=)")
_LABELS = re.compile(r"\{[^{}]*\}|\b(?:by|on|without)\s*\([^()]*\)|\"[^\"]*\"")


def check(subject):
    """Metrics that nobody has, alerts that help nobody, panels that say nothing; only the chart of both has them."""
    if subject.name != "adit":
        return Outcome("nothing of this kind")
    known = series()
    alerts = _alerts(subject.folder)
    panels = _panels(subject.folder)
    findings = [f"{where}: no program of ours has {name}" for where, expr in [*_exprs(alerts), *_queries(panels)]
                for name in asked(expr) if name not in known]
    findings += [told for alert in alerts for told in _alert(alert)]
    findings += [f"dashboard.json: the panel {panel.get('title')!r} has no description" for panel in panels if not panel.get("description")]
    ids = [panel["id"] for panel in panels]
    findings += [f"dashboard.json: the id {one} is there twice" for one in sorted({i for i in ids if ids.count(i) > 1})]
    findings += _anchors(alerts) + _tested(alerts)
    return Outcome(f"{len(alerts)} alerts, {len(panels)} panels", findings)


def series():
    """Every series that our programs can show, by the tables in their tests and by the collector's own names."""
    known = set()
    for table in TABLES:
        for family, kind in _ROW.findall((ROOT / table).read_text(encoding="utf-8")):
            known |= {family + suffix for suffix in OF_KIND[kind]}
    for collector in COLLECTORS:
        for family in _LITERAL.findall((ROOT / collector).read_text(encoding="utf-8")):
            known |= {family, f"{family}_total"}
    return known


def asked(expression):
    """The series that an expression asks for."""
    return sorted(set(_METRIC.findall(_LABELS.sub("", expression))))


def _alerts(folder):
    groups = documents.read_file(folder / "files" / "rules.yaml")["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _panels(folder):
    board = json.loads((folder / "files" / "dashboard.json").read_text(encoding="utf-8"))
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def _exprs(alerts):
    return [(f"rules.yaml, {alert['alert']}", alert["expr"]) for alert in alerts]


def _queries(panels):
    return [(f"dashboard.json, {panel['title']!r}", target["expr"]) for panel in panels for target in panel["targets"]]


def _alert(alert):
    annotations = alert.get("annotations", {})
    for name in ("summary", "description", "runbook_url"):
        if not annotations.get(name):
            yield f"rules.yaml, {alert['alert']}: no {name}"
    if alert.get("labels", {}).get("severity") not in ("critical", "warning", "info"):
        yield f"rules.yaml, {alert['alert']}: its severity is none of critical, warning and info"
    if not annotations.get("runbook_url", "").endswith(f"docs/alerts.md#{alert['alert'].lower()}"):
        yield f"rules.yaml, {alert['alert']}: its runbook is not its section of docs/alerts.md"


def _anchors(alerts):
    text = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^#+ (Adit\w+)$", text, re.MULTILINE))
    names = {alert["alert"] for alert in alerts}
    return [f"docs/alerts.md has no section {name}" for name in sorted(names - sections)] + [
        f"docs/alerts.md has a section {name}, and there is no such alert" for name in sorted(sections - names)
    ]


def _tested(alerts):
    """`make tools` runs these with promtool; here only that each alert has both: one that fires, one that does not."""
    table = documents.read_file(ROOT / "tests" / "alerts" / "tests.yaml")
    names = {test["name"] for test in table["tests"]}
    wanted = [f"{alert['alert']} {what}" for alert in alerts for what in ("fires", "stays silent")]
    return [f"tests/alerts/tests.yaml has no test {name!r}" for name in wanted if name not in names]
