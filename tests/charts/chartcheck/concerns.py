"""What is asked of every chart, one function a concern; each tells how much it looked at."""

import yamllint.config
import yamllint.linter

from . import coherence, documents, facts, names, readme, schemas
from .engine import Refused
from .subject import Outcome


# Helpers that every chart has a copy of.
SHARED = "_adit.tpl"
# Cases that are linted; all are rendered and held to the facts, which lint would do a second time.
LINTED = ("default", "tutorial", "gke", "openshift", "revision", "network policy")


def lint(subject):
    """`helm lint --strict` has nothing to say but at most a missing icon, with no values and with those that people give."""
    findings = []
    cases = [case for case in subject.cases if case.name in LINTED or case.expected is None]
    for case in cases:
        told, errors = subject.chart.lint(case.values, case.namespace)
        for severity, path, text in told:
            if severity >= 2 or "icon is recommended" not in text:
                findings.append(f"case {case.name}: {path}: {text}")
        findings += [f"case {case.name}: {error}" for error in errors if not told]
    return Outcome(f"{len(cases)} cases", findings)


def yaml_style(subject):
    """Chart.yaml and values.yaml, and the tables that describe the chart, are tidy YAML."""
    tables = facts.FACTS.parent
    files = [subject.folder / "Chart.yaml", subject.folder / "values.yaml", *tables.glob("*.yaml"), *tables.glob("facts/**/*.yaml")]
    config = yamllint.config.YamlLintConfig(file=tables / "yamllint.yaml")
    findings = [
        f"{file.name}, line {problem.line}: {problem.message}"
        for file in files
        for problem in yamllint.linter.run(file.read_text(encoding="utf-8"), config)
    ]
    return Outcome(f"{len(files)} files", findings)


def drop_in(subject):
    """Every object of every case is what the facts say, and no key stands twice in one mapping."""
    findings, objects = [], 0
    for case in subject.cases:
        try:
            rendered = subject.render(case)
            objects += len(rendered.objects())
            findings += [f"case {case.name}: {told}" for told in facts.compare(case, rendered)]
        except (Refused, ValueError) as error:
            findings.append(f"case {case.name}: {error}")
    return Outcome(f"{len(subject.cases)} cases, {objects} objects", findings)


def kept_names(subject):
    """Names that other programs look for are there, whatever the values."""
    asserted, findings = names.check(subject)
    elsewhere, gone = names.elsewhere()
    return Outcome(f"{asserted} in every case, {elsewhere} elsewhere", findings + gone)


def kubernetes(subject):
    """Every object is valid, strictly, for every Kubernetes that is claimed."""
    versions = schemas.claimed(subject.chart.metadata)

    foreign = set()

    def look(case, rendered):
        of_case = [version for version in versions if int(version.partition(".")[2]) >= case.since]
        foreign.update(one["kind"] for _, one in rendered.objects() if schemas.foreign(one))
        return (told for _, one in rendered.objects() for told in schemas.check(one, of_case))

    findings = subject.each(look)
    without = f", not {', '.join(sorted(foreign))}" if foreign else ""
    return Outcome(f"{versions[0]} to {versions[-1]}{without}", findings)


def whole(subject):
    """Objects refer to what is there: selectors, volumes, accounts, roles; nothing is named twice."""
    return Outcome(f"{len(subject.cases)} cases", subject.each(lambda case, rendered: coherence.check(rendered, case)))


def same_again(subject):
    """The same values give the same bytes a second time, and at an upgrade."""
    findings = []
    for case in subject.cases:
        try:
            first = subject.render(case)
            with subject.chart.on(case.server) as chart:
                again = chart.render(case.values, case.release, case.namespace, upgrade=True)
        except Refused:
            continue
        names = sorted({*first.files, *again.files})
        findings += [
            f"case {case.name}: {name} differs when it is rendered again, for an upgrade"
            for name in names
            if first.files.get(name) != again.files.get(name)
        ]
    return Outcome(f"{len(subject.cases)} cases", findings)


def answers(subject):
    """Values that mean nothing are refused in words that name them; values that nobody knows are let through and named."""
    table = documents.read_file(facts.FACTS / "answers.yaml")
    findings, asked = [], 0
    default = subject.cases[0]
    plain = subject.render(default)
    for answer in table:
        if subject.name not in answer["charts"]:
            continue
        asked += 1
        told = documents.write(answer["values"])
        try:
            rendered = subject.chart.render(answer["values"], default.release, default.namespace)
        except Refused as refusal:
            missing = [word for word in answer.get("refused_with", []) if word not in str(refusal)]
            if "refused_with" not in answer:
                findings.append(f"{told}: should be accepted ({answer['why']}), but: {refusal}")
            elif missing:
                findings.append(f"{told}: the refusal does not say {missing[0]!r}: {refusal}")
            continue
        if "refused_with" in answer:
            findings.append(f"{told}: should be refused ({answer['why']}), but renders")
            continue
        if answer.get("changes") == "nothing" and rendered.files != plain.files:
            findings.append(f"{told}: should change nothing that is rendered ({answer['why']})")
        for word in answer.get("notes_say", []):
            if word not in rendered.notes:
                findings.append(f"{told}: NOTES do not say {word!r}")
    typed, untyped = _untyped(subject, default)
    return Outcome(f"{asked} sets, {typed} values of a wrong type", findings + untyped)


def _untyped(subject, default):
    """Values that the schema takes in a shape that they cannot have: each is given a text or a map in turn."""
    entries, _ = readme.read(subject.folder)
    findings = []
    for entry in entries:
        wrong = "text" if isinstance(entry.value, (dict, list)) else {"a": "map"}
        for key in reversed(entry.path.split(".")):
            wrong = {key: wrong}
        try:
            subject.chart.render(wrong, default.release, default.namespace)
            findings.append(f"values.schema.json has no type for {entry.path}: it takes {documents.write(wrong)}")
        except Refused as refusal:
            if "execution error" in str(refusal) or entry.path.rpartition(".")[2] not in str(refusal):
                findings.append(f"values.schema.json has no type for {entry.path}: {refusal}")
    return len(entries), findings


def shared_helpers(subject):
    """Charts that have helpers in common have the same of them: each chart's folder is whole, so a file is there twice."""
    own = subject.folder / "templates" / SHARED
    if not own.exists():
        return Outcome("none", [])
    others = [other for other in sorted(subject.folder.parent.glob(f"*/templates/{SHARED}")) if other != own]
    differ = [other for other in others if other.read_bytes() != own.read_bytes()]
    return Outcome(f"{len(others)} other charts", [f"templates/{SHARED} is not the file that {other.parts[-3]} has" for other in differ])

