import pytest
import torch

from confiner_cli.method.noise import frames_noise, keyed_noise

SHAPE = (4, 8, 8)


def test_equal_keys_give_equal_bits_whatever_was_drawn_before():
    first = keyed_noise(SHAPE, 7, "base", 3)
    torch.manual_seed(1)
    torch.randn(100)
    assert torch.equal(keyed_noise(SHAPE, 7, "base", 3), first)


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    keyed_noise(SHAPE, 7, "base", 3)
    assert torch.equal(torch.get_rng_state(), before)


OTHERS = {
    "seed": (8, "refinement", 1, 3),
    "64 bits": (2**64 - 1, "refinement", 1, 3),
    "purpose": (7, "base", 1, 3),
    "visit": (7, "refinement", 2, 3),
    "frame": (7, "refinement", 1, 4),
    "swapped": (7, "refinement", 3, 1),
    "joined": (7, "refinement", 13),
    "type": (7, "refinement", "1", 3),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_keys_that_differ_anywhere_give_unrelated_noise(other):
    one, two = keyed_noise((4, 64, 64), 7, "refinement", 1, 3), keyed_noise((4, 64, 64), *other)
    correlation = torch.corrcoef(torch.stack((one.flatten(), two.flatten())))[0, 1]
    assert abs(correlation) < 5 / (4 * 64 * 64) ** 0.5


def test_a_windows_noise_is_the_slice_of_a_larger_windows():
    whole = frames_noise(SHAPE, range(20), 7, "refinement", 2)
    assert whole.shape == (1, 4, 20, 8, 8)
    assert torch.equal(frames_noise(SHAPE, range(5, 12), 7, "refinement", 2), whole[:, :, 5:12])


def test_noise_does_not_depend_on_the_order_of_frames():
    whole = frames_noise(SHAPE, range(6), 7, "base")
    order = [4, 1, 5, 0, 3, 2]
    assert torch.equal(frames_noise(SHAPE, order, 7, "base"), whole[:, :, order])


def test_noise_is_standard_normal():
    noise = frames_noise((4, 32, 32), range(64), 7, "base")
    assert noise.dtype == torch.float32
    error = noise.numel() ** -0.5
    assert abs(noise.mean()) < 5 * error
    assert abs(noise.var() - 1) < 5 * 2**0.5 * error
    assert abs((noise**4).mean() - 3) < 5 * 96**0.5 * error
