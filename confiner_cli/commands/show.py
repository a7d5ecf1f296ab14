"""`confiner show FILE_OR_DIR`: how a video was made, from its run folder or from the file itself."""

from __future__ import annotations

from pathlib import Path

from confiner_cli.errors import ConfinerError

HELP = """\
usage: confiner show FILE_OR_DIR

prints how a video was made: from a run folder's run.json, or from the MP4's own comment
"""
_FIRST = ("status", "error", "hint", "prompt", "negative_prompt", "seed")


def main(arguments: list[str]) -> int:
    """Print a run's record as YAML."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP, end="")
        return 0
    if len(arguments) != 1:
        raise ConfinerError("show takes one file or folder", "confiner show outputs/.../video.mp4")
    import yaml

    from confiner_cli.config.overrides import read_record
    from confiner_cli.runs.record import resume_command

    path = Path(arguments[0]).expanduser()
    facts = read_record(path)
    shown = {key: facts[key] for key in (*_FIRST, *facts) if key in facts}
    print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=110), end="")
    if path.is_dir() and facts.get("status", "done") != "done" and "config" in facts:
        print(f"# to go on: {resume_command(path)}")
    print(f"# again: confiner generate from={path}")
    return 0
