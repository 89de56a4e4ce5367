"""Whether the check would notice: each mutation of a copy of the charts must be found, in words that name the spot."""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from . import documents, facts


def run(charts, examine):
    """Makes every mutation of the table and examines the chart it is in; says which went unseen."""
    table = documents.read_file(facts.FACTS.parent / "mutations.yaml")
    unseen = []
    for mutation in table:
        with tempfile.TemporaryDirectory(prefix="chartcheck-") as folder:
            copy = Path(folder) / "charts"
            shutil.copytree(charts, copy, symlinks=True)
            shutil.copy(charts / ".." / "Cargo.toml", folder)
            unseen += [f"{mutation['what']}: {told}" for told in _try(mutation, copy, examine)]
    if unseen:
        print(f"{len(unseen)} of {len(table)} mutations of the charts went unseen:", file=sys.stderr)
        for told in unseen:
            print(f"  {told}", file=sys.stderr)
        return 1
    print(f"the check notices each of {len(table)} mutations of the charts")
    return 0


def _try(mutation, charts, examine):
    file = charts / mutation["file"]
    before = file.read_text(encoding="utf-8")
    after, times = re.subn(mutation["replace"], mutation.get("by", ""), before, flags=re.MULTILINE)
    if not times or after == before:
        yield f"{mutation['file']} has no {mutation['replace']!r}: the mutation is out of date"
        return
    file.write_text(after, encoding="utf-8")
    # A chart that is in another is examined by itself.
    findings = examine(charts, names=[Path(mutation["file"]).parts[0]], only=[mutation["concern"]])
    if not findings:
        yield f"{mutation['concern']} found nothing"
    for word in mutation["says"]:
        if findings and not any(word in finding for finding in findings):
            yield f"no finding says {word!r}, but: {findings[0]}"
