"""Prompt text, verbatim: what is refused, how it passes through Hydra, and file names of it."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from confiner_cli.errors import ConfinerError

LONGEST = 2_000
SLUG_LENGTH = 40


def verbatim(text: str, name: str = "prompt", empty: bool = False) -> str:
    """The text with outer white space stripped and CRLF turned into LF, else as it is.

    Raises:
        ConfinerError: it is empty (unless `empty`), longer than 2,000 characters, or has control
            characters in it.
    """
    if not isinstance(text, str):  # Python callers meet no schema
        raise ConfinerError(f"{name}={text!r} is not a text", f'{name}="..."')
    text = text.replace("\r\n", "\n").strip()
    if not text and not empty:
        raise ConfinerError(
            f"{name} is empty", 'say what the video shows: prompt="a red heart rising over the sea"'
        )
    if len(text) > LONGEST:
        raise ConfinerError(
            f"{name} has {len(text)} characters",
            f"text encoders read a sentence or two: at most {LONGEST}",
        )
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character != "\n":
            raise ConfinerError(
                f"{name} contains the control character U+{ord(character):04X}",
                "remove it: a prompt is plain text",
            )
    return text


def read_prompt(path: str) -> str:
    """The one prompt in a UTF-8 file (a byte order mark is allowed).

    Raises:
        ConfinerError: it cannot be read, or what `verbatim` refuses, with the line.
    """
    name = f"prompt_file={path}"
    text = _read(path, name)
    for number, line in enumerate(_lines(text), start=1):
        verbatim(line, f"{name}, line {number},", empty=True)
    return verbatim(text, name)


def read_prompts(path: str) -> list[str]:
    """The prompts in a UTF-8 file, one a line; blank lines are skipped.

    Raises:
        ConfinerError: it cannot be read, has no prompt in it, or what `verbatim` refuses, with
            the line.
    """
    name = f"prompts_file={path}"
    numbered = enumerate(_lines(_read(path, name)), start=1)
    prompts = [verbatim(line, f"{name}, line {n},") for n, line in numbered if line.strip()]
    if not prompts:
        raise ConfinerError(f"{name} has no prompt in it", "one prompt a line")
    return prompts


def _lines(text: str) -> list[str]:
    return text.split("\n")  # splitlines() would part at what a prompt may contain


def _read(path: str, name: str) -> str:
    try:
        content = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfinerError(
            f"{name} cannot be read: {error.strerror}", "name a text file in UTF-8"
        ) from error
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        number = len((error.object[: error.start] + b".").splitlines())
        raise ConfinerError(
            f"{name}, line {number}, is not in UTF-8: {error.reason}", "save the file as UTF-8"
        ) from error


def literal(text: str) -> str:
    """The text as a config's value that OmegaConf reads back as exactly this text."""
    # Backslashes before an interpolation are its escapes, so they count double.
    escaped = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    # This alone would read as a value that is missing; outer white space is stripped again.
    return "??? " if escaped == "???" else escaped


def quoted(text: str) -> str:
    """The text as a Hydra override value that reads back as exactly this text, in sweeps too."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return str(QuotedString(text=literal(text), quote=Quote.double).with_quotes())


def slug(text: str) -> str:
    """What of a prompt may stand in a file name: `[a-z0-9-]`, 1 to 40 characters."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:SLUG_LENGTH].strip("-") or "video"
