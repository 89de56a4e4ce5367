"""Whether the check would notice: each mutation of a copy of the charts must be found, in words that name the spot."""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from . import documents, facts
from .examine import examine, side_by_side

# Where a mutation shows, unless it names other cases.
CASES = ("default", "tutorial")


def run(charts):
    """Makes every mutation of the table and examines the chart it is in; says which went unseen."""
    table = documents.read_file(facts.FACTS.parent / "mutations.yaml")
    unseen = [told for all_of_one in side_by_side(_unseen, [(charts, mutation) for mutation in table]) for told in all_of_one]
    if unseen:
        print(f"{len(unseen)} of {len(table)} mutations of the charts went unseen:", file=sys.stderr)
        for told in unseen:
            print(f"  {told}", file=sys.stderr)
        return 1
    print(f"the check notices each of {len(table)} mutations of the charts")
    return 0


def _unseen(one):
    charts, mutation = one
    with tempfile.TemporaryDirectory(prefix="chartcheck-") as folder:
        copy = Path(folder) / "charts"
        shutil.copytree(charts, copy, symlinks=True)
        shutil.copy(charts / ".." / "Cargo.toml", folder)
        return [f"{mutation['what']}: {told}" for told in _try(mutation, copy)]


def _try(mutation, charts):
    file = charts / mutation["file"]
    before = file.read_text(encoding="utf-8")
    after, times = re.subn(mutation["replace"], mutation.get("by", ""), before, flags=re.MULTILINE)
    if not times or after == before:
        yield f"{mutation['file']} has no {mutation['replace']!r}: the mutation is out of date"
        return
    file.write_text(after, encoding="utf-8")
    # A chart that is in another is examined by itself.
    chart = charts / Path(mutation["file"]).parts[0]
    _, findings = examine(chart, [mutation["concern"]], mutation.get("cases", CASES))
    if not findings:
        yield f"{mutation['concern']} found nothing"
    for word in mutation["says"]:
        if findings and not any(word in finding for finding in findings):
            yield f"no finding says {word!r}, but: {findings[0]}"
