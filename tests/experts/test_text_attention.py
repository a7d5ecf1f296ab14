"""The text's keys and values are computed once, and change nothing but the time a pass takes."""

from dataclasses import replace

import pytest
import torch
from diffusers.models.attention_processor import Attention, SlicedAttnProcessor
from support.family_experts import CPU, OF_UNETS, T, load, sample, spec_of
from support.lavie_reference import TOLERANCE, distance, inputs, small_unet
from support.tiny_networks import WIDTH, unet_2d

from confiner_cli.experts.networks.text_attention import text_memory, with_text_memory
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.method.options import GuidanceOptions

GUIDED = GuidanceOptions(3.0)


@pytest.fixture(params=OF_UNETS)
def family(request):
    return request.param


@pytest.fixture
def expert(family, tiny_networks):
    return load(family, spec_of(family, tiny_networks))


def layers_of_the_text(unet):
    return [layer for layer in unet.modules() if getattr(layer, "is_cross_attention", False)]


@torch.no_grad()
@pytest.mark.parametrize(
    ("texts", "batch"), [(("a heart",), 1), (("a heart",), 3), (("a heart", "a star"), 4)]
)
def test_a_remembered_text_is_answered_as_a_text_that_is_read(expert, texts, batch):
    conditioning, *others = map(expert.text, texts)
    for other in others:
        conditioning = conditioning.followed_by(other)
    told = expert.network.remembering(conditioning)
    assert len(told.memory) == len(layers_of_the_text(expert.network.unet())) > 0
    x_t, t = sample(3, batch), torch.tensor(float(T))
    read, remembered = (expert.network(x_t, t, each) for each in (conditioning, told))
    assert (read - remembered).abs().max() < 1e-5 * read.abs().max()
    assert torch.equal(expert.network(x_t, t, told.for_batch(batch)), remembered)


@torch.no_grad()
def test_samples_that_texts_cannot_be_shared_out_to_are_refused(expert):
    both = expert.text("a heart").followed_by(expert.text("a star"))
    with pytest.raises(ValueError, match="cannot be told 2 things"):
        expert.network(
            sample(2, 3), torch.tensor(20.0), expert.network.remembering(both).for_batch(3)
        )


@pytest.mark.parametrize("batched", [True, False])
def test_keys_and_values_of_a_text_are_computed_once_a_run(family, tiny_networks, batched):
    expert = load(family, spec_of(family, tiny_networks), cache=NetworkCache())
    expert = replace(expert, guidance_batched=batched)
    calls = []
    for layer in layers_of_the_text(expert.network.unet()):
        for projection in (layer.to_k, layer.to_v):
            projection.register_forward_hook(lambda *_: calls.append(1))
    count = 2 * len(layers_of_the_text(expert.network.unet()))
    denoiser = expert.condition("a heart", "a star", GUIDED)
    again = denoiser.read_on(denoiser.schedule)
    for num_frames, t in ((3, 100), (5, 80), (5, 60)):
        denoiser(sample(num_frames), t)
        again(sample(num_frames, batch=2), t)
    texts = 1 if batched else 2  # two in one pass, or one after the other
    assert len(calls) == texts * count


def test_what_is_remembered_outlives_the_network(family, tiny_networks):
    cache = NetworkCache()
    denoiser = load(family, spec_of(family, tiny_networks), cache=cache).condition("a heart")
    before = denoiser(sample(), T)
    cache.close()  # it is loaded again
    assert torch.equal(denoiser(sample(), T).clean, before.clean)


def test_it_is_where_the_network_is(expert):
    unet = with_text_memory(unet_2d())
    states = torch.randn(2, 7, WIDTH)
    assert {each.device for pair in text_memory(unet, states) for each in pair} == {CPU}
    there = text_memory(unet.to("meta"), states.to("meta"))
    for keys, values in there:
        assert keys.is_meta and keys.shape[:1] + keys.shape[2:3] == (2, 7)
        assert keys.shape == values.shape


@torch.no_grad()
def test_lavie_with_a_remembered_text_is_the_published_network():
    plain, unet = small_unet("case1"), with_text_memory(small_unet("case1"))
    x_t, t, states = inputs("case1")
    kwargs = {"text": text_memory(unet, states)}
    found = unet(x_t, t, states, cross_attention_kwargs=kwargs).sample
    assert distance(found, plain(x_t, t, states).sample) < TOLERANCE


@torch.no_grad()
def test_a_network_that_attends_in_another_way_is_left_alone():
    unet = unet_2d().eval()
    unet.set_attn_processor(SlicedAttnProcessor(1))
    assert text_memory(with_text_memory(unet), torch.randn(1, 7, WIDTH)) == ()
    kinds = {type(each.processor) for each in unet.modules() if isinstance(each, Attention)}
    assert kinds == {SlicedAttnProcessor}


@torch.no_grad()
def test_without_a_memory_it_is_the_network_that_diffusers_made():
    unet = unet_2d().eval()
    x_t, states = torch.randn(2, 4, 4, 6), torch.randn(2, 7, WIDTH)
    before = unet(x_t, 20, states).sample
    after = with_text_memory(unet)(x_t, 20, states).sample
    assert torch.allclose(before, after, atol=1e-6)
