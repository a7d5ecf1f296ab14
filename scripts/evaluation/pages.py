"""What docs/ has of the results: two pages, plots and pictures, written once all could be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from confiner_cli.files import atomic_write
from evaluation.prompts import Prompt
from evaluation.report import report
from evaluation.sample import Samples
from evaluation.sections import HELD_OUT_SECTIONS, SECTIONS
from evaluation.summary import LEGEND, summary
from evaluation.tasks import Maker


def write_pages(folder: Path, samples: Samples, held_out: Samples, circumstances: str) -> None:
    """Write results.md, and results_tables.md, which has every number.

    Raises:
        NotMeasuredError: the page speaks of a row that is not there.
    """
    page = report(samples, held_out, circumstances)
    head = "# Results: every number\n\nWhat they say is in [results.md](results.md).\n"
    unseen = f"# Combinations that no training saw\n\n{summary(held_out, HELD_OUT_SECTIONS)}"
    tables = "\n".join((head, LEGEND, summary(samples, SECTIONS), unseen, circumstances))
    for name, text in (("results_tables.md", tables), ("results.md", page)):
        write_text(folder / name, text)


def write_pictures(
    folder: Path, samples: Samples, makers: Mapping[str, Callable[[], Maker]], prompt: Prompt
) -> None:
    """Write the plots, and a prompt's clips down the rows, which are made again."""
    from evaluation import pictures, plots  # plots needs matplotlib, which measuring does not

    plots.write_operations(folder / "results_operations.png", samples)
    plots.write_te(folder / "results_te.png", samples)
    pictures.write_rows(folder / "results_rows.jpg", makers, prompt)


def write_text(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
