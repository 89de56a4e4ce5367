"""Reads rendered YAML: several documents in one text, and no key twice in one mapping."""

import yaml


class DuplicateKey(ValueError):
    """A mapping that says the same key twice; YAML readers disagree on which one counts."""


class _Strict(yaml.CSafeLoader):
    pass


def _mapping(loader, node):
    seen = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise DuplicateKey(f"the key {key!r} a second time in line {key_node.start_mark.line + 1}")
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Strict.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_all(text):
    """The documents of a text, empty ones left out."""
    return [document for document in yaml.load_all(text, Loader=_Strict) if document is not None]


def read_file(path):
    """The one document of a file; an empty file is an empty mapping."""
    with open(path, encoding="utf-8") as file:
        documents = read_all(file.read())
    if len(documents) > 1:
        raise ValueError(f"{path}: one YAML document wanted, {len(documents)} found")
    return documents[0] if documents else {}


def write(value):
    """A value on one line, as a person would compare it."""
    return yaml.dump(value, Dumper=yaml.CSafeDumper, default_flow_style=True, width=10**6, sort_keys=False).strip().removesuffix("\n...")
