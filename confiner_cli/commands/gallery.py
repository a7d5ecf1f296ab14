"""`confiner gallery PATH...`: one static page of many runs, to open as a file, or to send."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from confiner_cli import progress
from confiner_cli.errors import ConfinerError

HELP = """\
usage: confiner gallery PATH... [output=FILE_OR_DIR]

writes one index.html with all runs in and below the paths: run folders, sweeps, whole outputs
folders. Its links are relative: a folder that holds the page and the runs can be moved, or packed
and sent. Run it again for newer runs.

  output=FILE_OR_DIR   where the page goes; else into PATH, or into the folder that holds all paths
"""
PAGE = "index.html"
BEGINNING = 4096
USAGE = "confiner gallery outputs multirun"


def main(arguments: list[str]) -> int:
    """Write the page and print its path."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP, end="")
        return 0
    outputs = [word.removeprefix("output=") for word in arguments if word.startswith("output=")]
    names = [word for word in arguments if not word.startswith("output=")]
    flags = [name for name in names if name.startswith("-")]
    if flags:
        raise ConfinerError(f"gallery has no option {flags[0]}", USAGE)
    if not names or len(outputs) > 1 or "" in outputs:
        raise ConfinerError("gallery takes run folders and at most one output=", USAGE)
    paths = [_folder(name) for name in names]
    target = _absolute(outputs[0]) if outputs else Path(os.path.commonpath(paths))
    if not (outputs and target.suffix in (".html", ".htm") and not target.is_dir()):
        target /= PAGE
    _check(target)
    from confiner_cli.gallery.runs import find_runs

    runs = find_runs(paths)
    if not runs:
        raise ConfinerError(
            f"there are no runs in {', '.join(map(str, paths))}",
            "name folders that hold a run.json",
        )
    from confiner_cli.gallery.axes import axes_of
    from confiner_cli.gallery.cards import card_of
    from confiner_cli.gallery.page import page

    cards = [card_of(run, target.parent) for run in runs]
    _write(target, page(target.parent.name, cards, axes_of(runs), version("confiner")))
    _warn([run.folder for run in runs], target.parent)
    print(target)
    return 0


def _absolute(name: str) -> Path:
    path = Path(name).expanduser().absolute()
    return path.resolve() if ".." in path.parts else path


def _folder(name: str) -> Path:
    """The folder of runs that a path means; a file means the one that it lies in.

    Raises:
        ConfinerError: there is no such path.
    """
    path = _absolute(name)
    if not path.exists():
        raise ConfinerError(f"there is no {path}", USAGE)
    return path if path.is_dir() else path.parent


def _check(target: Path) -> None:
    """Refuse to replace a file that is not a gallery."""
    from confiner_cli.gallery.page import GENERATOR

    if not target.exists():
        return
    mark = f'<meta name="generator" content="{GENERATOR}'.encode()
    if not target.is_file() or mark not in target.read_bytes()[:BEGINNING]:
        raise ConfinerError(
            f"{target} exists and is no gallery: it is left as it is", "name another file: output="
        )


def _warn(folders: Sequence[Path], base: Path) -> None:
    outside = sum(not folder.is_relative_to(base) for folder in folders)
    if outside:
        progress.say(
            f"notice: {outside} runs lie outside {base}: the page finds them only where they are"
        )


def _write(target: Path, text: str) -> None:
    from confiner_cli.files import atomic_write

    target.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode("utf-8", "replace")  # records may hold halves of characters
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
