"""Frames to latents: what the decoder makes frames of again, whatever the batch, never NaN."""

import copy
from dataclasses import replace

import pytest
import torch

from confiner_cli.config.hydra import settings_with
from confiner_cli.errors import FailedError
from confiner_cli.experts.loading import load_decoder, load_encoder
from confiner_cli.experts.loading_messages import collected
from confiner_cli.experts.offload import POLICIES, NetworkCache
from world.render import render
from world.scene import Scene

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def spatial():
    return settings_with([]).experts.spatial


@pytest.fixture(scope="module")
def cache():
    return NetworkCache()


@pytest.fixture(scope="module")
def encoder(spatial, cache):
    return load_encoder("spatial", spatial, CPU, torch.float32, POLICIES["high"], cache)


@pytest.fixture(scope="module")
def decoder(spatial, cache):
    return load_decoder("spatial", spatial, CPU, torch.float32, POLICIES["high"], cache)


@pytest.fixture(scope="module")
def frames():
    clip = render(Scene("heart", "red", "moving left", "sea"), frames=5)
    return clip.permute(0, 2, 3, 1).mul(255).round().to(torch.uint8)


def test_frames_come_back_from_their_latents(encoder, decoder, frames):
    latents = encoder(frames)
    assert latents.shape == (1, encoder.channels, 5, 64 // encoder.factor, 64 // encoder.factor)
    assert (latents.dtype, latents.device) == (torch.float32, CPU)
    error = torch.stack(list(decoder(latents))).float() - frames.float()
    assert (
        error.square().mean().sqrt() < 12
    )  # of 255; two neighbouring frames of the clip differ by more
    assert (frames[1:].float() - frames[:-1].float()).square().mean().sqrt() > 12


def test_latents_have_the_scale_of_the_noise(encoder, frames):
    assert 0.5 < encoder(frames).std() < 2


def test_frames_are_encoded_apart_in_any_batch(encoder, frames):
    whole = encoder(frames)
    for batch in (1, 2, 4):
        assert (replace(encoder, batch=batch)(frames) - whole).abs().max() < 1e-4
    assert (encoder(frames[3:4]) - whole[:, :, 3:4]).abs().max() < 1e-4


def test_pixels_are_the_frames_before_they_are_rounded(encoder, decoder):
    latents = torch.randn(1, 4, 5, 4, 4, generator=torch.Generator().manual_seed(1))
    pixels = torch.cat(list(replace(decoder, batch=2).pixels(latents)))
    assert pixels.shape == (5, 3, 32, 32) and pixels.abs().max() <= 1
    levels = ((pixels / 2 + 0.5) * 255).permute(0, 2, 3, 1)
    frames = torch.stack(list(decoder(latents)))
    assert 0.4 < (levels - frames).abs().max() < 0.51
    with torch.no_grad():
        expected = encoder.vae().encode(pixels).latent_dist.mode().transpose(0, 1)[None]
    found = encoder.of_pixels(pixels.split([1, 4])) / encoder.scaling_factor
    assert (found - expected).abs().max() < 1e-4


def test_no_noise_is_in_the_latents(encoder, frames):
    torch.manual_seed(1)
    once = encoder(frames)
    torch.manual_seed(2)
    assert torch.equal(encoder(frames), once)


def test_height_and_width_keep_their_places(encoder):
    frames = torch.zeros(1, 64, 32, 3, dtype=torch.uint8)
    frames[:, 32:] = 255
    latents = encoder(frames)
    assert latents.shape[-2:] == (8, 4)
    above, below = (
        latents[..., :3, :].mean(dim=(0, 2, 3, 4)),
        latents[..., 5:, :].mean(dim=(0, 2, 3, 4)),
    )
    left, right = latents[..., :2].mean(dim=(0, 2, 3, 4)), latents[..., 2:].mean(dim=(0, 2, 3, 4))
    assert (above - below).abs().max() > 5 * (left - right).abs().max()


def test_both_directions_share_one_network(encoder, decoder):
    assert decoder.vae() is encoder.vae()


def with_vae(coder, vae):
    handle = replace(coder.vae, key="another", cache=NetworkCache(), load=lambda: vae)
    return replace(coder, vae=handle)


def test_a_vae_that_overflows_in_16_bits_encodes_in_32(encoder, frames):
    narrow = copy.deepcopy(encoder.vae()).to(torch.float16)
    with torch.no_grad():  # what a norm takes back, but not in 16 bits
        narrow.encoder.conv_in.weight.mul_(100_000).clamp_(-60_000, 60_000)
    pixels = torch.full((1, 3, 64, 64), 1.0)
    with torch.no_grad():
        assert not torch.isfinite(narrow.encode(pixels.half()).latent_dist.mode()).all()
    with collected() as messages:
        latents = with_vae(encoder, narrow)(torch.full((1, 64, 64, 3), 255, dtype=torch.uint8))
        of_pixels = with_vae(encoder, narrow).of_pixels([pixels])
    assert narrow.dtype == torch.float16 and not messages
    assert torch.isfinite(latents).all() and latents.dtype == torch.float32
    assert torch.equal(of_pixels, latents)


def test_pixels_that_overflow_in_16_bits_are_decoded_in_32(decoder):
    narrow = copy.deepcopy(decoder.vae()).to(torch.float16)
    with torch.no_grad():
        narrow.decoder.conv_in.weight.mul_(30_000)
        narrow.decoder.conv_in.bias.mul_(30_000)
    latents = torch.full((1, 4, 1, 8, 8), 50.0)
    assert not torch.isfinite(narrow.decode(latents[:, :, 0].half() / 0.18).sample).all()
    (pixels,) = with_vae(decoder, narrow).pixels(latents)
    assert torch.isfinite(pixels).all() and pixels.std() > 0
    assert (narrow.dtype, pixels.dtype) == (torch.float16, torch.float32)


def test_damaged_weights_are_named(encoder, frames):
    broken = copy.deepcopy(encoder.vae())
    with torch.no_grad():
        broken.encoder.conv_in.bias[0] = torch.nan
    with pytest.raises(FailedError, match="encoded frames to latents that are not finite"):
        with_vae(encoder, broken)(frames)
