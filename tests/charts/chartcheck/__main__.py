"""The entry: `python3 -m chartcheck check|readme|selftest [--charts FOLDER]`."""

import argparse
import sys
import time
from pathlib import Path

from . import engine, examine, readme, selftest


def main():
    """Reads the command line, and answers it."""
    parser = argparse.ArgumentParser(prog="chartcheck", description=__doc__)
    parser.add_argument("what", choices=("check", "readme", "selftest"))
    parser.add_argument("--charts", type=Path, default=Path("charts"))
    given = parser.parse_args()
    if given.what == "readme":
        for name in examine.CHARTS:
            if readme.write(given.charts / name):
                print(f"wrote {given.charts / name}/README.md")
        return 0
    if given.what == "selftest":
        return selftest.run(given.charts)
    return _check(given.charts)


def _check(charts):
    started = time.monotonic()
    findings = []
    for table, found in examine.every(charts):
        print("\n".join(table), flush=True)
        findings += found
    if findings:
        print(f"\n{len(findings)} findings in the charts:", file=sys.stderr)
        for finding in findings:
            print(f"  {finding}", file=sys.stderr)
        return 1
    print(f"the charts hold, by Helm {engine.release()}, in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
