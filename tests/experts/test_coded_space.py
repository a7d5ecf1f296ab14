"""Real VAEs of two latent spaces, and a walk between them."""

import pytest
import torch
from support.crossings import there_and_back

from confiner_cli.config.resolve import resolve
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.coded_space import coded_space
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.runs.provenance import settings_of_words
from wan.folder import WanFolder
from world.render import render
from world.scene import Scene

FRAMES, SIDE = 5, 32


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    folder = WanFolder(tmp_path_factory.mktemp("coded") / "wan", tiny=True)
    folder.write()
    return folder.root


def space_of(role, *words):
    job = resolve(settings_of_words(["prompt=x", "scheduler=confiner_9", "num_frames=9", *words]))
    loading = (torch.device("cpu"), torch.float32, POLICIES["high"], NetworkCache())
    return coded_space(role, job.experts[role], *loading)


@pytest.fixture(scope="module")
def spaces(wan):
    """That of the embedded VAE, and that of a random Wan."""
    words = ("experts=tiny", "experts/temporal=wan21_1_3b", f"experts.temporal.model={wan}")
    return space_of("spatial", *words), space_of("temporal", *words)


@pytest.fixture(scope="module")
def video():
    """`(1, 3, frame, height, width)`, in [-1, 1]."""
    clip = render(Scene("heart", "red", "moving left", "sea"), frames=FRAMES)[..., :SIDE, :SIDE]
    return (2 * clip.transpose(0, 1) - 1)[None]


def test_pixels_become_latents_of_the_space_and_come_back(spaces, video):
    for coded in spaces:
        latents = coded.encode(video.expand(2, -1, -1, -1, -1))
        shape = coded.space.shape(SIDE, SIDE)
        assert latents.shape == (2, shape[0], coded.space.length(FRAMES), *shape[1:])
        pixels = coded.decode(latents)
        assert pixels.shape == (2, *video.shape[1:]) and pixels.dtype == torch.float32
        assert torch.equal(pixels[0], pixels[1]) and pixels.abs().max() <= 1


def test_ten_crossings_between_two_vaes_drift_by_nothing_with_residuals(spaces, video):
    """What replacing loses is what both VAEs lose: the random one all there is."""
    embedded, wan = spaces
    for here, there in ((embedded, wan), (wan, embedded)):
        start = here.encode(video)
        assert there_and_back(start, here, there, residual=True, crossings=10) < 0.01
        assert there_and_back(start, here, there, residual=False, crossings=2) > 0.1


def test_a_vae_of_another_space_than_is_stated_is_refused():
    words = ("experts=tiny", "experts.temporal.latent_space=wan21", "experts.temporal.vae=true")
    with pytest.raises(ConfinerError, match=r"latent_space=wan21 has 4 frames a latent.* 1$"):
        space_of("temporal", *words, "experts.temporal.shared=embedded:shared")
