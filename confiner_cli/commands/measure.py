"""`confiner measure VIDEO...`: numbers of any videos, for which no reference is needed."""

from __future__ import annotations

import json
from pathlib import Path

from confiner_cli import progress
from confiner_cli.errors import ConfinerError, named_error
from confiner_cli.measures.table import INSTALL, MEASURES, explained

HELP = """\
usage: confiner measure VIDEO... [--json]

prints a line of measures for each video (any file that ffmpeg reads, or a run folder):

{measures}

Compare videos of one size, and of one prompt. What follows motion (flicker, motion_amplitude,
motion_smoothness) needs OpenCV: {install}
`confiner generate output.measure=true` writes the same numbers into run.json.

  --json   an object for each video, one a line
"""
WIDE = 18
DIGITS = 4
USAGE = "confiner measure VIDEO... [--json]"


def main(arguments: list[str]) -> int:
    """Measure one video after another; what cannot be measured does not stop the others."""
    if "-h" in arguments or "--help" in arguments:
        print(_help(), end="")
        return 0
    names = [word for word in arguments if word != "--json"]
    flags = [name for name in names if name.startswith("-")]
    if flags:
        raise ConfinerError(f"measure has no option {flags[0]}", USAGE)
    if not names:
        raise ConfinerError("measure takes videos or run folders", USAGE)
    as_json = "--json" in arguments
    if not as_json:
        print("".join(f"{name:<{WIDE}}" for name in MEASURES) + "video", flush=True)
    code = 0
    for name in names:
        try:
            _measure(name, as_json)
        except BrokenPipeError:
            raise
        except Exception as error:
            named = named_error(error)
            progress.say(named.lines())
            code = code or named.exit_code
    return code


def _measure(name: str, as_json: bool) -> None:
    """Print the line of one video."""
    from confiner_cli.measures.video import measure_video

    measured = measure_video(_file(Path(name).expanduser()))
    if as_json:
        print(json.dumps({"video": name, **measured.values}), flush=True)
    else:
        cells = (_cell(measured.values.get(each)) for each in MEASURES)
        print("".join(f"{cell:<{WIDE}}" for cell in cells) + name, flush=True)
    for line in explained(measured.lacking):
        progress.say(f"notice: {name}: {line}")


def _file(path: Path) -> Path:
    """The video that a path means; a run folder means its finished one."""
    if not path.is_dir():
        return path
    from confiner_cli.runs.measuring import finished_video
    from confiner_cli.runs.record import read_run

    return finished_video(path, read_run(path))


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.{DIGITS}g}"


def _help() -> str:
    lines = []
    for each in MEASURES.values():
        better = f"; {each.better} is better" if each.better else ""
        lines.append(f"  {each.name:<{WIDE}} {each.meaning}")
        lines.append(f"  {'':<{WIDE}} {each.unit}{better}")
    return HELP.format(measures="\n".join(lines), install=INSTALL)
