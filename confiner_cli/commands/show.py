"""`confiner show FILE_OR_DIR`: how a video was made, by its run folder or by the file itself."""

from __future__ import annotations

import json
from pathlib import Path

from confiner_cli.errors import ConfinerError

HELP = """\
usage: confiner show FILE_OR_DIR

prints how a video was made: from a run folder's run.json, or from the video's own comment
"""
FIRST = ("status", "error", "hint", "prompt", "negative_prompt", "seed")


def main(arguments: list[str]) -> int:
    """Print a run's record as YAML."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP, end="")
        return 0
    if len(arguments) != 1:
        raise ConfinerError("show takes one file or folder", "confiner show outputs/.../video.mp4")
    import yaml  # OmegaConf would read a prompt's ${ as an interpolation

    from confiner_cli.runs.folder import resume_command
    from confiner_cli.runs.provenance import read_record

    path = Path(arguments[0]).expanduser()
    record = read_record(path)
    facts = json.loads(record.as_json())
    shown = {key: facts[key] for key in (*FIRST, *facts) if key in facts}
    print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=100), end="")
    if path.is_dir() and record.config and record.status != "done":
        print(f"# to go on: {resume_command(path)}")
    print(f"# again: confiner generate from={path}")
    return 0
