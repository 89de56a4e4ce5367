"""Names that other programs look for, asserted in whatever a chart renders."""

from . import documents, facts, paths


def check(subject):
    """How many names were asserted, and which are lost: the facts' table of names against every case."""
    table = [row for row in documents.read_file(facts.FACTS / "names.yaml") if subject.name in row["charts"]]
    findings = subject.each(lambda case, rendered: _lost(table, case, rendered))
    return len(table), findings


def _lost(table, case, rendered):
    objects = rendered.by_key()
    for row in table:
        if case.name in row.get("not_in", []):
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
