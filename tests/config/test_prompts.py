"""Prompt text is verbatim; what is refused is refused by name; a slug is a safe file name."""

import re

import pytest

from confiner_cli.config.prompts import read_prompt, read_prompts, slug, verbatim
from confiner_cli.errors import ConfinerError


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  a heart \n", "a heart"),
        ("a heart\r\nover the sea", "a heart\nover the sea"),
        ("true", "true"),
        ("${oc.env:HOME}", "${oc.env:HOME}"),
        ("'a' \"b\" \\ (c)=[d]{e},~!#&<;", "'a' \"b\" \\ (c)=[d]{e},~!#&<;"),
        ("心 \u202eקלב\u200f 💛\u200d🔥", "心 \u202eקלב\u200f 💛\u200d🔥"),
    ],
)
def test_text_is_kept_but_for_outer_white_space_and_line_ends(typed, kept):
    assert verbatim(typed) == kept


@pytest.mark.parametrize(
    "character", ["\x00", "\x07", "\t", "\r", "\x1b", "\x7f", "\x85", "\udc80"]
)
def test_control_characters_are_refused_by_code(character):
    with pytest.raises(ConfinerError, match=f"U\\+{ord(character):04X}"):
        verbatim(f"a{character}b")


def test_a_prompt_file_is_utf8_with_or_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_bytes("\ufeffein rotes Herz\r\nüber dem Meer\r\n".encode())
    assert read_prompt(str(path)) == "ein rotes Herz\nüber dem Meer"


def test_a_file_of_prompts_has_one_a_line_whatever_else_breaks_lines(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeffone, two\r\n\r\n  three\u2028four  \n${five}".encode())
    assert read_prompts(str(path)) == ["one, two", "three\u2028four", "${five}"]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"one\n\nt\x07wo\n", r"line 3, .*U\+0007"),
        (b"\xef\xbb\xbfone\r\n" + b"x" * 2001, "line 2, has 2001 characters"),
        (b"one\ntwo\nthr\xfce\n", "line 3, is not in UTF-8"),
        (b"\xef\xbb\xbf\xfc", "line 1, is not in UTF-8"),
        ("one\ntwo".encode("utf-16"), "line 1, is not in UTF-8"),
    ],
)
@pytest.mark.parametrize("read", [read_prompt, read_prompts])
def test_what_is_refused_in_a_file_is_told_with_file_and_line(tmp_path, read, content, place):
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(ConfinerError, match=rf"prompts\.txt, {place}"):
        read(str(path))


def test_a_file_with_old_line_ends_has_lines_too(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes(b"one\rtwo")
    assert read_prompts(str(path)) == ["one", "two"]


def test_a_folder_in_a_files_place_is_told_in_one_line(tmp_path):
    with pytest.raises(ConfinerError, match=r"cannot be read: Is a directory$"):
        read_prompts(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A red heart, rising!", "a-red-heart-rising"),
        ("../../etc/passwd", "etc-passwd"),
        ("Füchse", "fuchse"),
        ("心", "video"),
        ("a" * 39 + " b", "a" * 39),
    ],
)
def test_a_slug_is_a_safe_name(text, expected):
    assert slug(text) == expected
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", slug(text))
