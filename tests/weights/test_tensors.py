"""Files of tensors are written as all others: whole, readable, and nothing of the writer's left."""

import stat

import pytest
import torch
from safetensors.torch import load_file

from confiner_cli.weights.tensors import save_tensors, write_tensors

TENSORS = {"a": torch.arange(4.0)}


def test_whoever_may_read_the_persons_files_may_read_a_file_of_tensors(tmp_path):
    other = tmp_path / "other"
    other.touch()
    save_tensors(TENSORS, tmp_path / "latents.safetensors")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {stat.S_IMODE(other.stat().st_mode)}
    assert torch.equal(load_file(tmp_path / "latents.safetensors")["a"], TENSORS["a"])


def test_where_it_breaks_off_nothing_is_left_of_the_writers_own_files(tmp_path, monkeypatch):
    def broken(tensors, path, metadata):
        (path.parent / ".tmpX1Y2Z3").write_bytes(b"half of")
        raise KeyboardInterrupt

    monkeypatch.setattr("confiner_cli.weights.tensors.save_file", broken)
    with pytest.raises(KeyboardInterrupt):
        save_tensors(TENSORS, tmp_path / "latents.safetensors")
    assert not list(tmp_path.iterdir())


def test_one_table_under_two_names_is_written_twice_and_no_other_is_copied(tmp_path, monkeypatch):
    table, copied = torch.arange(8.0), []
    clone = torch.Tensor.clone
    monkeypatch.setattr(
        torch.Tensor, "clone", lambda self: copied.append(self.shape) or clone(self)
    )
    write_tensors({"a": table, "b": table, "c": torch.ones(3)}, tmp_path / "x.safetensors")
    monkeypatch.undo()
    assert copied == [table.shape]
    written = load_file(tmp_path / "x.safetensors")
    assert torch.equal(written["a"], table) and torch.equal(written["b"], table)
