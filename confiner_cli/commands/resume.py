"""`confiner resume DIR`: go on with a run or a sweep that was stopped, from what is finished."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from confiner_cli import progress
from confiner_cli.errors import ConfinerError

HELP = """\
usage: confiner resume RUN_DIR
       confiner resume SWEEP_DIR

Goes on with a run that was interrupted, killed or failed, with its own settings and to the same
frames. What it had finished is read; a file that is missing or damaged is made again. A finished
run is left as it is.

Of a sweep, jobs that are done are kept, those that were stopped are gone on with, those that failed
or did not begin are made, with the launcher that the sweep was begun with.
"""


def main(arguments: list[str]) -> int:
    """Run the command; the exit code is `cli.main`'s."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP, end="")
        return 0
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise ConfinerError(
            "resume takes one folder, of a run or of a sweep", "confiner resume RUN_DIR"
        )
    folder = Path(arguments[0]).expanduser().absolute()
    from confiner_cli.commands.results import hand_over
    from confiner_cli.runs.folder import RECORD, one_line
    from confiner_cli.runs.record import read_run
    from confiner_cli.sweeps.record import has_sweep

    if has_sweep(folder):
        from confiner_cli.commands.sweep import resume_sweep

        return resume_sweep(one_line(folder))
    if not (folder / RECORD).is_file():
        raise ConfinerError(
            f"{folder} is not a run folder: there is no {RECORD} in it",
            "confiner resume RUN_DIR or SWEEP_DIR",
        )
    _resume(one_line(folder))
    hand_over(folder / read_run(folder).video)
    return 0


def _resume(folder: Path) -> None:
    from confiner_cli.config.resolve import require_prompt, resolve
    from confiner_cli.experts.offload import NetworkCache
    from confiner_cli.runs.folder import RunFolder
    from confiner_cli.runs.jobs import carry_out
    from confiner_cli.runs.provenance import is_whole, recorded_settings
    from confiner_cli.runs.record import read_run
    from confiner_cli.runs.weights import changed_files

    record = read_run(folder)
    if is_whole(folder, record):
        _sweep_away(folder)
        for path in changed_files(record.weights):
            progress.say(f"notice: {path} has changed since this video was made")
        progress.say(f"already done: {folder}")
        return
    job = resolve(require_prompt(recorded_settings(folder)))
    with NetworkCache() as networks:
        carry_out([job], RunFolder(folder, exact=True), {}, networks)


def _sweep_away(folder: Path) -> None:
    """Remove what a kill in a run's last moments has left: its lock, too."""
    from confiner_cli.runs import partial
    from confiner_cli.runs.lock import locked

    with suppress(OSError), locked(folder):  # a folder that is read-only does no harm
        partial.remove(folder)
