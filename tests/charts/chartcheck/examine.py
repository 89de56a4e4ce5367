"""Examines charts: every concern of each, side by side where the machine has the cores."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from . import concerns, engine, facts, metadata, readme, tool, watching
from .subject import Subject

CHARTS = ("ztunnel", "cni", "adit")
CONCERNS = {
    "helm lint": concerns.lint,
    "YAML style": concerns.yaml_style,
    "Chart.yaml": metadata.check,
    "values documented": readme.check,
    "answers to values": concerns.answers,
    "drop-in facts": concerns.drop_in,
    "names kept": concerns.kept_names,
    "Kubernetes schemas": concerns.kubernetes,
    "objects fit": concerns.whole,
    "shared helpers": concerns.shared_helpers,
    "same bytes again": concerns.same_again,
    "adit renders alike": tool.check,
    "dashboard, alerts": watching.check,
}


def side_by_side(work, arguments):
    """`work` of each argument, in their order; in processes of their own, as Helm's engine does not survive a fork."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=context) as pool:
        yield from pool.map(work, arguments)


def every(folder):
    """What each chart of a folder is told: (lines of the table, findings)."""
    yield from side_by_side(examine, [folder / name for name in CHARTS])


def examine(folder, only=tuple(CONCERNS), cases=None):
    """What one chart is told, by all of the concerns or some, for all of its cases or some."""
    try:
        subject = Subject(folder, cases)
    except (engine.Refused, facts.BadFacts, OSError) as error:
        return [], [f"{folder}: {error}"]
    table, findings = [], []
    for concern in only:
        outcome = CONCERNS[concern](subject)
        verdict = f"{len(outcome.findings)} findings" if outcome.findings else "ok"
        table.append(f"  {subject.name:8} {concern:18} {outcome.looked_at:34} {verdict}")
        findings += [f"{folder}: {concern}: {told}" for told in outcome.findings]
    return table, findings
