"""LaVie's checkpoint file: read as published, converted without loss, or refused."""

import json
import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from support import tiny_networks as tiny

from confiner_cli.cli import main
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.components import Components
from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.experts.families import lavie
from confiner_cli.experts.networks.lavie_checkpoint import convert, load_unet
from confiner_cli.weights import hub
from confiner_cli.weights.model_ref import Requirement, model_ref
from confiner_cli.weights.tensors import read_tensors

CPU = torch.device("cpu")


@pytest.fixture
def published(tmp_path):
    """The folder of a small checkpoint, as published."""
    tiny.write_lavie(tmp_path / "lavie")
    return tmp_path / "lavie"


def answer(*sources, dtype=torch.float32):
    unet = lavie.load(Components("temporal", sources, CPU, dtype))
    generator = torch.Generator().manual_seed(0)
    x_t, text = (
        torch.randn(shape, generator=generator).to(dtype)
        for shape in ((1, 4, 3, 4, 6), (1, 5, tiny.WIDTH))
    )
    return lavie.predict(unet, x_t, torch.tensor(500.0), Conditioning(text))


def test_folder_file_and_bare_state_dict_are_the_same_network(published, tmp_path):
    tensors = read_tensors(published / "lavie_base.pt")
    bare = tmp_path / "bare"
    bare.mkdir()
    torch.save(tensors, bare / "other.pt")
    (bare / "config.json").write_text(json.dumps(tiny.LAVIE))
    wanted = answer(published)
    assert torch.equal(answer(published / "lavie_base.pt"), wanted)
    assert torch.equal(answer(bare / "other.pt"), wanted)


def test_converted_it_holds_the_same_bits_and_is_preferred(published, capsys):
    wanted, before = answer(published), read_tensors(published / "lavie_base.pt")
    assert main(["experts", "convert", str(published / "lavie_base.pt")]) == 0
    target = published / "lavie_base.safetensors"
    assert capsys.readouterr().out == f"{target}\n"
    after = load_file(target)
    assert after.keys() == before.keys() and all(
        torch.equal(after[key], before[key]) for key in before
    )
    (published / "lavie_base.pt").write_bytes(b"never read again")
    assert torch.equal(answer(published), wanted)
    assert torch.equal(answer(published / "lavie_base.pt"), wanted)
    with pytest.raises(ConfinerError, match="exists"):
        convert(published / "lavie_base.pt", target)


def test_the_converted_file_stands_in_for_a_pickle_that_was_removed(published, capsys):
    wanted, pickle = answer(published), published / "lavie_base.pt"
    assert main(["experts", "convert", str(pickle)]) == 0
    assert f"rm {pickle}" in capsys.readouterr().err
    pickle.unlink()
    ref = model_ref(str(pickle))
    assert ref.path == pickle
    place = hub.cached(Requirement(ref))
    assert place == published / "lavie_base.safetensors"
    assert torch.equal(answer(place), wanted)
    assert main(["experts", "convert", str(pickle)]) == 2
    assert "is safetensors already" in capsys.readouterr().err


def test_a_full_disk_while_it_is_converted_is_told_with_its_place(published, monkeypatch):
    def full(*_, **__):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("confiner_cli.weights.tensors.save_file", full)
    with pytest.raises(ConfinerError, match="no room left on the disk for") as caught:
        convert(published / "lavie_base.pt", published / "lavie_base.safetensors")
    assert str(published) in caught.value.hint and "output.dir" not in caught.value.hint
    assert {path.name for path in published.iterdir()} == {"config.json", "lavie_base.pt"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_in_another_precision_nothing_of_it_keeps_the_file_mapped(published, suffix):
    path = published / f"lavie_base{suffix}"
    if suffix == ".safetensors":
        convert(published / "lavie_base.pt", path)
    unet = lavie.load(Components("temporal", (path,), CPU, torch.bfloat16))
    assert next(unet.parameters()).dtype == torch.bfloat16
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_half_precision_keeps_the_angles(published):
    unet = load_unet(published / "lavie_base.pt").to(torch.bfloat16)
    table = unet.get_buffer(
        "mid_block.attentions.0.transformer_blocks.0.attn_temp.rotary_emb.freqs"
    )
    assert table.dtype == torch.float32
    assert answer(published, dtype=torch.bfloat16).isfinite().all()


def test_without_a_config_it_is_the_published_architecture(published):
    (published / "config.json").unlink()
    with pytest.raises(
        ConfinerError, match=r"is no LaVie UNet: it lacks .* and has other shapes of"
    ):
        load_unet(published / "lavie_base.pt")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_refused_and_not_run(published, tmp_path):
    for number, write in enumerate((lambda value, file: torch.save(value, file), raw_pickle)):
        write({"ema": Bomb(tmp_path / f"ran-{number}")}, published / "lavie_base.pt")
        with pytest.raises(ConfinerError, match="refused") as caught:
            load_unet(published / "lavie_base.pt")
        assert caught.value.exit_code == 2
    assert not list(tmp_path.glob("ran-*"))


def raw_pickle(value, path):
    path.write_bytes(pickle.dumps(value, protocol=2))


FAULTS = {
    "missing": (lambda tensors: tensors.popitem(), "lacks 1 tensors"),
    "unknown": (
        lambda tensors: tensors.update(extra=torch.zeros(1)),
        r"has unknown 1 tensors \(extra",
    ),
    "shape": (
        lambda tensors: tensors.update({"conv_in.bias": torch.zeros(7)}),
        r"has other shapes of .*conv_in\.bias",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_tensors_that_are_not_lavies_are_named(published, fault):
    tensors = {
        key: value.clone() for key, value in read_tensors(published / "lavie_base.pt").items()
    }
    change, words = FAULTS[fault]
    change(tensors)
    save_file(tensors, published / "lavie_base.safetensors")
    with pytest.raises(ConfinerError, match=words):
        answer(published)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"<!doctype html><html>404</html>", "cut"], ids=["empty", "html", "cut"]
)
def test_a_damaged_file_is_named(published, suffix, content):
    convert(published / "lavie_base.pt", published / "lavie_base.safetensors")
    path = published / f"lavie_base{suffix}"
    path.write_bytes(path.read_bytes()[:5000] if content == "cut" else content)
    with pytest.raises(
        ConfinerError, match=rf"lavie_base\{suffix} (is refused|cannot be read)"
    ) as caught:
        load_unet(path)
    assert caught.value.exit_code == 2


def test_a_folder_without_a_checkpoint_says_what_it_looked_for(tmp_path):
    with pytest.raises(
        ConfinerError, match=r"no checkpoint: .*lavie_base\.safetensors and .*lavie_base\.pt"
    ):
        answer(tmp_path)


def test_a_config_of_another_architecture_is_named(published):
    (published / "config.json").write_text(json.dumps({**tiny.LAVIE, "act_fn": "gelu"}))
    with pytest.raises(ConfinerError, match=r"config\.json is no config of LaVie's UNet: act_fn"):
        load_unet(published / "lavie_base.pt")
