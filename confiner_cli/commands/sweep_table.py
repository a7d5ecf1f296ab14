"""How the jobs of a sweep have ended, as a table on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from confiner_cli import progress
from confiner_cli.errors import ConfinerError
from confiner_cli.runs.folder import RECORD
from confiner_cli.runs.objective import objective_of
from confiner_cli.runs.record import RunRecord, read_run

MOST_ROWS = 200
"""Of a larger sweep only the jobs are shown that are not done."""


def print_table(root: Path) -> int:
    """Print how the jobs of a sweep ended, on stderr. Returns how many did not end well."""
    folders = sorted((path.parent for path in root.glob(f"*/{RECORD}")), key=_in_order)
    if not folders:
        return 0
    rows, failed, objective = [], 0, ""
    for folder in folders:
        record = _record_in(folder)
        objective = objective or str(record.config.get("objective") or "")
        failed += record.status != "done"
        if record.status != "done" or len(folders) <= MOST_ROWS:
            rows.append(_row(folder, record))
    _print(rows, objective)
    progress.console().print(
        f"{len(folders) - failed} of {len(folders)} done in {root}", soft_wrap=True
    )
    return failed


def _print(rows: Sequence[tuple[str, ...]], objective: str) -> None:
    from rich import box
    from rich.table import Table

    told = [objective] if objective else []
    table = Table("job", "status", "prompt", "seconds", *told, "folder", box=box.SIMPLE)
    for *cells, number, folder in rows:
        table.add_row(*cells, *[number for _ in told], folder)
    if rows:
        progress.console(width=None if progress.is_terminal() else 160).print(table)


def _record_in(folder: Path) -> RunRecord:
    try:
        return read_run(folder)
    except ConfinerError as error:
        return RunRecord(status="damaged", error=str(error))


def _in_order(folder: Path) -> tuple[int, str]:
    return int(folder.name.partition("-")[0]), folder.name


def _row(folder: Path, record: RunRecord) -> tuple[str, ...]:
    number = folder.name.partition("-")[0]
    status = f"{record.status}: {record.error}" if record.error else record.status
    total = record.seconds.get("total")
    seconds = "" if total is None else f"{total:.1f}"
    prompt = " ".join(record.prompt.split())
    return number, status, prompt, seconds, _objective(folder, record), folder.name


def _objective(folder: Path, record: RunRecord) -> str:
    name = record.config.get("objective")
    if record.status != "done" or not name:
        return ""
    try:
        return f"{objective_of(folder, str(name)):.4g}"
    except ConfinerError:
        return "unknown"
