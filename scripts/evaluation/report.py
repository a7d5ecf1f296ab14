"""docs/results.md: the text is a template, and every number in it is put in from the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from evaluation import measures
from evaluation.measures import Measure
from evaluation.sample import Sample, Samples
from evaluation.summary import table

TEMPLATE = Path(__file__).with_name("results.md.jinja")
_MEASURES: dict[str, Measure] = {
    name.lower(): value for name, value in vars(measures).items() if isinstance(value, Measure)
}
COMPARED = [
    name for measure in measures.COMPARED for name, other in _MEASURES.items() if other is measure
]


class NotMeasuredError(Exception):
    """The page speaks of a row that has not all of its clips."""


def report(samples: Samples, held_out: Samples, circumstances: str) -> str:
    """The page in Markdown.

    Args:
        samples: of the main evaluation.
        held_out: of the prompts that no training saw.
        circumstances: the command, the device and the versions.

    Raises:
        NotMeasuredError: the text speaks of a row that is not there.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        said=Words(samples), held_out=Words(held_out), circumstances=circumstances
    )


@dataclass(frozen=True)
class Words:
    """What the template says numbers with, such as `said.number("steady", "flicker")`."""

    samples: Samples

    @property
    def prompts(self) -> int:
        """How many."""
        return self.samples.bootstrap.drawn.shape[1]

    @property
    def clips(self) -> int:
        """How many of each row."""
        return next(iter(self.samples.rows.values())).clips

    def number(self, row: str, measure: str) -> str:
        """`0.209 (0.203 to 0.215)`."""
        chosen = _MEASURES[measure]
        return chosen.of(self._row(row), self.samples.bootstrap).text(chosen.digits)

    def difference(self, row: str, other: str, measure: str) -> str:
        """The first minus the second, bold where they are different."""
        chosen = _MEASURES[measure]
        found = chosen.difference(self._row(row), self._row(other), self.samples.bootstrap)
        return found.marked(chosen.digits)

    def compared(self, row: str, other: str) -> str:
        """All differences of the comparisons' tables, as cells."""
        return " | ".join(self.difference(row, other, name) for name in COMPARED)

    def ratio(self, row: str, other: str, measure: str) -> str:
        """The first over the second."""
        found = _MEASURES[measure].ratio(self._row(row), self._row(other), self.samples.bootstrap)
        return found.text(2)

    def operations(self, row: str, other: str) -> str:
        """The first's as a share of the second's: `45 %`."""
        share = self._row(row).operations / self._row(other).operations
        return f"{100 * share:.0f} %"

    def refining(self, row: str) -> str:
        """Passes of the spatial and the temporal expert."""
        sample = self._row(row)
        return f"{sample.mean('passes_spatial') + sample.mean('passes_temporal'):g}"

    def rows(self, names: Sequence[str], shown: Sequence[str]) -> str:
        """A table of rows: passes, operations and the named measures."""
        header = ("row", "passes", "operations, G", *(_MEASURES[name].title for name in shown))
        lines = []
        for name in names:
            sample = self._row(name)
            costs = (sample.by_role("passes"), f"{sample.operations / 1e9:.0f}")
            lines.append([f"`{name}`", *costs, *(self.number(name, each) for each in shown)])
        return table(header, lines).rstrip("\n")

    def _row(self, name: str) -> Sample:
        if name not in self.samples.rows:
            raise NotMeasuredError(f"not all clips of {name} have been measured")
        return self.samples.rows[name]
