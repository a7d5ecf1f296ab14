"""The check of a GPU, run on small networks: it prints what was made, counted and measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from support import tiny_networks as tiny

import gpu_check
from confiner_cli.config.schema import ROLES
from confiner_cli.costs.table import costs
from confiner_cli.errors import named_error
from confiner_cli.experts.loading import components_of
from confiner_cli.experts.networks.umt5 import UMT5TextModel
from confiner_cli.experts.offload import POLICIES, QUICK, NetworkCache
from confiner_cli.experts.prompt_states import PromptStates
from confiner_cli.experts.umt5_loading import umt5_text
from confiner_cli.runs.loaded_pipeline import load_pipeline
from gpu import measure
from gpu.measure import (
    Case,
    Row,
    Setup,
    costs_of,
    make_networks,
    runs_of,
    with_confiner,
)
from gpu.networks import Models, filled, random_weights
from gpu.tables import DASH, REFINED, limits, memories, ratios, runs, stages, waiting
from gpu.waits import by_kind
from wan.folder import TEXT_ENCODER, TINY

pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed file <_io.Buffered:ResourceWarning"
)  # imageio-ffmpeg's pipes

CPU = torch.device("cpu")
SMALL = ["--small", "--frames", "2", "--repeats", "1", "--device", "cpu"]
COUNTS = {
    "confiner_9": ((4, 10, 5), (4, 20, 10)), "confiner_9_unguided": ((4, 10, 5), (4, 10, 5)),
    "control_4": ((4, 0, 0), (4, 0, 0)),
    "temporal_2": ((0, 0, 2), (0, 0, 4)), "animatediff_4": ((4, 0, 0), (4, 0, 0)),
    "draft_refine": ((3, 0, 8), (3, 0, 16)), "draft_refine_unguided": ((3, 0, 8), (3, 0, 8)),
    "draft_3": ((3, 0, 0), (3, 0, 0)),
}  # fmt: skip
"""Evaluations and passes of control, spatial and temporal expert."""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine take longer than networks this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


NAMES = {
    "lavie_sd": ["confiner_9", "confiner_9_unguided", "control_4", "temporal_2", "animatediff_4"],
    "wan": ["draft_refine", "draft_refine_unguided", "draft_3", "temporal_2"],
}
"""Runs by set."""
ASKED = ["confiner_9", "confiner_9_unguided", "control_4", "draft_refine", "draft_refine_unguided",
         "draft_3", "animatediff_4", "temporal"]  # fmt: skip
"""Runs that are asked for, of which a set makes those that it can."""


@pytest.fixture(scope="module", params=NAMES)
def experts(request) -> str:
    """The name of a set."""
    return request.param


@pytest.fixture(scope="module")
def results(experts, tmp_path_factory) -> Path:
    """The folder that the command writes."""
    folder = tmp_path_factory.mktemp("gpu_check")
    words = ["--sets", experts, "--runs", *ASKED, "--temporal-steps", "2"]
    words += ["--memories", "high", "low", "--choices", "frame_batch=1", "no_such_setting=1"]
    words += ["output.structure=preview"] if experts == "wan" else []  # it has no such decoder
    assert gpu_check.main([*SMALL, *words, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def rows(results) -> list[dict]:
    return json.loads((results / "results.json").read_text(encoding="utf-8"))["rows"]


@pytest.fixture
def setup(tmp_path) -> Iterator[Setup]:
    """Small networks on the CPU."""
    with random_weights():
        yield Setup(Models(tmp_path, small=True), "cpu")


def case(experts: str, run: str = "confiner_9", **values) -> Case:
    overrides = runs_of(experts)[run]
    small = {"height": 64, "width": 64, "num_frames": 2, "overrides": overrides}
    return Case(experts=experts, run=run, **(small | values))


def test_every_run_is_a_row_and_the_first_is_one_with_each_memory_setting(rows, experts):
    names = NAMES[experts]
    expected = [(run, "none" if run == "animatediff_4" else "high") for run in names]
    expected += [(names[0], "low"), (f"{names[0]} frame_batch=1", "high")]
    assert sorted((row["run"], row["memory"]) for row in rows) == sorted(expected)
    assert [row["failure"] for row in rows] == [None] * len(rows)


def test_rows_count_the_evaluations_and_passes_that_the_methods_plan_has(rows):
    for row in rows:
        found = tuple(
            tuple(row[kind].get(role, 0) for role in ROLES) for kind in ("evaluations", "passes")
        )
        assert found == COUNTS[row["run"].split()[0]], row


def test_each_row_has_a_verified_video_and_its_seconds(rows):
    for row in rows:
        assert row["video_bytes"] > 500 and row["num_frames"] == 2
        # Of Wan's latents the fewest that have two frames have five.
        assert row["decoded_frames"] % (5 if row["experts"] == "wan" else 2) == 0
        assert row["decoded_frames"] >= row["num_frames"]
        assert row["first_seconds"] > 0 and row["seconds"] > 0
        assert (
            sum(value for stage, value in row["stages"].items() if stage != "encode")
            <= row["seconds"]
        )
        assert ("refinement" in row["stages"]) == row["run"].startswith(REFINED)


def test_the_tables_have_a_line_for_each_row(rows, results, experts):
    text = (results / "results.md").read_text(encoding="utf-8")
    tables = {part.partition("\n")[0]: part.count("\n|") - 2 for part in text.split("### ")[1:]}
    of_ours = [row for row in rows if row["run"] != "animatediff_4"]
    assert tables == {
        "Whole runs": len(rows), "Where the time goes": len(of_ours), "Memory": 2,
        "Times faster than the temporal expert alone": 3,
    }  # fmt: skip
    assert f"| {NAMES[experts][0]} | temporal_2 |" in text


def test_it_is_said_what_was_measured_with_what(results):
    facts = json.loads((results / "results.json").read_text(encoding="utf-8"))
    assert (facts["device"], facts["torch"], facts["dtype"]) == (
        "cpu",
        torch.__version__,
        "float32",
    )
    assert {"diffusers", "tokenizers", "confiner", "python", "command"} <= set(facts)
    assert facts["matmul TFLOP/s"] > 0
    assert f"- torch: {torch.__version__}" in (results / "results.md").read_text(encoding="utf-8")


def test_what_is_not_measured_on_a_cpu_and_not_known_of_small_networks_is_not_there(rows):
    unknown = ("peak_bytes", "reserved_bytes", "needed_bytes", "unet_flops", "vae_flops")
    assert {row[name] for row in rows for name in unknown} == {None}


@pytest.mark.parametrize(
    ("of", "run", "texts"),
    [
        ("lavie_sd", "confiner_9", 2),  # LaVie has Stable Diffusion's
        ("modelscope_sd", "confiner_9", 3),
        ("wan", "draft_refine", 1),
    ],
)
def test_networks_are_shared_and_rest_as_the_product_has_it(of, run, texts, setup):
    made = case(of, run)
    make_networks(made, setup)
    cache, job = setup.cache, made.job(setup)
    networks = len(cache.modules)
    assert networks == len(job.asked) + 1 + texts  # with the VAE
    assert len(cache.on_device) == 1
    with_confiner(job, "high", cache)
    assert set(cache.on_device.values()) == {*job.asked, "vae", "text"}
    measure.rest(cache)
    assert (len(cache.on_device), len(cache.modules)) == (0, networks)


def test_random_networks_are_the_same_each_time(setup):
    def latents() -> torch.Tensor:
        setup.cache.close()
        pipeline = load_pipeline([case("lavie_sd").job(setup)], setup.cache).pipeline
        return pipeline.denoisers["temporal"][0](pipeline.initial_noise(0), 500).clean

    assert torch.equal(latents(), latents())


def test_random_numbers_are_in_the_precisions_of_a_network_and_each_is_there_once():
    def tensors(build):
        made = filled(build, CPU, torch.bfloat16)
        return {name: tensor.dtype for name, tensor in made.state_dict().items()}, made

    kinds, made = tensors(tiny.wan_transformer)
    kept = {name for name, dtype in kinds.items() if dtype == torch.float32}
    assert {"scale_shift_table", "blocks.0.norm2.weight"} <= kept and len(kept) < len(kinds)
    assert torch.equal(made.rope.freqs_cos, tiny.wan_transformer().rope.freqs_cos)
    _, made = tensors(partial(UMT5TextModel.from_config, TEXT_ENCODER | TINY["text_encoder"]))
    assert made.shared.weight is made.encoder.embed_tokens.weight


def test_a_text_encoder_of_published_size_lies_in_a_file_that_is_treated_as_a_large_one(tmp_path):
    with random_weights():
        job = case("wan", "draft_refine").job(Setup(Models(tmp_path), "cpu"))
        components = components_of("temporal", job.experts["temporal"], CPU, torch.float32)
        (file,) = components.files("text_encoder")
        assert file.stat().st_size >= QUICK > file.stat().st_blocks * 512
        large = umt5_text(components, POLICIES["low"], NetworkCache())
    assert isinstance(large.encoder, PromptStates)
    assert not large.encoder.folder.exists(), "what is kept goes with the script"


def test_a_set_that_can_make_none_of_the_runs_is_told_with_those_that_it_can(capsys):
    assert gpu_check.main([*SMALL, "--sets", "wan", "--runs", "confiner_9"]) == 2
    told = capsys.readouterr().err
    assert "none of the set wan" in told and "--runs draft_refine " in told


def test_a_row_that_does_not_fit_says_so_and_the_next_is_made(monkeypatch, capsys):
    real = measure.execute_jobs

    def crowded(jobs, *others):
        (job,) = jobs
        if job.settings.memory == "low" or job.num_frames == 1:
            return real(jobs, *others)
        cause = torch.OutOfMemoryError("CUDA out of memory")
        raise named_error(cause) from cause

    monkeypatch.setattr(measure, "execute_jobs", crowded)
    of_one = ["--sets", "lavie_sd", "--runs", "control_4", "--choices"]
    arguments = [*of_one, "--memories", "high", "low"]
    assert gpu_check.main([*SMALL, *arguments]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| lavie_sd")]
    assert "out of memory" in lines[0] and "| high |" in lines[0]
    assert "out of memory" not in lines[1] and "| low |" in lines[1]


def test_operations_are_those_of_the_passes_that_were_counted(setup):
    job = case("lavie_sd", height=320, width=512, num_frames=16).job(setup)
    known = costs_of(job, "high", torch.bfloat16, {"control": 4, "spatial": 20, "temporal": 10}, 32)
    passes = {"animatediff": 4, "sd15": 20, "lavie": 10}
    counted = sum(times * costs()[name].flops(16, 320, 512) for name, times in passes.items())
    assert known["unet_flops"] == pytest.approx(counted)
    assert 2**33 < known["needed_bytes"] < 2**35
    half = costs_of(job, "high", torch.bfloat16, {"control": 4}, 16)
    assert known["vae_flops"] == 2 * half["vae_flops"] > 0


def test_operations_of_wan_are_those_of_its_own_networks(setup):
    job = case("wan", "draft_refine", height=480, width=832, num_frames=81).job(setup)
    known = costs_of(job, "high", torch.bfloat16, {"control": 3, "temporal": 16}, 81)
    table, size = costs(), (81, 480, 832)
    assert known["unet_flops"] == pytest.approx(19 * table["wan21_1_3b"].flops(*size))
    assert known["vae_flops"] == pytest.approx(table["wan21_vae"].flops(*size))
    assert 2**34 < known["needed_bytes"] < 2**35


def test_ratios_are_to_the_longest_run_of_the_temporal_expert_at_the_same_size():
    def row(
        run: str, seconds: float, sampling: float, passes: int, height: int = 320, **values
    ) -> Row:
        return Row(
            "lavie_sd", height, 512, 16, run, "high", seconds=seconds,
            stages={"structure": sampling}, passes={"temporal": passes}, unet_flops=passes * 1e12,
            vae_flops=1e12, **values,
        )  # fmt: skip

    made = [
        row("confiner_9", 2, 1, 9), row("temporal_100", 20, 19, 199), row("temporal_50", 11, 9, 99),
        row("temporal_100", 50, 49, 199, height=512),
        row("confiner_18", 3, 2, 18, failure="out of memory"),
    ]  # fmt: skip
    assert [*ratios(made)][2:] == [
        "| lavie_sd | 16x320x512 | confiner_9 | temporal_100 | 10.00 | 20.00 | 19.00 | 22.11 |"
    ]


def test_speed_is_operations_over_seconds_and_beside_a_product_of_matrices():
    row = Row(
        "lavie_sd", 320, 512, 16, "confiner_9", "high", first_seconds=3, seconds=2,
        unet_flops=100e12, vae_flops=10e12,
        stages={"load": 0.1, "structure": 0.25, "refinement": 0.75, "decode": 0.5, "files": 0.1},
        peak_bytes=2**33, needed_bytes=2**34,
    )  # fmt: skip
    assert [*stages([row], 400.0)][2].endswith("| 100.0 | 100.0 | 0.25 | 10.0 | 20.0 |")
    assert [*stages([row], None)][2].endswith(f"| 100.0 | 100.0 | {DASH} | 10.0 | 20.0 |")
    assert "| 3.00 | 2.00 | 8.00 |" in [*runs([row])][2]
    assert len([*memories([row])]) == 2  # nothing to compare


def test_a_whole_run_is_beside_what_its_operations_alone_would_take_and_its_target():
    row = Row(
        "modelscope_sd", 512, 512, 16, "confiner_9_unguided", "high", seconds=2,
        unet_flops=300e12, vae_flops=100e12,
    )  # fmt: skip
    assert [*limits([row], 800.0)][2].endswith("| 2.00 | 0.50 | 4.00 | 1.2 |")
    assert len([*limits([row], None)]) == 2


def test_waits_are_counted_by_what_the_profiler_calls_them():
    events = [
        ("Memcpy DtoH (Device -> Pageable)", 4), ("Memcpy DtoH (Device -> Pinned)", 8),
        ("Memcpy HtoD (Pinned -> Device)", 15), ("cudaStreamSynchronize", 4), ("gemm", 900),
    ]  # fmt: skip
    counts = by_kind(events)
    assert list(counts.values()) == [4, 8, 4, 0, 0]
    row = Row("lavie_sd", 320, 512, 16, "confiner_9", "high", waits=counts)
    assert [*waiting([row, case_row()])][2:] == [
        "| lavie_sd | 16x320x512 | confiner_9 | high | 0+0+0 | 4 | 8 | 4 | 0 | 0 |"
    ]


def case_row() -> Row:
    """A row of what is no GPU."""
    return Row("lavie_sd", 64, 64, 2, "confiner_9", "high")


def test_a_device_that_is_not_there_is_an_error_in_two_lines(capsys):
    assert gpu_check.main(["--small", "--device", "cuda:77"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "sets",
    [("lavie_sd", "modelscope_sd"), ("wan", "--sizes", "480x832")],
    ids=lambda sets: sets[0],
)
def test_networks_of_published_sizes_are_measured_on_a_gpu(sets, tmp_path):
    arguments = ["--frames", "5", "--repeats", "1", "--temporal-steps", "2", "--out", str(tmp_path)]
    names = ["confiner_9", "draft_refine", "temporal", "animatediff_4"]
    assert gpu_check.main([*arguments, "--sets", *sets, "--runs", *names]) == 0
    facts = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert facts["device"] == torch.cuda.get_device_name()
    for row in facts["rows"]:
        assert row["failure"] is None and row["peak_bytes"] > 2**30 and row["unet_flops"] > 1e12
    peaks = {
        row["memory"]: row["peak_bytes"]
        for row in facts["rows"]
        if row["run"] in ("confiner_9", "draft_refine")
    }
    assert peaks["low"] < peaks["balanced"] < peaks["high"]
