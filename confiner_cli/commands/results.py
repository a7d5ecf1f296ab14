"""What was made, on stdout: one path a line, and nothing else."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from confiner_cli.errors import ConfinerError, first_line


def hand_over(*paths: Path) -> None:
    """Print paths of videos at once, for whoever reads stdout.

    Raises:
        ConfinerError: stdout does not take them: its reader is gone, its disk full. The videos are
            whole by then; that somebody did not get to know of them is for the exit code to say.
    """
    try:
        if sys.stdout is None:  # Python's word for one that is closed
            raise OSError("it is closed")
        for path in paths:
            print(path)
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise ConfinerError(
            f"stdout does not take the path of what is made: {reason}",
            f"it is whole all the same: confiner show {shlex.quote(str(paths[-1]))}",
        ) from error
