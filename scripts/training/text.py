"""The text encoder: a BPE tokenizer and a two-layer CLIP.

It is trained until a caption's attributes can be decoded from it, then frozen.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from training.loop import DEVICE, Recipe, train
from training.tokenizer import byte_level
from world.captions import caption
from world.scene import ATTRIBUTES, Scene, indices, seen_in_training

RECIPE = Recipe("text", steps=800, learning_rate=1e-3, ema=0.99, seed=2)
BATCH = 64
MAX_TOKENS = 32
WIDTH = 96


def random_captions(
    rng: random.Random, count: int, partial: float
) -> tuple[list[Scene], list[str]]:
    """Scenes that are not held out and a wording of each."""
    scenes = [Scene(*rng.choice(seen_in_training())) for _ in range(count)]
    return scenes, [caption(scene, rng, partial) for scene in scenes]


def build_tokenizer() -> CLIPTokenizer:
    """CLIP's byte-level BPE with merges learnt on the grammar; other words fall into bytes."""
    _, texts = random_captions(random.Random(RECIPE.seed), 20_000, 0.1)
    plain = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = plain.normalizer, plain.pre_tokenizer
    learner.train_from_iterator(
        texts,
        BpeTrainer(
            vocab_size=900, end_of_word_suffix="</w>", initial_alphabet=ByteLevel.alphabet()
        ),
    )
    learnt = json.loads(learner.to_str())["model"]["merges"]
    return byte_level(MAX_TOKENS, [(first, second) for first, second in learnt])


def build_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained CLIP text model, two layers of 96."""
    torch.manual_seed(RECIPE.seed)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_factor=4.0,
        )
    )


def tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids `(text, 32)`, padded and truncated as the pipelines do."""
    batch = tokenizer(
        texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    ids: Tensor = batch.input_ids
    return ids


class Reader(nn.Module):
    """The encoder with one linear head an attribute."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict(
            {name: nn.Linear(2 * WIDTH, len(values)) for name, values in ATTRIBUTES.items()}
        )

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        """Logits by attribute, `(text, values)`, from the pooled and the mean hidden state."""
        out = self.encoder(ids)
        features = torch.cat((out.pooler_output, out.last_hidden_state.mean(dim=1)), dim=1)
        return {name: head(features) for name, head in self.heads.items()}


def labels(scenes: list[Scene]) -> dict[str, Tensor]:
    """Indices of the attributes' values, `(scene,)` each."""
    return {name: torch.tensor(indices(scenes, name)) for name in ATTRIBUTES}


def train_text(folder: Path) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Train and save as `folder/tokenizer` and `folder/text_encoder`."""
    tokenizer = build_tokenizer()
    reader = Reader(build_encoder(tokenizer))

    def loss(generator: torch.Generator) -> Tensor:
        rng = random.Random(int(torch.randint(2**62, (1,), generator=generator)))
        scenes, texts = random_captions(rng, BATCH, 0.0)
        logits, wanted = reader(tokens(tokenizer, texts).to(DEVICE)), labels(scenes)
        return torch.stack(
            [cross_entropy(logits[name], wanted[name].to(DEVICE)) for name in ATTRIBUTES]
        ).sum()

    train(RECIPE, reader, loss, folder)
    print("text: attributes right on fresh captions", accuracy(reader, tokenizer), flush=True)
    tokenizer.save_pretrained(folder / "tokenizer")
    reader.encoder.save_pretrained(folder / "text_encoder")
    return tokenizer, reader.encoder


@torch.no_grad()
def accuracy(reader: Reader, tokenizer: CLIPTokenizer) -> dict[str, float]:
    """Share of right attributes on captions of known combinations in fresh wordings."""
    scenes, texts = random_captions(random.Random(77), 500, 0.0)
    logits, wanted = reader(tokens(tokenizer, texts)), labels(scenes)
    right = {name: logits[name].argmax(1) == wanted[name] for name in ATTRIBUTES}
    return {name: float(marks.float().mean()) for name, marks in right.items()}
