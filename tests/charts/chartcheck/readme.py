"""The README's table of values, written from the comments of values.yaml: `# -- what it does` above each key."""

import re
from pathlib import Path

from . import documents
from .documents import yaml
from .subject import Outcome

BEGIN = "<!-- values: written by `make gen` from the comments of values.yaml -->"
END = "<!-- end of values -->"
# Istio's charts keep their defaults under this key; people set them without it.
INNER = "_internal_defaults_do_not_set"

_COMMENT = re.compile(r"^\s*#\s?(?P<text>.*)$")


class Entry:
    """One documented value; `# @default -- words` says what an empty one means."""

    def __init__(self, path, comment, default):
        text, _, words = comment.partition(" @default -- ")
        self.path, self.text, self.value = path, text, default
        self.default = words or f"`{documents.write(default)}`"

    def row(self):
        """Its line of the table."""
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{self.path}`", self.default, self.text)) + " |"


def check(subject):
    """Values without a comment, and a README that says something else than values.yaml."""
    entries, findings = read(subject.folder)
    findings = list(findings)
    readme = subject.folder / "README.md"
    if not readme.exists():
        findings.append("there is no README.md")
        return Outcome(f"{len(entries)} values", findings)
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        findings.append(f"README.md has no place for the table: the lines {BEGIN} and {END}")
    elif written(text, entries) != text:
        findings.append("README.md is stale: run `make gen`, which writes its table of values")
    return Outcome(f"{len(entries)} values", findings)


def write(folder):
    """Writes the table; says whether anything changed."""
    entries, _ = read(folder)
    readme = Path(folder) / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = written(before, entries)
    if after != before:
        readme.write_text(after, encoding="utf-8")
    return after != before


def written(text, entries):
    """The README's text with the table in its place."""
    if BEGIN not in text or END not in text:
        return text
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    table = "\n".join(["| value | default | what it does |", "|---|---|---|", *(entry.row() for entry in entries)])
    return f"{head}{BEGIN}\n\n{table}\n\n{END}{tail}"


def read(folder):
    """The documented values of a chart in the order of values.yaml, and what is wrong with its comments."""
    text = (Path(folder) / "values.yaml").read_text(encoding="utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    entries, findings = [], []
    if root is not None:
        _walk(root, text.splitlines(), "", entries, findings)
    return entries, findings


def _walk(node, lines, prefix, entries, findings):
    for key_node, value_node in node.value:
        path = f"{prefix}{key_node.value}"
        if not prefix and key_node.value == INNER:
            _walk(value_node, lines, "", entries, findings)
            continue
        text = _comment(lines, key_node.start_mark.line)
        inner = isinstance(value_node, yaml.MappingNode) and value_node.value
        if inner and _any_documented(value_node, lines):
            if text:
                entries.append(Entry(path, f"{text} @default -- the next lines", {}))
            _walk(value_node, lines, f"{path}.", entries, findings)
        elif text:
            entries.append(Entry(path, text, yaml.SafeLoader("").construct_document(value_node)))
        else:
            findings.append(f"values.yaml, line {key_node.start_mark.line + 1}: `{path}` is not documented: a line `# -- what it does` above it")


def _any_documented(node, lines):
    for key_node, value_node in node.value:
        if _comment(lines, key_node.start_mark.line):
            return True
        if isinstance(value_node, yaml.MappingNode) and _any_documented(value_node, lines):
            return True
    return False


def _comment(lines, line):
    """The text of the comment that stands right above a line, if it is a documenting one."""
    told = []
    for above in reversed(lines[:line]):
        found = _COMMENT.match(above)
        if not found:
            return ""
        text = found["text"]
        if text.startswith("-- "):
            return " ".join([text[3:].strip(), *reversed(told)]).strip()
        told.append(text.strip())
    return ""
