"""Training goes on after a kill as if nothing had happened, with more of what was learnt worst."""

import pytest
import torch
from torch import nn

from training import loop
from training.latents import Clips
from training.loop import Recipe, train
from world.scene import training_scenes

RECIPE = Recipe("line", steps=12, learning_rate=0.1, warmup=2, ema=0.9, rates={"bias": 2.0})


class Killed(BaseException):
    pass


def trained(folder, dies_at=None):
    torch.manual_seed(0)
    module, steps = nn.Linear(3, 1), []

    def loss(generator):
        steps.append(generator.initial_seed())
        if dies_at == len(steps):
            raise Killed
        x = torch.randn(8, 3, generator=generator)
        return (module(x) - x.sum(dim=1, keepdim=True)).square().mean()

    folder.mkdir(exist_ok=True)
    return train(RECIPE, module, loss, folder), steps


@pytest.mark.parametrize("dies_at", [1, 5, 12])
def test_a_killed_training_ends_with_the_same_bits(tmp_path, monkeypatch, dies_at):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole, steps = trained(tmp_path / "whole")
    with pytest.raises(Killed):
        trained(tmp_path / "cut", dies_at)
    resumed, rest = trained(tmp_path / "cut")
    assert rest == steps[dies_at - 1 :]
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value)
    again, none = trained(tmp_path / "cut")
    assert none == [] and torch.equal(again.weight, whole.weight)


def test_clips_over_one_background_can_be_doubled():
    scenes = list(training_scenes(1, 3))
    clips = Clips(torch.arange(len(scenes))[:, None], scenes, None, None)
    more = clips.with_more("night sky")
    nights = [index for index, scene in enumerate(scenes) if scene.background == "night sky"]
    assert 0 < len(nights) < len(scenes)
    assert more.latents[:, 0].tolist() == [*range(len(scenes)), *nights]
    assert more.scenes == scenes + [scenes[index] for index in nights]
