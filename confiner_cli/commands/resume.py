"""`confiner resume RUN_DIR`: go on with a run that was interrupted or killed, from what it had finished."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from confiner_cli.errors import ConfinerError

HELP = """\
usage: confiner resume RUN_DIR

Goes on with a run that was interrupted, killed or failed, with its own settings and to the same frames. What it had
finished is read; a file that is missing or damaged is made again. A finished run is left as it is.
"""


def main(arguments: list[str]) -> int:
    """Run the command; the exit code is `cli.main`'s."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP, end="")
        return 0
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise ConfinerError("resume takes one run folder", "confiner resume RUN_DIR")
    folder = Path(arguments[0]).expanduser().absolute()
    if not (folder / "run.json").is_file():
        raise ConfinerError(
            f"{folder} is not a run folder: there is no run.json in it", "confiner resume RUN_DIR"
        )
    from confiner_cli.config.hydra import compose, settings_of
    from confiner_cli.config.overrides import recorded
    from confiner_cli.config.resolve import resolved
    from confiner_cli.config.roles import required_models
    from confiner_cli.experts.offload import NetworkCache
    from confiner_cli.runs.execute import run
    from confiner_cli.runs.lock import locked
    from confiner_cli.runs.partial import Checkpoints
    from confiner_cli.runs.record import Place, is_whole, read_run
    from confiner_cli.weights.download import fetch

    if is_whole(folder, read_run(folder)):
        with (
            suppress(OSError),
            locked(folder),
        ):  # a kill in its last moments left its lock, too; read-only is no harm
            Checkpoints.remove(folder)
        print(f"already done: {folder}", file=sys.stderr)
    else:
        settings = resolved(settings_of(compose(list(recorded(folder, chosen=set(), output=True)))))
        fetch(required_models(settings))
        with NetworkCache() as cache:
            run(replace(settings, resume=True), Place(folder, exact=True), {}, cache)
    print(folder / "video.mp4", flush=True)
    return 0
