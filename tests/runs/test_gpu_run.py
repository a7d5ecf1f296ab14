"""A run on a GPU: the thread that samples waits twice a stage, and for no frames at all."""

from __future__ import annotations

import copy
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file
from support.command_line import confiner, facts_of, generate
from support.fake_gpu import CPU, GPU
from support.fake_gpu_networks import fake_gpu_with_networks
from support.pipelines import latents, refined

from confiner_cli.config.resolve import resolve
from confiner_cli.errors import FailedError
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.experts.picture_vae import PictureDecoder, PictureEncoder
from confiner_cli.media.video import read_video
from confiner_cli.method.noise import keyed_noise
from confiner_cli.method.transfer import onto
from confiner_cli.runs.loaded_pipeline import load_pipeline
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.partial import PartialRun
from confiner_cli.runs.provenance import settings_of_words
from confiner_cli.runs.record import RunRecord
from confiner_cli.runs.tasks import Kind

SMALL = ("prompt=a red heart", "seed=3", "dtype=float32", "height=16", "width=16")
SHORT = (*SMALL, "num_frames=2", "scheduler=confiner_9", "scheduler.guidance_interval=[0.35,1.0]")
LONG = (
    *SMALL, "num_frames=5", "at=3:a blue star", "long_video=confiner_long",
    "long_video.segment_frames=4", "long_video.window_overlap=2", "long_video.coherence=0.2",
    "scheduler=confiner_9",
)  # fmt: skip
VIDEOS = ("structure.mp4", "video.mp4")


def steps(count):
    stages = ("structure", "refinement")
    return [f"scheduler.{stage}.num_inference_steps={count}" for stage in stages]


def job_of(*words):
    return resolve(settings_of_words([*SMALL, *words]))


def made_there(*words):
    """A run's folder, and what happened meanwhile."""
    with fake_gpu_with_networks() as gpu:
        return generate(*words, "device=cuda:0").folder, gpu.notes


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A structure and a window."""
    return made_there(*SHORT, *steps(1), f"output.dir={tmp_path_factory.mktemp('run') / 'run'}")


def waits_of(notes):
    return Counter(note.what for note in notes if note.waits and note.sampling)


def test_the_sampling_thread_waits_for_what_failed_and_has_waited_for_what_goes_to_disk(made):
    assert waits_of(made[1]) == {"to cpu": 2, "event": 2}


def test_latents_are_written_when_the_gpu_has_something_else_to_do(monkeypatch, tmp_path):
    told, put, coded = [], PartialRun.put, PictureDecoder._coded

    def putting(store, task, result):
        told.append(task.kind)
        put(store, task, result)

    def coding(*given):
        told.append("decode")
        return coded(*given)

    monkeypatch.setattr(PartialRun, "put", putting)
    monkeypatch.setattr(PictureDecoder, "_coded", coding)
    made_there(*SHORT, *steps(1), f"output.dir={tmp_path / 'run'}")
    of_structure = (Kind.PREVIEW, "decode", Kind.STRUCTURE)
    of_window = (Kind.CHUNK, "decode", Kind.WINDOW)
    assert told == [*of_structure, *of_window]


def test_what_a_gpu_has_made_is_written_when_the_run_is_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr(PictureDecoder, "parts", mock.Mock(side_effect=KeyboardInterrupt))
    with fake_gpu_with_networks():
        run = f"output.dir={tmp_path / 'run'}"
        assert confiner("generate", *SHORT, *steps(1), "device=cuda:0", run).code == 130
    kept = load_file(tmp_path / "run" / "parts" / "structure-000000.safetensors")
    assert kept["latents"].shape == (1, 4, 2, 2, 2) and kept["latents"].isfinite().all()


@pytest.mark.thorough
def test_it_waits_as_often_for_more_steps_and_for_each_part_of_a_long_video(tmp_path):
    for count in (1, 2):
        _, notes = made_there(*LONG, *steps(count), f"output.dir={tmp_path / str(count)}")
        assert waits_of(notes) == {"to cpu": 2 + 2, "event": 2 + 2}


def test_who_encodes_waits_for_the_frames(made):
    others = [note for note in made[1] if note.what == "event" and not note.sampling]
    copies = [note for note in made[1] if note.what == "to cpu" and not note.waits]
    latents_of_both_stages = 2
    assert len(others) == len(VIDEOS)
    # Of frames there are two copies: they, and whether they are finite.
    assert len(copies) == latents_of_both_stages + 2 * len(VIDEOS)


def test_the_videos_are_those_of_the_cpu(made, tmp_path):
    other = generate(*SHORT, *steps(1), "device=cpu", f"output.dir={tmp_path / 'run'}").folder
    for name in VIDEOS:
        here, there = read_video(made[0] / name), read_video(other / name)
        assert (here.int() - there.int()).abs().max() <= 1


def test_the_seconds_of_a_stage_are_those_that_the_gpu_was_busy(made):
    """From one event to another that of the tests takes a millisecond."""
    facts = facts_of(made[0])
    of_stage = {"structure": 1, "refinement": 3, "decode": len(VIDEOS)}
    for stage, events in of_stage.items():
        assert facts["seconds"][stage] == pytest.approx(events / 1000)


@contextmanager
def not_waiting(device):
    """In the body a GPU that is waited for is an error of torch's."""
    if device == "cpu":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_no_step_and_no_decoding_of_a_real_gpu_waits_for_it(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    words = ("num_frames=2", "scheduler=confiner_9", *steps(1), f"device={device}")
    loaded = load_pipeline([job_of(*words)], NetworkCache())
    loaded.load()

    def watch(stage, steps, total):
        for _ in range(total):
            with not_waiting(device):
                step = next(steps)
            yield step
        assert next(steps, None) is None  # here it is read whether all of them are finite

    window = torch.cat(list(refined(loaded.pipeline, watch)), dim=2)
    with not_waiting(device):
        parts = list(loaded.decoder.parts(window))
    assert window.device.type == device and len(list(parts[0])) == 2
    drawn = loaded.pipeline.initial_noise(0)
    assert torch.equal(drawn.cpu(), replace(loaded.pipeline, device=CPU).initial_noise(0))


@pytest.mark.thorough
@pytest.mark.parametrize("memory", ["balanced", "low"])
def test_networks_may_leave_the_gpu_meanwhile(memory):
    words = ("num_frames=2", "scheduler=confiner_9", *steps(1))
    expected = latents(load_pipeline([job_of(*words, "device=cpu")], NetworkCache()).pipeline)
    with fake_gpu_with_networks():
        job = job_of(*words, "device=cuda:0", f"memory={memory}")
        found = latents(load_pipeline([job], NetworkCache()).pipeline)
    assert (found.numbers - expected).abs().max() < 1e-4 * expected.std()


def narrow(vae):
    """The VAE in 16 bits, so that it overflows: by what a norm takes back in 32."""
    made = copy.deepcopy(vae).to(torch.float16)
    with torch.no_grad():
        made.decoder.conv_in.weight.mul_(30_000)
        made.decoder.conv_in.bias.mul_(30_000)
    return made


def test_whoever_takes_frames_that_overflowed_has_them_decoded_again():
    decoder = load_pipeline([job_of("num_frames=1", "device=cpu")], NetworkCache()).decoder
    overflowing = narrow(decoder.vae())
    there = replace(decoder.vae, key="narrow", load=lambda: overflowing)
    given = torch.full((1, 4, 3, 2, 2), 50.0)
    expected = torch.stack(list(replace(decoder, vae=there, batch=2)(given)))
    with fake_gpu_with_networks() as gpu, ThreadPoolExecutor(1) as encoder:
        cache = NetworkCache()
        here = replace(there, cache=cache, device=GPU, load=lambda: narrow(decoder.vae()))
        parts = list(replace(decoder, vae=here, batch=2).parts(onto(given, GPU)))
        assert not gpu.waits()
        found = [encoder.submit(list, part).result() for part in parts]
        assert cache.modules["narrow"].dtype == torch.float16 and not gpu.waits()
    frames = torch.stack([frame for part in found for frame in part])
    assert frames.float().std() > 0 and (frames.int() - expected.int()).abs().max() <= 1


def test_frames_that_overflow_in_float32_too_are_an_error_of_whoever_takes_them():
    decoder = load_pipeline([job_of("num_frames=1", "device=cpu")], NetworkCache()).decoder
    broken = copy.deepcopy(decoder.vae())
    with torch.no_grad():
        broken.decoder.conv_in.bias[0] = torch.nan
    with fake_gpu_with_networks():
        here = replace(decoder.vae, cache=NetworkCache(), device=GPU, load=lambda: broken)
        (part,) = replace(decoder, vae=here).parts(torch.ones(1, 4, 1, 2, 2))
        with pytest.raises(FailedError, match="decoded frames that are not finite"):
            list(part)


def test_a_given_video_is_encoded_with_one_look_at_whether_it_is_finite():
    job = job_of("num_frames=1", "device=cpu")
    decoder = load_pipeline([job], NetworkCache()).decoder
    given = keyed_noise((3, 16, 16, 3), 1, "frames").mul(50).add(128).clamp(0, 255).byte()
    parts = {"factor": 8, "channels": 4, "scaling_factor": decoder.scaling_factor, "batch": 1}
    expected = PictureEncoder(vae=decoder.vae, **parts)(given)
    with fake_gpu_with_networks() as gpu:
        load = partial(copy.deepcopy, decoder.vae())
        here = replace(decoder.vae, cache=NetworkCache(), device=GPU, load=load)
        found = PictureEncoder(vae=here, **parts)(given)
        assert waits_of(gpu.notes) == {"to cpu": 1}
    assert torch.allclose(found.numbers, expected, atol=1e-5)


def test_seconds_that_a_gpu_has_not_come_to_are_added_later():
    class Later:
        come = False

        def has_come(self):
            return self.come

        def since(self, earlier):
            return 2.0

    meter, later = Meter(), Later()
    meter._laps.append(("decode", None, Later(), later))
    assert "decode" not in meter.costs_after(RunRecord())["seconds"]
    later.come = True
    for _ in range(2):
        assert meter.costs_after(RunRecord())["seconds"]["decode"] == 2.0
