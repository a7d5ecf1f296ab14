"""Prompts in A1111's syntax: what weighs how much, which tokens are read together, what they do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.family_experts import T, load, sample, spec_of

from confiner_cli.experts.prompt_chunks import verbatim
from confiner_cli.experts.prompt_weighting import (
    Part,
    emphasized,
    has_syntax,
    not_supported,
    plain_text,
    weighted,
    weighted_parts,
)
from confiner_cli.method.options import GuidanceOptions

DOCUMENTED = {
    "normal text": [[("normal text", 1.0)]],
    "an (important) word": [[("an ", 1.0), ("important", 1.1), (" word", 1.0)]],
    "(unbalanced": [[("unbalanced", 1.1)]],
    r"\(literal\]": [[("(literal]", 1.0)]],
    "(unnecessary)(parens)": [[("unnecessaryparens", 1.1)]],
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        [
            ("a ", 1.0), ("house", 1.3 * 1.1 * 1.1), (" ", 1.1), ("on", 1.0), (" a ", 1.1),
            ("hill", 0.55), (", sun, ", 1.1), ("sky", 1.1**4), (".", 1.1),
        ]
    ],
}  # fmt: skip
"""The examples that A1111's own documentation gives, with what they come to."""
OTHERS = {
    "": [[]],
    "(a:1.5)": [[("a", 1.5)]],
    "(a: .25 )": [[("a", 0.25)]],
    "(a:-1)": [[("a", -1.0)]],
    "[a]": [[("a", 1 / 1.1)]],
    "[[a]]": [[("a", 1 / 1.1 / 1.1)]],
    "a) b] (c": [[("a) b] ", 1.0), ("c", 1.1)]],
    "a:1.3) b": [[("a:1.3) b", 1.0)]],
    "(12:30)": [[("12", 30.0)]],
    "(a:1.2.3)": [[("a:1.2.3", 1.1)]],
    r"\\(a)": [[("\\", 1.0), ("a", 1.1)]],
    "a BREAK b": [[("a", 1.0)], [("b", 1.0)]],
    "a\nBREAK\n(b)": [[("a", 1.0)], [("b", 1.1)]],
    "(a BREAK b:1.2)": [[("a", 1.2)], [("b", 1.2)]],
    "BREAK a": [[], [("a", 1.0)]],
    "BREAKFAST, OUTBREAK": [[("BREAKFAST, OUTBREAK", 1.0)]],
}


@pytest.mark.parametrize("prompt", [*DOCUMENTED, *OTHERS])
def test_a_prompt_has_the_parts_and_weights_that_a1111_documents(prompt):
    wanted = {**DOCUMENTED, **OTHERS}[prompt]
    found = weighted_parts(prompt)
    assert [[part.text for part in parts] for parts in found] == [
        [text for text, _ in parts] for parts in wanted
    ]
    weights = [part.weight for parts in found for part in parts]
    assert weights == pytest.approx([weight for parts in wanted for _, weight in parts])


def test_a_prompt_without_syntax_is_one_part_as_it_is():
    assert weighted_parts("a red heart, rising") == [[Part("a red heart, rising")]]


def letters(text):
    """A token for every character but blanks; what is in <> belongs together."""
    words, rest = [], text
    while rest := rest.lstrip():
        end = rest.index(">") + 1 if rest[0] == "<" else 1
        words.append(tuple(map(ord, rest[:end])))
        rest = rest[end:]
    return words


def chunks(prompt, room=5):
    found = weighted(prompt, letters, room)
    assert not found.left_out
    return ["".join(map(chr, chunk.ids)) for chunk in found.chunks]


CHUNKS = {
    "": [""],
    "abcde": ["abcde"],
    "abcdefg": ["abcde", "fg"],
    "ab BREAK cd": ["ab", "cd"],
    "abcde BREAK f": ["abcde", "f"],
    "abcdef BREAK g": ["abcde", "f", "g"],
    "ab BREAK": ["ab"],
    "BREAK ab": ["", "ab"],
    "ab BREAK BREAK cd": ["ab", "", "cd"],
    "ab,cdef": ["ab,", "cdef"],
    "ab,cd,ef": ["ab,cd", ",ef"],
    "a,b,cd,e": ["a,b,", "cd,e"],
    "abc<xy>": ["abc", "<xy>"],
    "(ab:1.3)cdef": ["abcde", "f"],
}


@pytest.mark.parametrize("prompt", CHUNKS)
def test_chunks_end_where_they_are_full_at_a_near_comma_and_at_a_break(prompt):
    assert chunks(prompt) == CHUNKS[prompt]


def test_a_comma_is_near_that_is_at_most_twenty_tokens_back():
    near, far = "b" * 19, "b" * 20
    assert chunks(f"a,{near}c", room=21) == ["a,", f"{near}c"]
    assert chunks(f"a,{far}c", room=22) == [f"a,{far}", "c"]


def test_each_token_has_the_weight_of_its_part_wherever_its_chunk_ends():
    found = weighted("(abcd:2)[efg]", letters, 3).chunks
    assert [chunk.weights for chunk in found] == [
        (2.0, 2.0, 2.0), (2.0, 1 / 1.1, 1 / 1.1), (1 / 1.1,),
    ]  # fmt: skip


def test_verbatim_nothing_is_syntax_and_the_end_is_left_out():
    found = verbatim("(a:2) BREAK", letters, 4)
    assert [chunk.ids for chunk in found.chunks] == [tuple(map(ord, "(a:2"))]
    assert found.chunks[0].weights == (1.0,) * 4
    assert found.left_out == tuple(map(ord, ")BREAK"))


def test_states_are_scaled_by_their_weights_and_keep_their_mean():
    states = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)) + 0.5
    weights = torch.ones(2, 4)
    weights[0, 1] = 1.3
    found = emphasized(states, weights)
    scaled = states * weights[..., None]
    wanted = scaled[0] * states[0].mean() / scaled[0].mean()
    assert torch.allclose(found[0], wanted)
    assert torch.allclose(found.mean((1, 2)), states.mean((1, 2)))
    assert torch.equal(found[1], states[1])
    assert emphasized(states.half(), weights).dtype == torch.float16


def test_where_there_is_no_mean_but_rounding_none_is_put_back():
    states = torch.randn(1, 4, 64, generator=torch.Generator().manual_seed(0))
    states -= states.mean()
    found = emphasized(states, torch.tensor([[1.0, 3.0, 1.0, 1.0]]))
    assert torch.allclose(found[0, 1], 3 * states[0, 1])


@pytest.fixture
def expert(tiny_networks):
    """Its encoder takes 24 tokens, most of them letters."""
    return load("stable_diffusion", spec_of("stable_diffusion", tiny_networks))


def reading(expert, chunking):
    return replace(expert, text=replace(expert.text, chunking=chunking))


def states(expert, text, chunking=weighted):
    return reading(expert, chunking).text(text).states


@pytest.mark.parametrize("prompt", ["", "a heart", "(a heart:1.0)"])
def test_a_prompt_without_weights_is_what_it_is_verbatim(prompt, expert):
    plain = prompt.strip("(").removesuffix(":1.0)")
    assert torch.equal(states(expert, prompt), states(expert, plain, verbatim))


def test_a_weight_scales_the_states_of_its_tokens_alone(expert):
    """The small encoder's states have a mean of zero: there is none to put back."""
    plain, heavy = states(expert, "a heart"), states(expert, "a (heart:1.5)")
    assert torch.allclose(heavy[:, :2], plain[:, :2])  # the start, and `a`
    assert torch.allclose(heavy[:, 2:7], 1.5 * plain[:, 2:7])
    assert torch.allclose(heavy[:, 7:], plain[:, 7:])


def test_a_long_prompt_is_read_to_its_end_each_chunk_alone(expert):
    chunk, rest = " ".join("abcdefghijklmnopqrstuv"), "w x y z"  # 22 tokens make a chunk
    text = f"{chunk} {rest}"
    found = states(expert, text)
    assert found.shape[1] == 48
    assert torch.allclose(found[:, :24], states(expert, chunk, verbatim), atol=1e-5)
    assert torch.allclose(found[:, 24:], states(expert, rest, verbatim), atol=1e-5)
    assert reading(expert, weighted).text.truncated(text) == ""
    assert reading(expert, verbatim).text.truncated(text) != ""


@pytest.mark.parametrize(
    "family",
    ["stable_diffusion", "lavie", *(
        pytest.param(name, marks=pytest.mark.thorough) for name in ("animatediff", "modelscope")
    )],
)  # fmt: skip
@pytest.mark.parametrize("negative", ["", "a star", "a star BREAK b BREAK c"])
def test_guidance_in_one_pass_is_that_in_two_whatever_the_lengths(family, negative, tiny_networks):
    expert = reading(load(family, spec_of(family, tiny_networks)), weighted)
    guidance = GuidanceOptions(3.0)
    together, apart = (
        replace(expert, guidance_batched=batched).condition(
            "a (heart:1.3) BREAK b", negative, guidance
        )
        for batched in (True, False)
    )
    assert (together.batched is None) == (negative.count("BREAK") == 2)  # 2 does not divide 3
    one, other = together(sample(), T), apart(sample(), T)
    assert torch.allclose(one.clean, other.clean, atol=1e-4)
    assert one.passes == other.passes == 2


@pytest.mark.parametrize("prompt", ["a (heart:1.3)", "a BREAK b", "((big heart:.5))"])
def test_syntax_is_seen_where_it_is(prompt):
    assert has_syntax(prompt)


@pytest.mark.parametrize("prompt", ["a heart", "a heart (red)", "at 12:30", "BREAKFAST", "[a]"])
def test_brackets_alone_are_no_syntax(prompt):
    assert not has_syntax(prompt)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a <lora:style:0.8>", "<lora:...>"), ("a [cat:dog:0.5]", "[from:to:when]"),
        ("a [cat|dog]", "[one|other]"), ("a cat AND a dog", "AND"),
    ],
)  # fmt: skip
def test_what_else_a1111_reads_is_named(prompt, name):
    assert [each for each, _ in not_supported(prompt)] == [name]
    assert not list(not_supported("a (cat:1.2) [and] a dog"))


def test_the_words_of_a_prompt_are_what_is_left_without_its_syntax():
    assert plain_text("a (red heart:1.3) BREAK [sea]").split() == ["a", "red", "heart", "sea"]
