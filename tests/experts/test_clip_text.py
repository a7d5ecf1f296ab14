"""CLIP's text encoder: transformers' answers, by transformers' names."""

from __future__ import annotations

import pytest
import torch
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel as Theirs

from confiner_cli.experts.networks.clip_text import CLIPTextModel

SMALL = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "max_position_embeddings": 20,
    "initializer_factor": 4.0,
}
KINDS = {
    "as Stable Diffusion 1 has it": {},
    "as OpenCLIP has it": {"hidden_act": "gelu"},
    "one layer and one head": {"num_hidden_layers": 1, "num_attention_heads": 1},
    "another norm": {"layer_norm_eps": 1e-3},
    "a narrow middle": {"intermediate_size": 8},
}
NO_TOKEN = 7


def pair(**changes):
    """Theirs and ours, with the same weights."""
    torch.manual_seed(0)
    config = CLIPTextConfig(**{**SMALL, **changes})
    theirs = Theirs(config).eval()
    ours = CLIPTextModel.from_config(config.to_dict()).eval()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def padded(texts=3, length=20):
    """Texts of several lengths, filled up as Stable Diffusion does it: nothing is masked."""
    ids = torch.randint(10, 100, (texts, length), generator=torch.Generator().manual_seed(1))
    for row, ids_of_text in enumerate(ids):
        ids_of_text[2 + 5 * row :] = NO_TOKEN
    return ids


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
@torch.no_grad()
def test_hidden_states_are_those_of_transformers_after_every_layer(changes):
    theirs, ours = pair(**changes)
    found = theirs(padded(), output_hidden_states=True)
    assert torch.allclose(ours(padded()), found.last_hidden_state, atol=1e-6)
    for skip, states in enumerate(reversed(found.hidden_states)):
        expected = theirs.final_layer_norm(states)
        assert torch.allclose(ours(padded(), skip), expected, atol=1e-6)


@torch.no_grad()
def test_a_text_may_be_shorter_than_the_room_for_it():
    theirs, ours = pair()
    ids = padded(texts=1, length=5)
    assert torch.allclose(ours(ids), theirs(ids).last_hidden_state, atol=1e-6)


@torch.no_grad()
def test_a_token_does_not_see_what_comes_behind_it():
    _, ours = pair()
    ids = padded(texts=1)
    changed = ids.clone()
    changed[0, 9] = 3
    moved = (ours(ids) - ours(changed)).abs().amax((0, 2))
    assert not moved[:9].any() and moved[9:].all()


@torch.no_grad()
def test_in_half_precision_it_is_theirs_in_half_precision():
    theirs, ours = (each.to(torch.bfloat16) for each in pair())
    assert torch.equal(ours(padded()), theirs(padded()).last_hidden_state)


@torch.no_grad()
def test_new_words_change_nothing_of_the_old_ones():
    _, ours = pair()
    before = ours(padded())
    ours.make_room(130)
    ours.make_room(3)
    assert torch.equal(ours(padded()), before)
    assert ours.embeddings.token_embedding.weight.shape == (130, 32)
