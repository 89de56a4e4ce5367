"""One chart under examination: read once, rendered once for each case."""

from dataclasses import dataclass, field

from . import facts
from .engine import Chart, Refused


@dataclass
class Outcome:
    """What one concern looked at, and what it does not like."""

    looked_at: str
    findings: list = field(default_factory=list)


class Subject:
    """A chart, its cases, and what it renders for them."""

    def __init__(self, folder, cases=None):
        self.chart = Chart(folder)
        self.name, self.folder = self.chart.name, self.chart.folder
        known = [*facts.cases(self.name, self.chart.version), *facts.trials(self.folder)]
        self.cases = [case for case in known if cases is None or case.name in cases]
        self._rendered = {}

    def render(self, case):
        """What the chart renders for a case; raises Refused."""
        if case.name not in self._rendered:
            with self.chart.on(case.server) as chart:
                self._rendered[case.name] = chart.render(case.values, case.release, case.namespace)
        return self._rendered[case.name]

    def each(self, look):
        """Findings of `look(case, rendered)` over all cases; a case that does not render is left to the facts."""
        findings = []
        for case in self.cases:
            try:
                rendered = self.render(case)
                findings += [f"case {case.name}: {told}" for told in look(case, rendered)]
            except (Refused, ValueError):
                continue
        return findings
