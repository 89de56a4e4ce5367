#!/usr/bin/env python3
"""Renders the charts by Helm's own engine, as a new installation gets them, into the folder that is given: one file each."""

import sys
from pathlib import Path

from chartcheck import documents, engine

VALUES = {"ztunnel": {}, "cni": {"ambient": {"enabled": True}}}


def main():
    """Writes `<chart>.yaml` for each chart of ours that runs containers."""
    charts, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for name, values in VALUES.items():
        objects = engine.Chart(charts / name).render(values, name, "istio-system").objects()
        text = "".join(f"---\n{documents.write(one)}\n" for _, one in objects)
        (out / f"{name}.yaml").write_text(text, encoding="utf-8")


main()
