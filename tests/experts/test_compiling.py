"""Compiled networks: few graphs, the same answers, kept on disk, refused where nothing compiles."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import weakref
from dataclasses import replace

import pytest
import torch
from support.command_line import confiner
from support.family_experts import CPU, T, load, sample, spec_of
from torch._dynamo.testing import CompileCounter

from confiner_cli.cli import main
from confiner_cli.errors import ConfinerError, FailedError
from confiner_cli.experts.compiling import (
    CACHE,
    check_compiler,
    compiled,
    keep_what_is_compiled,
)
from confiner_cli.experts.families import FAMILIES, family_named
from confiner_cli.experts.loading import load_expert
from confiner_cli.experts.networks.frame_parts import alike
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.method.options import GuidanceOptions

# Of Python 3.13.0 torch says so; what is compiled is the same.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
]
GUIDED = GuidanceOptions(3.0, 0.5, 1.0)
STEPS = ((800, 14), (400, 14), (100, 14), (800, 10), (100, 10))
"""Timesteps, guided and not, of windows of two sizes."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE, str(tmp_path))
    torch._dynamo.reset()


def counted(family, networks, mode):
    """An expert, another whose network is compiled, the graphs, and the seconds that were told."""
    plain, cache = load(family, spec_of(family, networks)), NetworkCache()
    expert = load(family, spec_of(family, networks), cache=cache)
    graphs, seconds = CompileCounter(), []
    frames = 0 if family_named(family).FRAMEWISE else 2
    compiled(expert.network.unet(), mode, frames, family, seconds.append, graphs)
    network = replace(expert.network, compiling=mode)
    return plain, replace(expert, network=network, guidance_batched=False), graphs, seconds


def assert_same_answers(plain, expert, steps):
    denoisers = [each.condition("a heart", "a star", GUIDED) for each in (plain, expert)]
    for t, num_frames in steps:
        x_t = sample(num_frames, family=expert.network.family)
        one, other = (denoiser(x_t, t) for denoiser in denoisers)
        assert one.passes == other.passes
        assert (one.clean - other.clean).abs().max() < 1e-4 * one.clean.abs().max()


@pytest.mark.thorough
@pytest.mark.parametrize("family", FAMILIES)
def test_a_compiled_network_is_one_graph_for_all_steps_and_windows(family, tiny_networks):
    plain, expert, graphs, seconds = counted(family, tiny_networks, True)
    assert_same_answers(plain, expert, STEPS)
    assert graphs.frame_count == len(seconds) == 1


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(
            name, marks=pytest.mark.thorough if name == "stable_diffusion" else pytest.mark.slow
        )
        for name in FAMILIES
    ],
)
def test_compiled_blocks_are_few_graphs_and_in_the_end_windows_add_none(family, tiny_networks):
    plain, expert, graphs, seconds = counted(family, tiny_networks, "regional")
    assert_same_answers(plain, expert, STEPS[:3])
    assert 0 < graphs.frame_count <= 5 and len(seconds) == 1
    assert_same_answers(plain, expert, STEPS[3:])
    before = graphs.frame_count  # LaVie's blocks are told how many frames there are
    assert_same_answers(plain, expert, [(100, 12)])
    assert graphs.frame_count == before


@pytest.mark.thorough
def test_a_compiled_network_may_be_moved(tiny_networks):
    _, expert, graphs, _ = counted("lavie", tiny_networks, True)
    states = expert.text("a heart").states.double()
    unet = expert.network.unet().to("meta").to_empty(device="cpu").double()
    assert unet(sample(14).double(), torch.tensor(T), states).sample.dtype == torch.float64
    assert graphs.frame_count == 1


@pytest.mark.parametrize(("count", "most"), [(1, 8), (8, 8), (9, 8), (17, 8), (24, 8), (7, 2)])
def test_frames_are_cut_into_parts_alike_so_that_none_is_left_alone(count, most):
    frames = torch.arange(count)[None]
    parts = alike(frames, most, dim=1)
    lengths = [part.shape[1] for part in parts]
    assert torch.equal(torch.cat(parts, dim=1), frames)
    assert max(lengths) <= most and max(lengths) - min(lengths) <= 1
    assert len(parts) == -(-count // most)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:unclosed file <_io.Buffered:ResourceWarning")
def test_a_run_says_how_long_it_has_compiled(tmp_path, monkeypatch, capsys):
    eager = torch._dynamo.lookup_backend("eager")
    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda _: eager)
    monkeypatch.setattr("sys.argv", ["confiner"])
    words = [
        "compile=true",
        "scheduler=spatial_alone",
        "num_frames=2",
        f"output.dir={tmp_path / 'run'}",
    ]
    assert (
        main(
            ["generate", "prompt=a red heart", *words, "scheduler.structure.num_inference_steps=1"]
        )
        == 0
    )
    facts = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert facts["config"]["compile"] is True
    assert 0 < facts["seconds"]["compile"] < facts["seconds"]["total"]
    said = capsys.readouterr().err
    assert "compiling the spatial expert" in said and "compiled the spatial expert: " in said
    assert "VAE" not in said, "on a CPU it gains nothing"


def test_a_network_is_kept_by_how_it_is_compiled(tiny_networks):
    cache, spec = NetworkCache(), spec_of("lavie", tiny_networks)
    loading = (CPU, torch.float32, POLICIES["high"], cache)
    experts = [load_expert("temporal", spec, *loading, compiling=mode) for mode in (False, True)]
    assert [expert.guidance_batched for expert in experts] == [True, False]
    assert experts[0].network.unet() is not experts[1].network.unet()


def test_what_the_compiler_makes_is_kept_where_the_person_said(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv(CACHE, str(tmp_path / "own"))
    keep_what_is_compiled()
    assert os.environ[CACHE] == str(tmp_path / "own")
    monkeypatch.delenv(CACHE)
    keep_what_is_compiled()
    assert os.environ[CACHE] == str(tmp_path / "c" / "confiner" / "inductor")


def test_without_a_home_torch_chooses_where_it_is_kept(monkeypatch, tmp_path):
    monkeypatch.delenv(CACHE)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_what_is_compiled()
    assert CACHE not in os.environ


def test_a_library_leaves_the_environment_alone(monkeypatch):
    monkeypatch.delenv(CACHE)
    compiled(torch.nn.Linear(2, 2), True, 0, "a layer", print, CompileCounter())
    assert "confiner" not in os.environ.get(CACHE, "")  # torch may have written its own there


def test_a_closed_cache_holds_no_compiled_network(tiny_networks):
    cache = NetworkCache()
    loading = (CPU, torch.float32, POLICIES["high"], cache)
    spec = spec_of("stable_diffusion", tiny_networks)
    expert = load_expert("spatial", spec, *loading, compiling=True)
    alive = weakref.ref(expert.network.unet())
    cache.compile_seconds.append(1.0)
    cache.close()
    assert alive() is None


@pytest.mark.thorough
def test_the_next_process_finds_what_this_one_has_compiled(tmp_path):
    code = """
import torch
from torch._dynamo.utils import counters
from confiner_cli.experts.compiling import compiled
layer = torch.nn.Linear(4, 4)
compiled(layer, True, 0, "a layer", print)
with torch.no_grad():
    layer(torch.randn(3, 4)).relu()
print(counters["inductor"]["fxgraph_cache_hit"])
"""
    environment = {**os.environ, CACHE: str(tmp_path)}
    hits = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "compiled a layer: " in done.stderr
        hits.append(int(done.stdout.split()[-1]))
    assert hits == [0, 1]


@pytest.mark.parametrize("mode", [True, "regional"])
def test_without_a_compiler_it_is_refused_before_anything_is_loaded(mode, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    check_compiler(False, CPU)
    with pytest.raises(ConfinerError, match=r"compile=\w+ needs a C\+\+ compiler") as caught:
        check_compiler(mode, CPU)
    assert caught.value.exit_code == 2 and "compile=false" in caught.value.hint
    (tmp_path / "c++-12").touch(mode=0o755)
    monkeypatch.setenv("CXX", "c++-12")
    check_compiler(mode, CPU)


def test_a_gpu_needs_triton_and_a_c_compiler(monkeypatch, tmp_path):
    gpu, found = torch.device("cuda"), None
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ConfinerError, match="needs triton"):
        check_compiler(True, gpu)
    found = object()
    with pytest.raises(ConfinerError, match="needs a C compiler"):
        check_compiler(True, gpu)
    (tmp_path / "clang").touch(mode=0o755)
    check_compiler(True, gpu)


def test_a_missing_compiler_is_told_before_a_folder_is_made(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    ending = confiner("generate", "prompt=a heart", "compile=true", f"output.dir={tmp_path / 'a'}")
    assert ending.code == 2 and "needs a C++ compiler" in ending.err
    assert not (tmp_path / "a").exists()


def test_a_network_that_cannot_be_compiled_is_named(tiny_networks):
    def broken(*_):
        raise RuntimeError("no room")

    layer = torch.nn.Linear(2, 2)
    compiled(layer, True, 0, "the spatial expert", print, broken)
    with pytest.raises(FailedError, match="expert cannot be compiled: no room") as caught:
        layer(torch.randn(3, 2))
    assert caught.value.hint == "compile=false"


def test_memory_that_runs_out_in_a_compiler_is_told_as_ever():
    def hungry(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    layer = torch.nn.Linear(2, 2)
    compiled(layer, True, 0, "the spatial expert", print, hungry)
    with pytest.raises(torch.OutOfMemoryError):
        layer(torch.randn(3, 2))
