"""The comment of a video file: text that goes to ffmpeg by a file, since arguments have a limit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confiner_cli.files import temporary_beside

HEAD = ";FFMETADATA1\n"
KEY = "comment"
# In ffmpeg's format a backslash comes before =, ;, #, line ends and before itself. Its reader takes
# an escaped backslash and a line's end for an escaped end: so the last line has none.
_SPECIAL = re.compile(r"([=;#\\\n\r])")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ENTRY = re.compile(r"((?:[^\\=\n]|\\.)++)=((?:[^\\\n]++|\\.)*+)", re.DOTALL)


@contextmanager
def metadata_file(path: Path, comment: str | None) -> Iterator[tuple[str, ...]]:
    """The arguments that give ffmpeg a comment as one more input, or none where there is no text.

    Args:
        path: the video that is going to be written; the text lies beside it meanwhile.
        comment: any length.
    """
    if comment is None:
        yield ()
        return
    with temporary_beside(path.with_suffix(".ffmetadata")) as file:
        escaped = _SPECIAL.sub(r"\\\1", comment)
        file.write_bytes(f"{HEAD}{KEY}={escaped}".encode())
        yield ("-f", "ffmetadata", "-i", f"file:{file}")


def comment_in(metadata: str) -> str | None:
    """The comment in what ffmpeg says of a file in this format, or None.

    It has the name that its container gives it: COMMENT in Matroska and WebM.
    """
    for key, value in _ENTRY.findall(metadata):
        if key.lower() == KEY:
            return _ESCAPED.sub(r"\1", value)
    return None
