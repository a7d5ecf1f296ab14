"""What a person is told of their prompts: what has no effect, what is read as words, or not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from support import umt5_files

from confiner_cli.config.resolve import resolve
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.runs.loaded_pipeline import load_pipeline
from confiner_cli.runs.prompt_advice import prompt_advice
from confiner_cli.runs.provenance import settings_of_words

CACHE = NetworkCache()
LONG = ", ".join(["a red heart rising over the sea", "a blue star over the sand"] * 4)


def notices(prompt, *words):
    settings = settings_of_words([f"prompt={prompt}", "device=cpu", *words])
    return load_pipeline([resolve(settings)], CACHE).notices


def embeddings(path, role="spatial"):
    torch.save(torch.randn(2, 96, generator=torch.Generator().manual_seed(0)), path)
    return f"experts.{role}.embeddings=[{{path:{path},token:<x>}}]"


def test_the_end_that_is_cut_is_told_and_how_it_is_read(tmp_path):
    (cut,) = notices(LONG)
    assert "does not read the end of the prompt" in cut and "prompt_weighting=true" in cut
    assert notices(LONG, "prompt_weighting=true") == ()


@pytest.mark.parametrize(
    ("prompt", "words", "told"),
    [
        ("a (red heart:1.3)", (), "weights and BREAK in the prompt are read as words"),
        ("a red heart", ("negative_prompt=a star BREAK grass",), "in the negative prompt are read"),
        ("a red heart AND a star", ("prompt_weighting=true",), "AND in the prompt is read"),
    ],
)  # fmt: skip
def test_syntax_that_is_read_as_words_is_told(prompt, words, told):
    assert any(told in notice for notice in notices(prompt, *words))


def test_syntax_that_is_understood_is_no_unlearnt_word():
    weighted = notices("a (red heart:1.3) BREAK [rising]", "prompt_weighting=true")
    assert weighted == ()


def test_an_embedding_in_no_prompt_is_told(tmp_path):
    given = embeddings(tmp_path / "x.pt")
    (told,) = notices("a red heart", given)
    assert told.startswith("the spatial expert's embedding <x> has no effect")


def test_an_embedding_that_other_experts_have_not_is_told(tmp_path):
    told = notices("a red <x>", embeddings(tmp_path / "x.pt"))
    assert told == ("<x> is read by its letters by the control and the temporal expert",)
    roles = ("control", "spatial", "temporal")
    everywhere = [embeddings(tmp_path / "x.pt", role) for role in roles]
    assert notices("a red <x>", *everywhere) == ()
    assert notices("<x>", *everywhere) == ()


def test_where_a_text_encoder_takes_no_weights_they_are_not_what_to_try(tmp_path):
    text = replace(umt5_files.reader(umt5_files.write(tmp_path)), length=13)
    job = resolve(settings_of_words(["prompt=the (heart:1.3) and the star"]))
    told = list(prompt_advice(job, {"temporal": SimpleNamespace(text=text)}))
    assert "weights and BREAK in the prompt are read as words" in told
    (cut,) = (each for each in told if "does not read the end of the prompt" in each)
    assert cut.endswith(": 'the star'") and not any("prompt_weighting" in each for each in told)
