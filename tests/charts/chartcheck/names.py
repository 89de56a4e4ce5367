"""Names that other programs look for, asserted in whatever a chart renders."""

import re

from . import documents, facts, paths

ROOT = facts.FACTS.parents[2]


def check(subject):
    """How many names were asserted, and which are lost: the facts' table of names against every case."""
    table = [row for row in documents.read_file(facts.FACTS / "names.yaml") if subject.name in row["charts"]]
    findings = subject.each(lambda case, rendered: _lost(table, case, rendered))
    return len(table), findings


def elsewhere():
    """How many names our other tests hold, and which of these tests are gone."""
    table = documents.read_file(facts.FACTS / "elsewhere.yaml")
    gone = [
        f"the name {row['name']}, which {row['who']} needs, was held by {test} of {file}: there is no such test"
        for row in table
        for file, tests in row["held_by"].items()
        for test in tests
        if not (ROOT / file).exists() or not re.search(rf"\bfn {test}\(", (ROOT / file).read_text(encoding="utf-8"))
    ]
    return len(table), gone


def _lost(table, case, rendered):
    objects = rendered.by_key()
    for row in table:
        if case.name in row.get("not_in", []) or case.expected is None:
            continue
        told = f"the name is lost that {row['who']} needs: {row['name']}"
        one = objects.get(row["object"])
        if one is None:
            yield f"{told}: there is no {row['object']}"
            continue
        for path, want in row.get("is", {}).items():
            have = paths.get(one, path)
            if isinstance(want, dict) and isinstance(have, dict):
                have = {key: value for key, value in have.items() if key in want}
            if have != want:
                shown = "missing" if have is paths.MISSING else documents.write(have)
                yield f"{told}: {row['object']} {path} is {shown}, not {documents.write(want)}"
        for path, want in row.get("holds", {}).items():
            have = paths.get(one, path)
            lacks = [value for value in want if have is paths.MISSING or value not in have]
            if lacks:
                yield f"{told}: {row['object']} {path} lacks {documents.write(lacks)}"
        for path in row.get("has_no", []):
            if paths.get(one, path) not in (paths.MISSING, None, []):
                yield f"{told}: {row['object']} has {path}"
        for path, many in row.get("counts", {}).items():
            have = paths.get(one, path)
            if have is paths.MISSING or len(have) != many:
                yield f"{told}: {row['object']} has {0 if have is paths.MISSING else len(have)} {path}, not {many}"
