"""Wan's experts sample what diffusers' Wan pipelines do: same weights, texts, noise and steps."""

from __future__ import annotations

import shutil

import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
    WanVideoToVideoPipeline,
)
from diffusers.schedulers import scheduling_flow_match_euler_discrete as euler
from PIL import Image
from support.pipelines import plain

from confiner_cli.config.hydra import settings_with
from confiner_cli.config.resolve import resolve
from confiner_cli.experts.loading import load_expert
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.spec import ExpertSpec
from confiner_cli.method.options import GuidanceOptions, StructureOptions
from confiner_cli.method.pipeline import sample_structure
from confiner_cli.method.refinement import refine
from confiner_cli.method.solvers import SOLVERS
from confiner_cli.method.structure import sample, step_schedule
from confiner_cli.method.walk import Visit
from confiner_cli.runs.loaded_pipeline import load_pipeline
from wan.folder import SCHEDULER, WanFolder

PROMPT, NEGATIVE = "a red heart rising over the sea", "a blue star"
FRAMES, LATENTS = (9, 32, 48, 3), (1, 16, 3, 4, 6)
SIZE = {"height": 32, "width": 48}
UNIPC = {
    "ddim": {"solver_order": 1, "disable_corrector": list(range(20))},
    "unipc": {"solver_order": 2},
}
"""diffusers' UniPC, by the names of the solvers that it is."""
FASTWAN = (1000.0, 757.0, 522.0)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A Wan 2.1, and the second network of a 2.2."""
    folder = WanFolder(tmp_path_factory.mktemp("written") / "wan", tiny=True)
    folder.write()
    folder.transformer("transformer_2")
    return folder.root


@pytest.fixture(scope="module")
def wan(written):
    """diffusers' pipeline of it."""
    pipeline = WanPipeline.from_pretrained(written, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def cache():
    return NetworkCache()


@pytest.fixture
def loaded(written, cache, tmp_path):
    """Loads it as the command does, in a folder that states the scheduler, to be asked `words`."""

    def load(scheduler, *words, num_frames=FRAMES[0]):
        folder = shutil.copytree(written, tmp_path / "wan")
        scheduler.save_pretrained(folder / "scheduler")
        places = [f"experts.{role}.model={folder}" for role in ("control", "temporal")]
        sizes = [f"{name}={value}" for name, value in SIZE.items()]
        asked = [f"prompt={PROMPT}", f"negative_prompt={NEGATIVE}", f"num_frames={num_frames}"]
        here = ["experts=wan", "device=cpu", "seed=3", *places, *sizes, *asked]
        return load_pipeline([resolve(settings_with([*here, *words]))], cache)

    return load


@pytest.fixture
def theirs(wan):
    """What the pipeline makes of noise in so many steps: latents, unless it is told otherwise."""

    def make(scheduler, noise, steps, num_frames=FRAMES[0], output_type="latent", guidance=5.0):
        pipeline = WanPipeline(**{**wan.components, "scheduler": scheduler})
        pipeline.set_progress_bar_config(disable=True)
        return pipeline(
            PROMPT, NEGATIVE, **SIZE, num_frames=num_frames, latents=noise, guidance_scale=guidance,
            num_inference_steps=steps, output_type=output_type,
        ).frames  # fmt: skip

    return make


def unipc(solver="unipc", shift=3.0):
    """As Wan's folders state it, but for what makes another solver of it."""
    stated = {**SCHEDULER, "flow_shift": shift, **UNIPC[solver]}
    return UniPCMultistepScheduler.from_config(stated)


def alone(count, solver="unipc", shift=3.0):
    """The temporal expert from noise to clean, guided as its config says."""
    steps = f"scheduler.structure.num_inference_steps={count}"
    how = f"scheduler.structure.solver={solver}"
    return "scheduler=temporal_alone", steps, how, f"experts.temporal.flow_shift={shift}"


def ours(loaded):
    """The noise that a structure begins with, and its latents."""
    pipeline = loaded.pipeline
    return pipeline.initial_noise(0), sample_structure(pipeline, 0, None, plain).latents


def drawn(seed, shape=LATENTS):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_equal(ours, theirs):
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == torch.float32
    assert (ours - theirs).abs().max() < 1e-5 * theirs.std()


@pytest.mark.parametrize("shift", [3.0, 8.0])
@pytest.mark.parametrize("solver", UNIPC)
def test_the_temporal_expert_alone_is_wans_pipeline(solver, shift, loaded, theirs):
    scheduler = unipc(solver, shift)
    noise, found = ours(loaded(scheduler, *alone(6, solver, shift)))
    assert_equal(found, theirs(scheduler, noise, steps=6))


@pytest.mark.parametrize("shift", [3.0, 5.0])
def test_at_the_timesteps_of_euler_it_is_the_pipeline_with_euler(shift, loaded, theirs):
    """Which counts them in fractions, and shifts them in its own way."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(6)
    listed = f"scheduler.structure.timesteps={scheduler.timesteps.tolist()}"
    words = "experts.temporal.flow_shift=null", "experts.temporal.whole_timesteps=false"
    noise, found = ours(loaded(scheduler, *alone(6, "ddim"), *words, listed))
    assert_equal(found, theirs(scheduler, noise, steps=6))


def one_of_the_pair(network, guidance_scale, written, cache):
    spec = ExpertSpec(
        family="wan", model=str(written), network=network, latent_space="wan21",
        prediction_type="flow_prediction", flow_shift=3.0, whole_timesteps=True,
    )  # fmt: skip
    expert = load_expert(
        "temporal", spec, torch.device("cpu"), torch.float32, POLICIES["high"], cache
    )
    return expert.condition(PROMPT, NEGATIVE, GuidanceOptions(guidance_scale))


@pytest.mark.parametrize("solver", UNIPC)
def test_visits_of_two_experts_chosen_by_noise_are_wan_2_2(solver, written, cache, wan):
    """A solver with memory goes on across the boundary, as diffusers' scheduler does."""
    high = one_of_the_pair("transformer", 5.0, written, cache)
    low = one_of_the_pair("transformer_2", 3.0, written, cache)
    steps = step_schedule(StructureOptions(num_inference_steps=8), high.schedule)
    asked = [high if high.schedule.told(t) >= 875 else low for t in steps.timesteps]
    assert (asked.count(high), asked.count(low)) == (3, 5)
    visits = [
        Visit("temporal", expert, t, solve=SOLVERS[solver])
        for expert, t in zip(asked, steps.timesteps, strict=True)
    ]
    *_, last = sample(drawn(1), visits, steps)

    second = WanTransformer3DModel.from_pretrained(written / "transformer_2", local_files_only=True)
    both = {**wan.components, "transformer_2": second, "scheduler": unipc(solver)}
    pipeline = WanPipeline(**both, boundary_ratio=0.875)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        PROMPT, NEGATIVE, **SIZE, num_frames=FRAMES[0], latents=drawn(1), output_type="latent",
        num_inference_steps=8, guidance_scale=5.0, guidance_scale_2=3.0,
    ).frames  # fmt: skip
    assert_equal(last.x_t, expected)


@pytest.mark.parametrize(("solver", "strength"), [("ddim", 0.8), ("unipc", 0.3)])
def test_a_video_that_is_handed_over_is_wans_video_to_video(solver, strength, loaded, wan):
    """At its timesteps: encoded, noised to the first of them, and walked down the others.

    It is given states: of texts this pipeline of diffusers makes none without ftfy.
    """
    random = torch.Generator().manual_seed(2)
    frames = torch.randint(256, FRAMES, generator=random, dtype=torch.uint8)
    here = loaded(unipc(), *alone(10))
    (denoiser,) = here.pipeline.denoisers["temporal"].values()
    timesteps = denoiser.schedule.steps(10)[-int(10 * strength) :]
    visits = [Visit("temporal", denoiser, t, solve=SOLVERS[solver]) for t in timesteps]
    # Of the first seed is the noise on arrival, theirs as ours.
    *_, last = refine(here.spaces["temporal"].encoder(frames), visits, drawn)

    parts = ("tokenizer", "text_encoder", "transformer", "vae")
    pipeline = WanVideoToVideoPipeline(
        **{name: wan.components[name] for name in parts}, scheduler=unipc(solver)
    )
    pipeline.set_progress_bar_config(disable=True)
    prompt, negative = wan.encode_prompt(PROMPT, NEGATIVE, max_sequence_length=512)
    expected = pipeline(
        [Image.fromarray(frame.numpy()) for frame in frames], **SIZE, output_type="latent",
        prompt_embeds=prompt, negative_prompt_embeds=negative, guidance_scale=5.0,
        num_inference_steps=10, strength=strength, generator=torch.Generator().manual_seed(0),
    ).frames  # fmt: skip
    assert_equal(last.x_t, expected)


class AtFastWansTimesteps(FlowMatchEulerDiscreteScheduler):
    """Fresh noise at each of them, whatever number of steps is asked for."""

    def __init__(self):
        super().__init__(stochastic_sampling=True)

    def set_timesteps(self, num_inference_steps=None, device=None):
        super().set_timesteps(sigmas=[t / 1000 for t in FASTWAN], timesteps=[*FASTWAN])


def test_fastwans_draft_is_eulers_stochastic_sampling(loaded, theirs, monkeypatch):
    here = loaded(unipc(), "scheduler=draft_refine")
    assert (here.pipeline.structure.timesteps, here.pipeline.structure.renoise) == (FASTWAN, 1)
    noise, found = ours(here)
    # Its step to clean draws noise, too, of which it takes nothing.
    fresh = (here.pipeline.structure_noise(0, visit) for visit in (1, 2, 3))
    monkeypatch.setattr(euler, "randn_tensor", lambda *_, **__: next(fresh))
    assert_equal(found, theirs(AtFastWansTimesteps(), noise, steps=3, guidance=1.0))
    assert next(fresh, None) is None


def test_a_still_is_a_video_of_one_frame(loaded, theirs):
    noise, found = ours(loaded(unipc(), *alone(6), num_frames=1))
    assert found.shape[2] == 1
    assert_equal(found, theirs(unipc(), noise, steps=6, num_frames=1))


@pytest.mark.parametrize("num_frames", [1, 9])
def test_frames_are_those_of_the_pipeline(num_frames, loaded, theirs):
    here = loaded(unipc(), *alone(4), num_frames=num_frames)
    noise, latents = ours(here)
    found = torch.stack(list(here.decoder(latents)))
    (expected,) = theirs(unipc(), noise, 4, num_frames, output_type="np")
    assert found.shape == expected.shape == (num_frames, *FRAMES[1:])
    assert abs(found.numpy() - 255 * expected).max() <= 1
    assert expected.std() > 0.05
