"""Comments of pictures that move. GIF, PNG and WebP have room for one, but ffmpeg writes none."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

GIF_END = b"\x3b"
GIF_COMMENT = b"\x21\xfe"
LARGEST_BLOCK = 255
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
PNG_CHUNK = struct.Struct(">I4s")
PNG_CHECK = 4
"""Bytes of the checksum behind each chunk."""
PNG_COMMENT = b"Comment" + b"\0" * 5
"""What an iTXt chunk begins with: the keyword; no compression, language or translated keyword."""
UNICODE = b"UNICODE\0"
"""How Exif says that a user comment is UTF-16."""
EXIF_PREFIX = b"Exif\0\0"
WEBP_CHUNK = struct.Struct("<4sI")
WEBP_CHUNKS = 12
"""Where the first chunk of a WebP is, whose head it is where it moves."""
WEBP_FLAGS = 20
WEBP_HAS_EXIF = 0x08


def write_picture_comment(path: Path, kind: str, comment: str) -> None:
    """Put a comment into a finished file that has none.

    Args:
        path: the file; it is changed in its place.
        kind: `gif`, `apng` or `webp`.
        comment: any length.
    """
    writers = {"gif": _into_gif, "apng": _into_png, "webp": _into_webp}
    writers[kind](path, comment)


def read_picture_comment(path: Path) -> str | None:
    """The comment of a PNG or a WebP, or None; that of a GIF is read by ffmpeg."""
    with path.open("rb") as file:
        beginning = file.read(WEBP_CHUNKS)
        if beginning.startswith(PNG_SIGNATURE):
            return _in_png(file)
        if beginning.startswith(b"RIFF") and beginning.endswith(b"WEBP"):
            return _in_webp(file)
    return None


def _into_gif(path: Path, comment: str) -> None:
    """Before the end: blocks of at most 255 bytes, each after its size, and an empty one."""
    text = comment.encode()
    starts = range(0, len(text), LARGEST_BLOCK)
    blocks = [text[start : start + LARGEST_BLOCK] for start in starts]
    sized = [bytes([len(block)]) + block for block in blocks]
    with path.open("r+b") as file:
        file.seek(-len(GIF_END), os.SEEK_END)
        assert file.read() == GIF_END
        file.seek(-len(GIF_END), os.SEEK_END)
        file.write(GIF_COMMENT + b"".join(sized) + b"\0" + GIF_END)


def _into_png(path: Path, comment: str) -> None:
    """Before the end: ffmpeg does not see that a PNG moves where a long chunk comes first."""
    data = PNG_COMMENT + comment.encode()
    head = PNG_CHUNK.pack(len(data), b"iTXt")
    check = zlib.crc32(data, zlib.crc32(b"iTXt"))
    with path.open("r+b") as file:
        file.seek(-len(PNG_END), os.SEEK_END)
        assert file.read() == PNG_END
        file.seek(-len(PNG_END), os.SEEK_END)
        file.write(head + data + struct.pack(">I", check) + PNG_END)


def _into_webp(path: Path, comment: str) -> None:
    """At the end: a chunk of Exif, of which the head has to know."""
    from PIL import ExifTags, Image  # for WebP alone: most commands take no longer to run

    exif = Image.Exif()
    text = UNICODE + comment.encode("utf-16be")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = text
    data = exif.tobytes().removeprefix(EXIF_PREFIX)
    with path.open("r+b") as file:
        file.seek(WEBP_CHUNKS)
        if not file.read(4).startswith(b"VP8X"):  # one frame: it has no head yet
            with Image.open(path) as image:
                image.save(path, "WEBP", lossless=True, exif=exif)
            return
        flags = _byte_at(file, WEBP_FLAGS) | WEBP_HAS_EXIF
        file.seek(WEBP_FLAGS)
        file.write(bytes([flags]))
        file.seek(0, os.SEEK_END)
        file.write(WEBP_CHUNK.pack(b"EXIF", len(data)) + data + b"\0" * (len(data) % 2))
        size = file.tell() - WEBP_CHUNK.size
        file.seek(0)
        file.write(WEBP_CHUNK.pack(b"RIFF", size))


def _byte_at(file: BinaryIO, place: int) -> int:
    file.seek(place)
    return file.read(1)[0]


def _in_png(file: BinaryIO) -> str | None:
    """Look at the head of each chunk; the frames, which Pillow would decode, are passed over."""
    file.seek(len(PNG_SIGNATURE))
    while len(head := file.read(PNG_CHUNK.size)) == PNG_CHUNK.size:
        length, name = PNG_CHUNK.unpack(head)
        if name == b"iTXt":
            data = file.read(length)
            if data.startswith(PNG_COMMENT):
                return data.removeprefix(PNG_COMMENT).decode(errors="replace")
            length = 0
        file.seek(length + PNG_CHECK, os.SEEK_CUR)
    return None


def _in_webp(file: BinaryIO) -> str | None:
    """Likewise: Pillow would read the whole file."""
    while len(head := file.read(WEBP_CHUNK.size)) == WEBP_CHUNK.size:
        name, length = WEBP_CHUNK.unpack(head)
        if name == b"EXIF":
            return _in_exif(file.read(length))
        file.seek(length + length % 2, os.SEEK_CUR)
    return None


def _in_exif(content: bytes) -> str | None:
    from PIL import ExifTags, Image

    exif = Image.Exif()
    try:
        exif.load(content)
        data = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    except (SyntaxError, ValueError, OSError, struct.error):  # Pillow's words for damage
        return None
    if not isinstance(data, bytes) or not data.startswith(UNICODE):
        return None
    return data.removeprefix(UNICODE).decode("utf-16be", "replace")
