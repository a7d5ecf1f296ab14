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


def test_a_control_character_in_a_file_of_prompts_names_the_file(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("one\nt\x07wo\n")
    with pytest.raises(ConfinerError, match=r"prompts\.txt .*U\+0007"):
        read_prompts(str(path))


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
