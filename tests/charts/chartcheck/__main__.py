"""The entry: `python3 -m chartcheck check|readme|selftest [--charts FOLDER]`."""

import argparse
import sys
import time
from pathlib import Path

from . import concerns, engine, facts, metadata, readme, selftest
from .subject import Subject

CHARTS = ("ztunnel", "cni", "adit")
CONCERNS = {
    "helm lint": concerns.lint,
    "Chart.yaml": metadata.check,
    "values documented": readme.check,
    "answers to values": concerns.answers,
    "drop-in facts": concerns.drop_in,
    "names kept": concerns.kept_names,
    "Kubernetes schemas": concerns.kubernetes,
    "objects fit": concerns.whole,
    "same bytes again": concerns.same_again,
}


def main():
    """Reads the command line, and answers it."""
    parser = argparse.ArgumentParser(prog="chartcheck", description=__doc__)
    parser.add_argument("what", choices=("check", "readme", "selftest"))
    parser.add_argument("--charts", type=Path, default=Path("charts"))
    given = parser.parse_args()
    if given.what == "readme":
        for name in CHARTS:
            if readme.write(given.charts / name):
                print(f"wrote {given.charts / name}/README.md")
        return 0
    if given.what == "selftest":
        return selftest.run(given.charts, examine)
    started = time.monotonic()
    findings = examine(given.charts, tell=print)
    if findings:
        print(f"\n{len(findings)} findings in the charts:", file=sys.stderr)
        for finding in findings:
            print(f"  {finding}", file=sys.stderr)
        return 1
    print(f"the charts hold, by Helm {engine.release()}, in {time.monotonic() - started:.0f} s")
    return 0


def examine(folder, names=CHARTS, only=tuple(CONCERNS), tell=lambda _: None):
    """Every finding in the charts of a folder."""
    found = []
    for name in names:
        try:
            subject = Subject(folder / name)
        except (engine.Refused, facts.BadFacts, OSError) as error:
            found.append(f"{folder / name}: {error}")
            continue
        for concern in only:
            outcome = CONCERNS[concern](subject)
            tell(f"  {name:8} {concern:18} {outcome.looked_at:34} {f'{len(outcome.findings)} findings' if outcome.findings else 'ok'}")
            found += [f"{folder / name}: {concern}: {told}" for told in outcome.findings]
    return found


if __name__ == "__main__":
    sys.exit(main())
