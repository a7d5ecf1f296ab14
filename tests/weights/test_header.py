"""What a safetensors file holds, told without reading it; what is not a whole one is refused."""

import os
import time

import pytest
import torch
from safetensors.torch import save

from confiner_cli.weights import select
from confiner_cli.weights.select import TensorInfo, read_header

CONTENT = save({"one": torch.zeros(2, 3, dtype=torch.float16), "other": torch.zeros(())})


def header_of(tmp_path, content: bytes):
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    return read_header(path)


def test_names_types_and_shapes_are_told(tmp_path):
    header = header_of(tmp_path, CONTENT)
    assert header == {"one": TensorInfo("F16", (2, 3)), "other": TensorInfo("F32", ())}


@pytest.mark.parametrize("length", [*range(0, len(CONTENT), 7), len(CONTENT) - 1])
def test_wherever_it_is_cut_it_is_refused(length, tmp_path):
    with pytest.raises(ValueError, match="no whole safetensors file"):
        header_of(tmp_path, CONTENT[:length])


@pytest.mark.parametrize("content", [CONTENT + b"x", b"not tensors", b"\x80\x02}q\x00."])
def test_what_is_longer_or_something_else_is_refused(content, tmp_path):
    with pytest.raises(ValueError, match="no whole safetensors file:"):
        header_of(tmp_path, content)


def test_a_web_page_is_called_one(tmp_path):
    with pytest.raises(ValueError, match="but a web page"):
        header_of(tmp_path, b"\n<!doctype html><html>please log in</html>")


def test_a_file_that_is_not_there_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "file.safetensors")


@pytest.fixture
def opened(monkeypatch):
    """The files that were opened, in order."""
    names, plain = [], select.safe_open

    def counted(path, **options):
        names.append(path.name)
        return plain(path, **options)

    monkeypatch.setattr(select, "safe_open", counted)
    return names


def aged(path, seconds):
    """The file, as if it had been written so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def test_a_file_that_has_not_changed_is_opened_once(tmp_path, opened):
    path = tmp_path / "file.safetensors"
    path.write_bytes(CONTENT)
    first = read_header(aged(path, 60))
    assert read_header(path) == first
    assert opened == [path.name]


def test_a_file_that_is_replaced_by_one_of_its_size_and_age_is_read_anew(tmp_path, opened):
    path, other = tmp_path / "file.safetensors", tmp_path / "other"
    path.write_bytes(CONTENT)
    aged(path, 60)
    read_header(path)
    other.write_bytes(CONTENT.replace(b"one", b"two"))
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert set(read_header(path)) == {"two", "other"}


def test_a_file_of_this_moment_is_read_each_time(tmp_path, opened):
    path = tmp_path / "file.safetensors"
    path.write_bytes(CONTENT)
    assert read_header(path) == read_header(path)
    assert len(opened) == 2
