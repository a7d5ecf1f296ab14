"""A file's content for the hub's cache, fetched on from what is there of it.

The cache keeps contents as `blobs/ETAG`. huggingface_hub writes each try to a name of its own and
never goes on with it: a killed process leaves it there for ever. Here it is `ETAG.incomplete`, to
which an HTTP Range adds what lacks. What an ETag names never changes, so the content of a file that
did is another blob.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    get_session,
    hf_hub_url,
    hf_raise_for_status,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # it exports them lazily
    WeakFileLock,
    build_hf_headers,
)

from confiner_cli import progress
from confiner_cli.weights.hub_cache import blob_folder
from confiner_cli.weights.hub_errors import HTTPError, retrying
from confiner_cli.weights.model_ref import ModelRef

SUFFIX = ".incomplete"
WORTH_ANOTHER_TRY = 10_000_000
"""Bytes that a round of tries has to bring for another one to begin."""
BLOCK = 512
"""Bytes of what `stat` counts as a block."""
PARTIAL_CONTENT, NO_SUCH_RANGE = 206, 416
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)").fullmatch
_OF_THE_CLIENT = re.compile(r".+\.[0-9a-f]{8}\.incomplete").fullmatch
Advance = Callable[[int], None]
"""Is told how many bytes have come, or are lost where it is negative; may raise to end it."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub as its headers state it.

    Attributes:
        url: where it is.
        etag: what its content is known by.
        size: bytes.
        blob: where its content goes.
    """

    url: str
    etag: str
    size: int
    blob: Path

    @property
    def lock(self) -> Path:
        """The file that huggingface_hub, too, locks while it writes the blob."""
        repo = self.blob.parents[1]
        return repo.parent / ".locks" / repo.name / f"{self.etag}.lock"


def remote_file(ref: ModelRef, name: str) -> RemoteFile | None:
    """Ask the hub for a file's headers; None where they do not say what its content is known by.

    Raises:
        HTTPError, OSError: as huggingface_hub.
    """
    url = hf_hub_url(ref.repo, name, revision=ref.revision)
    stated = get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    if not stated.etag or stated.size is None:
        return None
    return RemoteFile(url, stated.etag, stated.size, blob_folder(ref) / stated.etag)


def kept_bytes(blob: Path) -> int:
    """How much of a blob is there: all of it, the largest of its partials, or nothing."""
    if blob.is_file():
        return _size(blob)
    return max(map(_size, partials(blob)), default=0)


def partials(blob: Path) -> list[Path]:
    """What is there of a blob, ours and what huggingface_hub has left; none with holes in it."""
    return [path for path in _named_as_partials(blob) if _is_continuous(path)]


def fetch_blob(file: RemoteFile, advance: Advance) -> bool:
    """Complete a blob from what is there of it, under huggingface_hub's own lock.

    Returns:
        Whether this process did it.

    Raises:
        HTTPError, OSError: as huggingface_hub; what has come is kept.
    """
    with _locked(file):
        made = not file.blob.exists()
        if made:
            partial = _adopted(file)
            advance(_size(partial))
            _complete(file, partial, advance)
            with suppress(FileNotFoundError):  # where locks do nothing, another was quicker
                partial.replace(file.blob)
        else:
            advance(file.size)
        remove_partials(file.blob)
    return made


def remove_partials(blob: Path) -> None:
    """Remove what is left of tries to fetch a blob."""
    for partial in _named_as_partials(blob):
        partial.unlink(missing_ok=True)


def _named_as_partials(blob: Path) -> list[Path]:
    """A blob's partials: `ETAG.incomplete`, and `ETAG.XXXXXXXX.incomplete` of huggingface_hub."""
    return sorted(blob.parent.glob(f"{blob.name}.*incomplete"))


def _is_continuous(partial: Path) -> bool:
    """Whether all bytes to its end have come: the client's Xet transfers write here and there."""
    if not _OF_THE_CLIENT(partial.name):
        return True
    with suppress(FileNotFoundError):
        facts = partial.stat()
        return facts.st_blocks * BLOCK >= facts.st_size
    return False


def _size(path: Path) -> int:
    """Bytes of a file; none where somebody has just moved it away."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


@contextmanager
def _locked(file: RemoteFile) -> Iterator[None]:
    for folder in (file.lock.parent, file.blob.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(file.lock, timeout=0.1))
        except TimeoutError:
            progress.say(f"another process fetches {file.url}: waiting for it")
            stack.enter_context(WeakFileLock(file.lock))
        yield


def _adopted(file: RemoteFile) -> Path:
    """The one partial to go on with, the largest that there was."""
    ours = file.blob.with_name(f"{file.etag}{SUFFIX}")
    found = [path for path in partials(file.blob) if _size(path) <= file.size]
    if found:
        max(found, key=_size).replace(ours)
    for other in _named_as_partials(file.blob):
        if other != ours or not found:
            other.unlink(missing_ok=True)
    ours.touch()
    return ours


def _complete(file: RemoteFile, partial: Path, advance: Advance) -> None:
    """Ask for the rest, again and again as long as that brings something."""
    while True:
        before = _size(partial)
        try:
            retrying(lambda: _add_rest(file, partial, advance))
            return
        except (HTTPError, OSError):
            if _size(partial) - before < WORTH_ANOTHER_TRY:
                raise


def _add_rest(file: RemoteFile, partial: Path, advance: Advance) -> None:
    advance(0)
    # Not to append: where locks do nothing, two processes write the same bytes to the same places.
    with partial.open("r+b") as content:
        start = content.seek(0, 2)
        if start < file.size:
            _receive(file, content, start, advance)
        arrived = content.tell()
    if arrived != file.size:
        raise OSError(f"{arrived} of {file.size} bytes came")


def _receive(file: RemoteFile, content: BinaryIO, start: int, advance: Advance) -> None:
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    wait = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", file.url, headers=headers, timeout=wait) as response:
        if response.status_code != NO_SUCH_RANGE:
            hf_raise_for_status(response)
        begin = _begin(response, file.size)
        if begin != start:
            content.seek(0)
            content.truncate()
            advance(-start)
        if begin not in (0, start):
            raise OSError("the hub sent another part of the file than was asked for")
        for piece in response.iter_bytes():
            content.write(piece)
            advance(len(piece))


def _begin(response: Any, size: int) -> int | None:
    """From which byte on a file comes; None where that is not said, or it is another file."""
    if response.status_code == NO_SUCH_RANGE:
        return None
    if response.status_code != PARTIAL_CONTENT:
        return 0
    stated = _RANGE(response.headers.get("Content-Range", ""))
    return int(stated[1]) if stated and int(stated[2]) == size else None
