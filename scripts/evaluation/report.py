"""docs/results.md: the text is a template, and every number in it is put in from the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2

from evaluation import measures
from evaluation.measures import Measure
from evaluation.results import ROLES
from evaluation.sample import Sample, Samples
from evaluation.summary import table

TEMPLATE = Path(__file__).with_name("results.md.jinja")
REFINING = ("spatial", "temporal")
_MEASURES: dict[str, Measure] = {
    name.lower(): value for name, value in vars(measures).items() if isinstance(value, Measure)
}
_COMPARED = [name for measure in measures.COMPARED for name, other in _MEASURES.items() if other is measure]


def report(samples: Samples, held_out: Samples, circumstances: str) -> str:
    """The page in Markdown.

    Args:
        samples: of the main evaluation.
        held_out: of the prompts that no training saw.
        circumstances: the command, the device and the versions.

    Raises:
        KeyError: a row that the text speaks of has not been measured.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(**vocabulary(samples), held_out=vocabulary(held_out), circumstances=circumstances)


def vocabulary(samples: Samples) -> dict[str, Callable[..., Any]]:
    """What the template says numbers with; rows and measures are named, such as `number("steady", "flicker")`."""

    def number(row: str, measure: str) -> str:
        chosen = _MEASURES[measure]
        return chosen.of(samples.rows[row], samples.bootstrap).text(chosen.digits)

    def difference(row: str, other: str, measure: str) -> str:
        chosen = _MEASURES[measure]
        found = chosen.difference(samples.rows[row], samples.rows[other], samples.bootstrap)
        text = found.text(chosen.digits)
        return f"**{text}**" if found.apart else text

    def compared(row: str, other: str) -> str:
        return " | ".join(difference(row, other, name) for name in _COMPARED)

    def ratio(row: str, other: str, measure: str) -> str:
        return _MEASURES[measure].ratio(samples.rows[row], samples.rows[other], samples.bootstrap).text(2)

    def operations(row: str, other: str) -> str:
        return f"{samples.rows[row].operations / samples.rows[other].operations:.0%}".replace("%", " %")

    def passes(row: str) -> str:
        return f"{sum(_passes(samples.rows[row], role) for role in REFINING):g}"

    def rows(names: Sequence[str], shown: Sequence[str]) -> str:
        chosen = [_MEASURES[name] for name in shown]
        header = ("row", "passes", "operations, G", *(measure.title for measure in chosen))
        lines = ([name, *_costs(samples.rows[name]), *(number(name, each) for each in shown)] for name in names)
        return table(header, lines).rstrip("\n")

    def clips() -> int:
        return next(iter(samples.rows.values())).clips

    def prompts() -> int:
        return samples.bootstrap.drawn.shape[1]

    return {
        "number": number, "difference": difference, "compared": compared, "ratio": ratio, "operations": operations,
        "passes": passes, "rows": rows, "clips": clips, "prompts": prompts,
    }  # fmt: skip


def _passes(sample: Sample, role: str) -> float:
    return float(sample.columns[f"passes_{role}"].mean())


def _costs(sample: Sample) -> tuple[str, str]:
    return " + ".join(f"{_passes(sample, role):g}" for role in ROLES), f"{sample.operations / 1e9:.0f}"
