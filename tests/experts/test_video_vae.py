"""Videos to latents and back: the numbers of the whole at once, in the memory of a chunk."""

import copy
import gc
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.pipelines.wan.pipeline_wan_video2video import WanVideoToVideoPipeline
from support import tiny_networks
from support.fake_gpu import GPU
from support.fake_gpu_networks import fake_gpu_with_networks
from torch import Tensor

from confiner_cli.errors import ConfinerError, FailedError
from confiner_cli.experts.coders import decoder_of, encoder_of
from confiner_cli.experts.components import Components
from confiner_cli.experts.networks.causal_chunks import Tiling, chunks_of, decoded, encoded
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.preview import preview_decoder
from confiner_cli.method.noise import keyed_noise

CPU = torch.device("cpu")
KINDS = {"wan 2.1": tiny_networks.VIDEO, "wan 2.2": tiny_networks.RESIDUAL}
SMALL = Tiling(largest=32 * 32, size=48, stride=32)


@pytest.fixture(scope="module", params=KINDS)
def vae(request):
    return tiny_networks.video_vae(**KINDS[request.param])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An expert's, with Wan 2.1's VAE."""
    folder = tmp_path_factory.mktemp("expert")
    tiny_networks.video_vae().save_pretrained(folder / "vae")
    return folder


@pytest.fixture(scope="module")
def cache():
    return NetworkCache()


@pytest.fixture(scope="module")
def decoder(folder, cache):
    return decoder_of(components(folder), POLICIES["high"], cache)


@pytest.fixture(scope="module")
def encoder(folder, cache):
    return encoder_of(components(folder), POLICIES["high"], cache)


def components(folder, dtype=torch.float32):
    return Components("spatial", (folder,), CPU, dtype)


def drawn(*shape):
    return keyed_noise(shape, 1, "video")


def video(frames, height=32, width=32):
    """`(1, 3, frame, height, width)`, in [-1, 1]."""
    return drawn(1, 3, frames, height, width).clamp(-1, 1)


def uint8(frames):
    return drawn(frames, 32, 32, 3).mul(50).add(128).clamp(0, 255).byte()


def computing(vae):
    return partial(nullcontext, vae)


def chunks(pixels: Tensor):
    parts = chunks_of(pixels[0].transpose(0, 1).split([3, pixels.shape[2] - 3]), 4)
    return (part.transpose(0, 1)[None] for part in parts)


def difference(one, other):
    assert one.shape == other.shape
    return float((one - other).abs().max())


def test_decoded_chunks_are_those_of_the_whole(vae):
    latents = drawn(1, 16, 3, 2, 3)
    found = list(decoded(computing(vae), latents))
    assert [chunk.shape[2] for chunk in found] == [1, 4, 4]
    assert difference(torch.cat(found, dim=2).clamp(-1, 1), vae.decode(latents).sample) < 1e-5
    alone = next(decoded(computing(vae), latents[:, :, 2:]))
    assert difference(alone, found[2][:, :, :1]) > 1e-2  # so what is carried matters


def test_encoded_chunks_are_those_of_the_whole(vae):
    pixels = video(9)
    found = list(encoded(computing(vae), chunks(pixels)))
    assert [chunk.shape[2] for chunk in found] == [1, 1, 1]
    assert difference(torch.cat(found, dim=2), vae.encode(pixels).latent_dist.mode()) < 1e-5


@pytest.fixture
def tiling(vae):
    """The VAE, which cuts in space, and joins in time."""
    tiling = copy.deepcopy(vae)
    tiling.enable_tiling(SMALL.size, SMALL.size, SMALL.stride, SMALL.stride)
    return tiling


def test_tiles_of_latents_are_blended_as_diffusers_does(vae, tiling):
    latents = drawn(1, 16, 2, 5, 7)
    found = torch.cat(list(decoded(computing(vae), latents, SMALL)), dim=2).clamp(-1, 1)
    assert difference(found, tiling.decode(latents).sample) < 1e-5
    assert difference(found, vae.decode(latents).sample) > 1e-2


def test_tiles_of_pixels_are_blended_as_diffusers_does(vae, tiling):
    pixels = video(5, 96, 80)
    found = torch.cat(list(encoded(computing(vae), chunks(pixels), SMALL)), dim=2)
    assert difference(found, tiling.encode(pixels).latent_dist.mode()) < 1e-5
    assert difference(found, vae.encode(pixels).latent_dist.mode()) > 1e-3


def test_frames_of_480p_are_not_cut_and_larger_ones_are_as_diffusers_cuts_them(vae):
    assert Tiling() == Tiling(480 * 832, vae.tile_sample_min_width, vae.tile_sample_stride_width)
    latents, factor = drawn(1, 16, 1, 8, 8), vae.config.scale_factor_spatial
    whole, cut = (
        next(decoded(computing(vae), latents, replace(SMALL, largest=(8 * factor) ** 2 - less)))
        for less in (0, 1)
    )
    assert difference(whole.clamp(-1, 1), vae.decode(latents).sample) < 1e-5
    assert difference(whole, cut) > 1e-2


def living():
    """How many tensors there are, and how many numbers in them."""
    gc.collect()
    tensors = [each for each in gc.get_objects() if type(each) is Tensor]
    return len(tensors), sum(tensor.numel() for tensor in tensors)


def test_a_longer_video_takes_no_more_memory_to_decode(vae):
    latents = torch.zeros(1, 16, 9, 2, 2)
    held = [living() for _ in decoded(computing(vae), latents)]
    assert len(held) == 9 and len(set(held[2:])) == 1


def test_a_longer_video_takes_no_more_memory_to_encode(vae):
    held = []

    def frames():
        for _ in range(9):
            held.append(living())
            yield torch.zeros(4 if held[1:] else 1, 3, 32, 32)

    given = (chunk.transpose(0, 1)[None] for chunk in chunks_of(frames(), 4))
    assert sum(1 for _ in encoded(computing(vae), given)) == 9
    assert len(set(held[2:])) == 1


def test_others_may_compute_between_two_chunks(decoder, cache):
    parts = decoder.parts(drawn(1, 16, 2, 2, 2))
    next(parts)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(is_free, cache.lock).result()


def is_free(lock):
    free = lock.acquire(blocking=False)
    if free:
        lock.release()
    return free


def test_frames_are_the_pixels_rounded(decoder):
    latents = drawn(1, 16, 3, 2, 2)
    parts = list(decoder.pixels(latents))
    assert [part.shape for part in parts] == [(count, 3, 16, 16) for count in (1, 4, 4)]
    pixels = torch.cat(parts)
    assert (pixels.min(), pixels.max()) == (-1, 1)
    frames = torch.stack(list(decoder(latents)))
    assert torch.equal(frames.permute(0, 3, 1, 2), ((pixels / 2 + 0.5) * 255).round().byte())


def test_frames_as_pixels_have_the_latents_of_the_frames(encoder):
    frames = uint8(9)
    pixels = frames.permute(0, 3, 1, 2) / 127.5 - 1
    assert difference(encoder.of_pixels(pixels.split(2)), encoder(frames)) < 1e-6


def test_the_first_latent_frame_is_that_of_the_first_frame_alone(encoder):
    frames = uint8(9)
    latents = encoder(frames)
    assert latents.shape == (1, encoder.channels, 3, 32 // encoder.factor, 32 // encoder.factor)
    assert (latents.dtype, latents.device) == (torch.float32, CPU)
    assert difference(latents[:, :, :1], encoder(frames[:1])) < 1e-6
    assert difference(latents[:, :, 1:2], encoder(frames[1:2])) > 1e-2


def test_latents_are_those_of_the_pipeline(encoder):
    pixels, vae = video(5), encoder.vae()
    scheduler = SimpleNamespace(add_noise=lambda latents, noise, timestep: latents)
    pipeline = SimpleNamespace(
        vae=vae, scheduler=scheduler, vae_scale_factor_temporal=4, vae_scale_factor_spatial=8
    )
    expected = WanVideoToVideoPipeline.prepare_latents(
        pipeline, pixels, 1, 16, 32, 32, torch.float32, CPU
    )
    assert difference(encoder.of_pixels([pixels[0].transpose(0, 1)]), expected) < 1e-6


def test_the_decoder_takes_what_the_encoder_gives(decoder, encoder):
    pixels, vae = video(5), encoder.vae()
    latents = encoder.of_pixels([pixels[0].transpose(0, 1)])
    expected = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
    found = torch.cat(list(decoder.pixels(latents)))
    assert difference(found, expected[0].transpose(0, 1)) < 1e-5


def test_it_computes_in_float32_whatever_the_networks_do(folder, decoder, encoder):
    half = components(folder, torch.bfloat16)
    with NetworkCache() as cache:
        narrow = decoder_of(half, POLICIES["high"], cache)
        assert narrow.vae().dtype == torch.float32
        latents = drawn(1, 16, 2, 2, 2).bfloat16()
        (one, *_), (other, *_) = narrow.pixels(latents), decoder.pixels(latents.float())
        assert one.dtype == torch.float32 and torch.equal(one, other)
        pixels = video(1)[0].transpose(0, 1).bfloat16()
        found = encoder_of(half, POLICIES["high"], cache).of_pixels([pixels])
        assert torch.equal(found, encoder.of_pixels([pixels.float()]))


def test_both_directions_share_one_network_whatever_is_merged_into_the_unet(
    folder, decoder, encoder, cache
):
    lora = folder / "lora.safetensors"
    lora.touch()
    merged = replace(components(folder), loras=((lora, 1.0),))
    other = decoder_of(merged, POLICIES["high"], cache)
    assert decoder.vae() is encoder.vae() is other.vae()


def test_of_several_samples_the_first_is_decoded(decoder):
    latents = drawn(2, 16, 2, 2, 2)
    found, expected = (torch.cat(list(decoder.pixels(each))) for each in (latents, latents[:1]))
    assert torch.equal(found, expected)


def test_the_vae_of_qwen_image_is_the_same_network(tmp_path):
    config = {key: tiny_networks.VIDEO[key] for key in ("dim_mult", "temperal_downsample")}
    theirs = AutoencoderKLQwenImage(base_dim=4, num_res_blocks=1, **config).eval()
    theirs.save_pretrained(tmp_path / "vae")
    with NetworkCache() as cache:
        decoder = decoder_of(components(tmp_path), POLICIES["high"], cache)
        latents = drawn(1, 16, 2, 2, 2)
        mean, std = (
            torch.tensor(moments).view(1, -1, 1, 1, 1)
            for moments in (theirs.config.latents_mean, theirs.config.latents_std)
        )
        with torch.no_grad():
            expected = theirs.decode(latents * std + mean).sample
        found = torch.cat(list(decoder.pixels(latents)))
    assert difference(found, expected[0].transpose(0, 1)) < 1e-5


@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_latent_frame_has_all_of_its_frames(encoder, count):
    with pytest.raises(ValueError, match=f"{count} frames"):
        encoder(uint8(count))
    with pytest.raises(ValueError, match="the last latent frame has"):
        encoder.of_pixels([video(count)[0].transpose(0, 1)])


def damaged(coder, network, number):
    """The coder with a number in the bias of a network's last convolution."""
    broken = copy.deepcopy(coder.vae())
    getattr(broken, network).conv_out.bias[0] = number
    return replace(coder, vae=replace(coder.vae, key=network, load=lambda: broken))


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_damaged_weights_are_named(decoder, encoder, number):
    broken = damaged(decoder, "decoder", number)
    for decode in (broken, broken.pixels):
        with pytest.raises(FailedError, match="decoded frames that are not finite"):
            list(decode(drawn(1, 16, 1, 2, 2)))
    with pytest.raises(FailedError, match="encoded frames to latents that are not finite"):
        damaged(encoder, "encoder", number)(uint8(1))


def test_a_gpu_is_not_waited_for_while_it_decodes(decoder, encoder):
    latents, frames = drawn(1, 16, 2, 2, 2), uint8(5)
    expected = torch.stack(list(decoder(latents)))
    encoded_here = encoder(frames)
    with fake_gpu_with_networks() as gpu:
        load = partial(copy.deepcopy, decoder.vae())
        there = replace(decoder.vae, cache=NetworkCache(), device=GPU, load=load)
        parts = list(replace(decoder, vae=there).parts(latents))
        assert not gpu.waits()
        found = torch.stack([frame for part in parts for frame in part])
        before = len(gpu.waits())
        encoded_there = replace(encoder, vae=there)(frames)
        assert len(gpu.waits()) == before + 1
    assert (found.int() - expected.int()).abs().max() <= 1
    assert difference(encoded_there.numbers, encoded_here) < 1e-5


def stating(folder, **facts):
    path = folder / "vae" / "config.json"
    config = {**tiny_networks.video_vae().config, **facts}
    path.parent.mkdir()
    path.write_text(json.dumps(config), encoding="utf-8")
    return components(folder)


@pytest.mark.parametrize(
    "facts",
    [
        {"_class_name": "AutoencoderKLMochi"},
        {"a_new_field": "of a new version"},
        {"scaling_factor": 0.5},
        {"z_dim": 48},
        {"latents_mean": None},
        {"latents_std": [1.0] * 4},
        {"scale_factor_spatial": 16},
        {"scale_factor_temporal": 8},
        {"patch_size": 2},
        {"in_channels": 4},
        {"input_channels": 4},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_a_vae_that_ours_is_not_is_refused(facts, tmp_path):
    with pytest.raises(ConfinerError, match=r"the VAE in .* states ") as caught:
        decoder_of(stating(tmp_path, **facts), POLICIES["high"], NetworkCache())
    assert caught.value.hint.startswith("experts.spatial.shared=")


def test_what_an_old_version_wrote_changes_nothing(tmp_path):
    stated = stating(tmp_path, clip_output=True, dropout=0.1)
    tiny_networks.video_vae().save_pretrained(tmp_path / "vae")
    decoder = decoder_of(stated, POLICIES["high"], NetworkCache())
    assert (decoder.factor, decoder.time_factor, decoder.channels) == (8, 4, 16)


def test_a_preview_of_single_frames_is_refused(decoder, folder, tmp_path):
    tiny_networks.preview().save_pretrained(tmp_path)
    named = replace(components(folder), named=(("preview", tmp_path),))
    with pytest.raises(ConfinerError, match="makes 1 frame of a latent, the VAE 4"):
        preview_decoder(named, decoder, POLICIES["high"], NetworkCache())
