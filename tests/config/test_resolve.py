"""What cannot be had is refused by the name of who asked for it."""

import math
from dataclasses import replace

import pytest

from confiner_cli.config.hydra import settings_with
from confiner_cli.config.resolve import LARGEST_SEED, resolve
from confiner_cli.errors import ConfinerError


@pytest.fixture(scope="module")
def settings():
    return settings_with([])


def test_seeds_have_64_bits(settings):
    assert LARGEST_SEED == 2**64 - 1
    assert resolve(replace(settings, seed=LARGEST_SEED)).seed == LARGEST_SEED
    with pytest.raises(ConfinerError, match="out of range"):
        resolve(replace(settings, seed=LARGEST_SEED + 1))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("height", 65, r"^experts\.height=65 is not a multiple of 8"),
        ("fps", 0.5, r"^experts\.fps=0\.5 is out of range"),
        ("num_frames", 0, r"^experts\.num_frames=0 is out of range"),
        ("width", "64", r"^experts\.width='64' is not a whole number"),
    ],
)
def test_what_a_set_of_experts_says_is_not_told_as_if_a_person_had(settings, key, value, message):
    own = replace(settings, experts=replace(settings.experts, **{key: value}))
    with pytest.raises(ConfinerError, match=message):
        resolve(own)
    with pytest.raises(ConfinerError, match=message.replace(r"experts\.", "")):
        resolve(replace(settings, **{key: value}))


@pytest.mark.parametrize("threads", [0, -1, 1025, 10**10, 1.5, True, None, "two", "2", [1]])
def test_threads_are_auto_or_a_number_that_a_machine_may_have(settings, threads):
    assert resolve(replace(settings, threads="auto")).settings.threads == "auto"
    assert resolve(replace(settings, threads=1)).settings.threads == 1
    with pytest.raises(ConfinerError, match=r"^threads=") as refused:
        resolve(replace(settings, threads=threads))
    assert refused.value.hint == "threads= takes auto, or 1 to 1024"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"timesteps": [999, 757]}, "lists 2 timesteps for 3 steps"),
        ({"timesteps": [757, 999, 1]}, "do not fall"),
        ({"timesteps": [757, 757, 1]}, "do not fall"),
        ({"timesteps": [1000, 757, 1]}, "out of range"),
        ({"timesteps": [999, math.nan, 1]}, "out of range"),
        ({"step_noise": 1.5}, "out of range"),
        ({"step_noise": "new"}, "unknown"),
        ({"step_noise": "fresh", "solver": "unipc"}, "fresh noise ends"),
    ],
)
def test_steps_of_a_structure_that_cannot_be_are_refused(settings, changes, said):
    three = replace(settings.scheduler.structure, expert="spatial", num_inference_steps=3)
    scheduler = replace(settings.scheduler, structure=replace(three, **changes))
    with pytest.raises(ConfinerError, match=said) as refused:
        resolve(replace(settings, scheduler=scheduler))
    assert "scheduler.structure." in str(refused.value) and refused.value.hint


def test_a_frame_batch_is_a_whole_number(settings):
    with pytest.raises(ConfinerError, match=r"frame_batch=2\.5 is not a whole number"):
        resolve(replace(settings, frame_batch=2.5))
