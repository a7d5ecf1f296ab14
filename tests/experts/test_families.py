"""The contract of every family of experts. A new family adds one row to EXPERTS."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from support import family_experts
from support.family_experts import CACHE, CPU, EXPERTS, ROLE_OF, T, distance, load, spec_of

from confiner_cli.cli import main
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.families import FAMILIES, family_named
from confiner_cli.experts.loading import load_decoder, load_expert
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.spec import ExpertSpec
from confiner_cli.method.options import GuidanceOptions

NETWORKS_OF = {
    "animatediff": ("unet", "motion_adapter"),
    "stable_diffusion": ("unet",),
    "modelscope": ("unet",),
    "lavie": (),
    "wan": ("transformer",),
}
"""Components that are folders; LaVie's network is a file, see test_lavie_checkpoint.py."""
WEIGHTS = [
    (family, part) for family, parts in NETWORKS_OF.items() for part in (*parts, "text_encoder")
]


def load_all(family: str, spec: ExpertSpec) -> None:
    """Load everything now, and nothing that was loaded before."""
    load(family, spec, cache=NetworkCache()).load()


GUIDED = GuidanceOptions(3.0)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def expert(family, tiny_networks):
    return load(family, spec_of(family, tiny_networks))


@pytest.fixture
def sample(family):
    """Makes samples in the family's latent space."""
    return partial(family_experts.sample, family=family)


@pytest.mark.parametrize(("num_frames", "batch"), [(1, 1), (3, 1), (5, 2), (16, 1)])
def test_an_estimate_has_the_samples_shape(expert, num_frames, batch, sample):
    x_t = sample(num_frames, batch)
    found = expert.condition("a heart")(x_t, T)
    for tensor in (found.clean, found.noise):
        assert (tensor.shape, tensor.dtype, tensor.device) == (x_t.shape, x_t.dtype, x_t.device)
        assert tensor.isfinite().all() and not tensor.requires_grad


def test_estimate_and_sample_agree_at_the_level(expert, sample):
    x_t = sample()
    found = expert.condition("a heart")(x_t, T)
    assert torch.allclose(expert.schedule.level(T).mix(found.clean, found.noise), x_t, atol=1e-5)


def test_a_call_leaves_its_input_alone(expert, sample):
    x_t = sample()
    expert.condition("a heart", "a star", GUIDED)(x_t, T)
    assert torch.equal(x_t, sample())


def test_the_same_call_has_the_same_answer_whatever_was_asked_between(expert, sample):
    denoiser = expert.condition("a heart", "a star", GUIDED)
    first = denoiser(sample(), T)
    denoiser(sample(5), 20)
    expert.condition("a circle")(sample(), T)
    again = denoiser(sample(), T)
    assert torch.equal(again.clean, first.clean) and torch.equal(again.noise, first.noise)


@torch.no_grad()
def test_every_sample_of_a_batch_has_its_own_text_and_nothing_of_the_others(expert, sample):
    batch, texts = sample(3, batch=2), [expert.text("a heart"), expert.text("a star")]
    t = torch.tensor([20.0, 800.0])
    together = expert.network(batch, t, texts[0].followed_by(texts[1]))
    apart = [expert.network(batch[[n]], t[n], texts[n]) for n in (0, 1)]
    assert torch.allclose(together, torch.cat(apart), atol=1e-5)
    exchanged = expert.network(batch, t, texts[1].followed_by(texts[0]))
    assert not torch.allclose(together, exchanged, atol=1e-3)


@pytest.mark.parametrize("guidance_batched", [True, False])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_every_sample_of_a_batch_is_answered_as_it_is_alone(
    family, tiny_networks, scale, guidance_batched, sample
):
    expert = load(family, spec_of(family, tiny_networks))
    expert = replace(expert, guidance_batched=guidance_batched)
    denoiser = expert.condition("a heart", "a star", GuidanceOptions(scale))
    batch = sample(2, batch=3)
    together = denoiser(batch, T)
    for number in range(3):
        alone = denoiser(batch[[number]], T)
        for ours, theirs in ((together.clean, alone.clean), (together.noise, alone.noise)):
            assert (ours[[number]] - theirs).abs().max() < 1e-5 * max(1, theirs.abs().max())


def test_frames_stay_in_their_order(family, expert, sample):
    """What the first frame shows is answered in the first frame."""
    x_t = sample(3)
    changed = x_t.clone()
    changed[:, :, 0] += 1.0
    moved = (
        (expert.condition("a heart")(changed, T).noise - expert.condition("a heart")(x_t, T).noise)
        .abs()
        .amax((0, 1, 3, 4))
    )
    assert moved.argmax() == 0 and moved[0] > 1e-3
    if family == "stable_diffusion":
        assert moved[1:].max() < 1e-5


def test_the_timestep_matters(expert, sample):
    denoiser = expert.condition("a heart")
    assert (denoiser(sample(), 20).noise - denoiser(sample(), 800).noise).abs().max() > 1e-3


def test_the_prompt_matters(expert, sample):
    assert (
        distance(expert.condition("a heart")(sample(), T), expert.condition("a star")(sample(), T))
        > 1e-4
    )


def test_with_guidance_the_negative_prompt_matters_and_an_estimate_costs_two_passes(expert, sample):
    plain, negative = (
        expert.condition("a heart", text, GUIDED)(sample(), T) for text in ("", "a star")
    )
    assert distance(plain, negative) > 1e-4
    assert plain.passes == negative.passes == 2


def test_guidance_scale_1_is_one_pass_without_the_negative_prompt(expert, sample):
    plain, negative = (expert.condition("a heart", text)(sample(), T) for text in ("", "a star"))
    assert torch.equal(plain.clean, negative.clean)
    assert plain.passes == negative.passes == 1


def test_guidance_goes_from_the_negative_prompt_through_the_prompt(expert, sample):
    c, u = (expert.condition(text)(sample(), T) for text in ("a heart", "a star"))
    found = expert.condition("a heart", "a star", GUIDED)(sample(), T)
    assert torch.allclose(found.noise, u.noise + 3.0 * (c.noise - u.noise), atol=1e-5)
    assert torch.allclose(found.clean, u.clean + 3.0 * (c.clean - u.clean), atol=1e-4)


def test_outside_the_guidance_interval_an_estimate_is_the_unguided_one(expert, sample):
    found = expert.condition("a heart", "a star", GuidanceOptions(3.0, 0.9, 1.0))(sample(), 20)
    assert found.passes == 1
    assert torch.equal(found.clean, expert.condition("a heart")(sample(), 20).clean)


def test_precision_is_the_experts_own_business(family, expert, tiny_networks, sample):
    rough = load(family, spec_of(family, tiny_networks), torch.bfloat16)
    exact, found = (chosen.condition("a heart")(sample(), T) for chosen in (expert, rough))
    assert found.clean.dtype == found.noise.dtype == torch.float32
    assert 0 < distance(exact, found) < 0.1 * exact.clean.abs().max()


def test_the_least_memory_changes_no_answer(family, expert, tiny_networks, sample):
    policy = replace(POLICIES["low"], frame_batch=2)
    small = load_expert(
        ROLE_OF[family], spec_of(family, tiny_networks), CPU, torch.float32, policy, CACHE
    )
    one, other = (each.condition("a heart", "a star", GUIDED) for each in (expert, small))
    exact = one(sample(5), T)
    assert distance(exact, other(sample(5), T)) < 1e-4 * exact.clean.abs().max()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_device_is_the_experts_own_business(family, expert, tiny_networks, sample):
    there = load_expert(
        ROLE_OF[family],
        spec_of(family, tiny_networks),
        torch.device("cuda"),
        torch.float32,
        POLICIES["high"],
        CACHE,
    )
    exact, found = (chosen.condition("a heart")(sample(), T) for chosen in (expert, there))
    assert found.clean.device == found.noise.device == CPU
    assert distance(exact, found) < 1e-3 * exact.clean.abs().max()


def test_a_network_is_loaded_once_whatever_its_guidance(family, tiny_networks):
    spec, cache = spec_of(family, tiny_networks), NetworkCache()
    load(family, spec, cache=cache).load()
    before = dict(cache.modules)
    load(family, replace(spec, guidance_scale=7.0), cache=cache).load()
    assert len(before) == 2 and dict(cache.modules) == before


@pytest.mark.parametrize(
    ("family", "part"), [*WEIGHTS, *((family, "tokenizer") for family in NETWORKS_OF)]
)
def test_a_missing_part_is_named_with_its_role(family, part, tiny_networks, tmp_path):
    networks = copied(tiny_networks, tmp_path)
    for folder in networks.rglob(part):
        shutil.rmtree(folder)
    with pytest.raises(
        ConfinerError, match=f"the {ROLE_OF[family]} expert has no {part}"
    ) as caught:
        load_all(family, spec_of(family, networks))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("family", "part"), WEIGHTS)
@pytest.mark.parametrize("damage", ["cut", "absent", "unreadable", "incomplete"])
def test_damaged_weights_are_named_with_their_part(family, part, damage, tiny_networks, tmp_path):
    networks = copied(tiny_networks, tmp_path)
    for path in networks.glob(f"*/{part}/*.safetensors"):
        spoil(path, damage)
    with pytest.raises(ConfinerError, match=rf"{part} in .* cannot be loaded") as caught:
        load_all(family, spec_of(family, networks))
    assert caught.value.exit_code == 2


def spoil(weights: Path, damage: str) -> None:
    tensors, content = load_file(weights), weights.read_bytes()
    weights.unlink()
    match damage:
        case "cut":
            weights.write_bytes(content[: len(content) // 2])
        case "unreadable":
            weights.write_bytes(b"not tensors")
        case "incomplete":
            tensors.popitem()
            save_file(tensors, weights, metadata={"format": "pt"})


def copied(networks: Path, folder: Path) -> Path:
    return Path(shutil.copytree(networks, folder / "networks"))


def test_running_out_of_memory_while_loading_is_not_called_damage(
    family, tiny_networks, monkeypatch
):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(family_named(family), "load", full)
    with pytest.raises(torch.OutOfMemoryError):
        load_all(family, spec_of(family, tiny_networks))
    monkeypatch.setattr(EXPERTS[family].text, "from_config", full)
    with pytest.raises(torch.OutOfMemoryError):
        load_all(family, spec_of(family, tiny_networks))


def test_a_text_encoder_of_another_width_is_refused(family, tiny_networks, tmp_path):
    networks = copied(tiny_networks, tmp_path)
    width, called = EXPERTS[family].width
    config = networks / EXPERTS[family].shared / "text_encoder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), called: 99}))
    with pytest.raises(
        ConfinerError, match=rf"reads texts of width {width}, its text encoder in .* writes 99"
    ):
        load(family, spec_of(family, networks))


@pytest.mark.parametrize("num_frames", [1, 5])
def test_decoding_a_few_frames_at_a_time_is_decoding_them_all(num_frames, tiny_networks):
    spec = spec_of("stable_diffusion", tiny_networks)
    whole = load_decoder("spatial", spec, CPU, torch.float32, POLICIES["high"], CACHE)
    latents = family_experts.sample(num_frames)
    frames = torch.stack(list(replace(whole, batch=64)(latents)))
    pieces = torch.stack(list(replace(whole, batch=2)(latents)))
    assert (
        frames.shape == (num_frames, 4 * whole.factor, 6 * whole.factor, 3)
        and frames.dtype == torch.uint8
    )
    assert (frames.int() - pieces.int()).abs().max() <= 1


SETS = {
    "confiner_9": {"control": "animatediff", "spatial": "stable_diffusion", "temporal": "lavie"},
    "draft_refine": {"control": "wan", "spatial": None, "temporal": "wan"},
}
"""Expert sets by the scheduler that they are sampled with."""
EVALUATIONS = {
    "confiner_9": {"control": 4, "spatial": 2, "temporal": 1},
    "draft_refine": {"control": 3, "spatial": 0, "temporal": 1},
}


@pytest.mark.filterwarnings(
    "ignore:unclosed file <_io.Buffered:ResourceWarning"
)  # imageio-ffmpeg's pipes
@pytest.mark.parametrize("scheduler", SETS)
def test_a_yaml_is_enough_for_experts_of_known_families(
    scheduler, tiny_networks, tmp_path, monkeypatch
):
    node = {"name": "mine", "height": 16, "width": 32, "num_frames": 5, "fps": 4}
    for role, family in SETS[scheduler].items():
        node[role] = family and stated(spec_of(family, tiny_networks))
    (tmp_path / "configs" / "experts").mkdir(parents=True)
    (tmp_path / "configs" / "experts" / "mine.yaml").write_text(
        yaml.safe_dump(node), encoding="utf-8"
    )
    monkeypatch.setattr("sys.argv", ["confiner"])
    run = tmp_path / "run"
    words = [
        "prompt=a heart",
        "experts=mine",
        f"scheduler={scheduler}",
        "scheduler.refinement.num_inference_steps=1",
        f"output.dir={run}",
    ]
    assert main(["generate", "--config-dir", str(tmp_path / "configs"), *words]) == 0
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert facts["status"] == "done" and facts["config"]["experts"]["name"] == "mine"
    assert facts["evaluations"] == EVALUATIONS[scheduler]


def stated(spec: ExpertSpec) -> dict:
    """What a spec says that is not said of every expert."""
    plain = asdict(ExpertSpec(family="", model=""))
    return {name: value for name, value in asdict(spec).items() if value != plain[name]}


def test_every_family_is_held_to_the_contract():
    assert set(EXPERTS) == set(NETWORKS_OF) == set(FAMILIES)
