"""Several seeds at once: a batch whose samples know nothing of each other."""

from dataclasses import dataclass, replace

import pytest
import torch
from support.pipelines import SCHEDULES, latents, pipeline_of, structures
from support.toy_experts import Networked, tanh_network
from torch import Tensor

from confiner_cli.method.estimate import Estimate, estimate
from confiner_cli.method.guidance import Guided
from confiner_cli.method.long.pingpong import as_shown, continuation
from confiner_cli.method.long.prompt_travel import for_frames
from confiner_cli.method.noise import frames_noise
from confiner_cli.method.options import (
    GuidanceOptions,
    LongVideoOptions,
    RefinementOptions,
    StructureOptions,
)
from confiner_cli.method.schedule import Schedule

SEEDS = (3, 11, 7)
LONG = {"num_frames": 20, "segment_frames": 8, "overlap": 2}
CONTROL = Networked(SCHEDULES["control"], "v_prediction")
CASES = {
    "short": {},
    "steady": {"refinement": RefinementOptions(("temporal_first",) * 3, frame_noise="shared")},
    "averaged": {"refinement": RefinementOptions(("averaged", "slow_from_temporal"))},
    "unipc": {"structure": StructureOptions(num_inference_steps=6, solver="unipc")},
    "fresh": {"structure": StructureOptions(num_inference_steps=3, renoise=0.7)},
    "long": LONG,
    "coherent": LONG | {"long_video": LongVideoOptions(consistency=0.6, coherence=0.1)},
    "by index": LONG | {"long_video": LongVideoOptions(coherence=0.1, align="frame")},
    "by window": LONG | {"long_video": LongVideoOptions(shuffle="none", noise_by="window")},
    "turning": LONG | {"long_video": LongVideoOptions(turn=True)},
    "guided": {"control": Guided(CONTROL, replace(CONTROL, network=lambda x, t: torch.sin(x)),
                                 GuidanceOptions(2.0))},
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Moving:
    """Draws a motion in one direction where a sample's noise says so, else a still picture."""

    schedule: Schedule

    def __call__(self, x_t: Tensor, t: float) -> Estimate:
        sign = (x_t.mean(dim=(1, 2, 3, 4), keepdim=True) > 0).to(x_t)
        places = torch.arange(x_t.shape[2]).to(x_t).view(1, 1, -1, 1, 1)
        return estimate("sample", x_t, (sign * places).expand_as(x_t), self.schedule.level(t))


def distance(one, other):
    """In norms of the difference over norms."""
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_sample_of_a_batch_is_the_video_that_its_seed_makes_alone(case):
    together = latents(pipeline_of(**case, seeds=SEEDS))
    alone = [latents(pipeline_of(**case, seeds=(seed,))) for seed in SEEDS]
    assert together.shape[0] == len(SEEDS)
    for sample, own in zip(together, alone, strict=True):
        assert distance(sample, own[0]) < 1e-5
    assert distance(together[0], together[1]) > 0.1


def test_noise_of_a_sample_has_the_bits_that_it_has_alone():
    batch = pipeline_of(**LONG, seeds=SEEDS)
    for sample, seed in enumerate(SEEDS):
        alone = pipeline_of(**LONG, seeds=(seed,))
        assert torch.equal(batch.initial_noise(2)[sample], alone.initial_noise(2)[0])
        assert torch.equal(
            batch.renoise(1, 3, "spatial")[sample], alone.renoise(1, 3, "spatial")[0]
        )
        frames = frames_noise((4, 8, 8), range(8), seed, "base")
        assert torch.equal(alone.initial_noise(0), frames)


def test_each_sample_turns_where_its_own_motion_would_jump():
    control = Moving(SCHEDULES["control"])
    case = LONG | {"long_video": LongVideoOptions(turn=True), "control": control}
    seeds = tuple(range(8))
    together = list(structures(pipeline_of(**case, seeds=seeds)))
    alone = [list(structures(pipeline_of(**case, seeds=(seed,)))) for seed in seeds]
    for number, made in enumerate(together):
        assert made.backwards == tuple(own[number].backwards[0] for own in alone)
    assert set(together[1].backwards) == {True, False}


def test_how_a_batch_goes_on_is_how_its_samples_go_on():
    before = tanh_network(torch.arange(4 * 4 * 8 * 64).view(4, 4, 8, 8, 8) / 1000.0, 300)
    backwards = (False, True, True, False)
    together = continuation(before, backwards)
    for sample, own in enumerate(backwards):
        alone = continuation(before[sample : sample + 1], (own,))
        assert together.backwards[sample] == alone.backwards[0]
        assert torch.equal(together.target[sample], alone.target[0])
        assert torch.equal(together.weight[sample], alone.weight[0])
    assert torch.equal(as_shown(as_shown(before, backwards), backwards), before)


def test_frames_of_several_prompts_are_estimated_sample_by_sample():
    expert = Networked(SCHEDULES["spatial"])
    other = replace(expert, network=lambda x, t: torch.sin(x))
    travel = for_frames({0: expert, 3: other, 5: expert}, range(1, 8))
    x_t = torch.cat([frames_noise((4, 8, 8), range(7), seed, "x") for seed in SEEDS])
    together = travel(x_t, 100)
    for sample in range(len(SEEDS)):
        alone = travel(x_t[sample : sample + 1], 100)
        assert distance(together.clean[sample], alone.clean[0]) < 1e-5


def test_a_video_that_is_given_is_the_draft_of_every_sample():
    def given(span):
        return torch.full((1, 4, len(span), 8, 8), float(span.start))

    batch = replace(pipeline_of(**LONG, seeds=SEEDS), source_latents=given)
    for made in structures(batch):
        assert made.latents.shape[0] == len(SEEDS) == len(made.backwards)
        assert torch.equal(made.latents[2], given(batch.timeline.structure(made.number))[0])
