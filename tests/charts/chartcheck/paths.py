"""Names a place in an object: `spec.template.spec.containers[istio-proxy].env[LOG_FORMAT after XDS_ADDRESS]`.

A key with dots of its own stands in quotes: `metadata.labels."app.kubernetes.io/name"`. `[name]` is the element of that name.
"""

import re

_TOKEN = re.compile(r'\.?"(?P<quoted>[^"]+)"|\[(?P<element>[^\]]+)\]|\.?(?P<key>[^."\[\]]+)')

MISSING = object()


class NoSuchPlace(KeyError):
    """A path that leads nowhere in the object it was asked of."""


def parse(path):
    """The steps of a path: a key as text, an element as (name, name of the one before it or None)."""
    steps, position = [], 0
    while position < len(path):
        found = _TOKEN.match(path, position)
        if not found:
            raise NoSuchPlace(f"{path!r} is no path from {path[position:]!r} on")
        position = found.end()
        if found["element"]:
            name, _, before = found["element"].partition(" after ")
            steps.append((name, before or None))
        else:
            steps.append(found["quoted"] or found["key"])
    return steps


def get(one, path):
    """What is there, or MISSING."""
    for step in parse(path):
        if isinstance(step, tuple):
            at = _index(one, step[0]) if isinstance(one, list) else None
            one = MISSING if at is None else one[at]
        else:
            one = one.get(step, MISSING) if isinstance(one, dict) else MISSING
        if one is MISSING:
            return MISSING
    return one


def put(one, path, value):
    """Puts a value there; maps on the way come into being, a new element goes to the end or after the one named."""
    *way, last = parse(path)
    for step, following in zip(way, [*way[1:], last]):
        if isinstance(step, tuple):
            at = _index(one, step[0])
            if at is None:
                raise NoSuchPlace(f"{path}: no element {step[0]!r}")
            one = one[at]
        else:
            one = one.setdefault(step, [] if isinstance(following, tuple) else {})
    if isinstance(last, tuple):
        _put_element(one, path, last, value)
    else:
        one[last] = value


def drop(one, path):
    """Takes what is there away."""
    *way, last = parse(path)
    for step in way:
        at = _index(one, step[0]) if isinstance(step, tuple) else step
        if at is None or (isinstance(one, dict) and at not in one):
            raise NoSuchPlace(f"{path}: nothing at {step!r}")
        one = one[at]
    at = _index(one, last[0]) if isinstance(last, tuple) else last
    if at is None or (isinstance(one, dict) and at not in one):
        raise NoSuchPlace(f"{path}: nothing to take away")
    del one[at]


def _put_element(elements, path, step, value):
    name, before = step
    value = {"name": name, **value}
    at = _index(elements, name)
    if at is not None:
        elements[at] = value
    elif before is None:
        elements.append(value)
    else:
        after = _index(elements, before)
        if after is None:
            raise NoSuchPlace(f"{path}: no element {before!r} to stand after")
        elements.insert(after + 1, value)


def _index(elements, name):
    return next((i for i, e in enumerate(elements) if isinstance(e, dict) and e.get("name") == name), None)


def differences(want, have, path=""):
    """Every place where two values are not the same, as (path, wanted or MISSING, had or MISSING)."""
    if isinstance(want, dict) and isinstance(have, dict):
        for key in [*want, *(k for k in have if k not in want)]:
            yield from differences(want.get(key, MISSING), have.get(key, MISSING), _below(path, key))
    elif _named(want) and _named(have):
        names = [[e["name"] for e in elements] for elements in (want, have)]
        for name in [*names[0], *(n for n in names[1] if n not in names[0])]:
            pair = [next((e for e in elements if e["name"] == name), MISSING) for elements in (want, have)]
            yield from differences(*pair, f"{path}[{name}]")
        if sorted(names[0]) == sorted(names[1]) and names[0] != names[1]:
            yield f"{path} (order)", names[0], names[1]
    elif type(want) is not type(have) or want != have:
        yield path, want, have


def _below(path, key):
    key = f'"{key}"' if "." in key else key
    return f"{path}.{key}" if path else key


def _named(value):
    return isinstance(value, list) and value and all(isinstance(e, dict) and "name" in e for e in value) and len(
        {e["name"] for e in value}
    ) == len(value)
