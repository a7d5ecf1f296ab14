"""Prompts to UMT5's hidden states, as diffusers' WanPipeline has them."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.experts.embeddings import Embedding
from confiner_cli.experts.offload import Handle
from confiner_cli.experts.t5_tokenizer import T5Tokenizer
from confiner_cli.experts.text_reader import TokenEncoder
from confiner_cli.method.transfer import onto

CPU = torch.device("cpu")
UMT5_LENGTH = 512
"""Tokens that Wan's transformers were trained to read, with the end and the padding."""
_BLANKS = re.compile(r"[^\S\x1c-\x1f]+")
"""What Unicode calls white space. Python's `\\s` has four separators of ASCII beside it."""


@dataclass(frozen=True)
class UMT5Encoder:
    """UMT5's network, asked about one text.

    Nothing is padded: a mask would hide the padding from the tokens, whose states are the same
    without it. So a short text takes less time.

    Attributes:
        network: transformers' UMT5EncoderModel.
    """

    network: Handle

    @torch.inference_mode()
    def __call__(self, ids: tuple[int, ...]) -> Tensor:
        """The states of tokens, `(1, token, width)`, on the network's device, in its precision."""
        with self.network.computing() as network:
            given = onto(torch.tensor([ids]), self.network.device)
            states: Tensor = network(input_ids=given).last_hidden_state
        return states

    def load(self) -> None:
        """Load the network now. Raises ConfinerError: its weights are damaged."""
        self.network()


@dataclass(frozen=True)
class UMT5Text:
    """A tokenizer and UMT5: the text reader of Wan's experts.

    A text is cleaned as `cleaned` has it, cut where it is longer than there is room, and ended with
    `</s>`; behind that the states are zeros. There is no mask: Wan's transformers read the zeros.

    Attributes:
        tokenizer: makes tokens of texts.
        encoder: makes states of tokens.
        device: where the network is that reads them.
        length: how many tokens a network is told, diffusers' `max_sequence_length`.
    """

    tokenizer: T5Tokenizer
    encoder: TokenEncoder
    device: torch.device = CPU
    length: int = UMT5_LENGTH

    @property
    def embeddings(self) -> tuple[Embedding, ...]:
        """There are none: learnt words are CLIP's."""
        return ()

    @property
    def takes_weights(self) -> bool:
        """It does not: they are read as words."""
        return False

    def __call__(self, text: str) -> Conditioning:
        """A prompt's states, `(1, length, width)`, as `WanPipeline.encode_prompt` makes them."""
        ids = self._ids(text)[: self.length - 1]
        states = self.encoder((*ids, self.tokenizer.eos_token_id))
        whole = pad(states, (0, 0, 0, self.length - states.shape[1]))
        return Conditioning(onto(whole, self.device))

    def negative(self, text: str) -> Conditioning:
        """A negative prompt's states, which are those of any text."""
        return self(text)

    def load(self) -> None:
        """Load the encoder now. Raises ConfinerError: its weights are damaged."""
        self.encoder.load()

    def truncated(self, text: str) -> str:
        """The end of the cleaned text that is not read; empty where all is."""
        return self.tokenizer.decode(self._ids(text)[self.length - 1 :])

    def uses(self, embedding: Embedding, text: str) -> bool:  # noqa: ARG002
        """Never: it was given none."""
        return False

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.ids(cleaned(text))


def cleaned(text: str) -> str:
    """A prompt as WanPipeline's `prompt_clean` leaves it.

    HTML's entities are read, twice, and white space becomes single blanks. Where ftfy is installed
    diffusers has it mend broken Unicode first; it is not used here, so that a prompt means the same
    everywhere.
    """
    unescaped = html.unescape(html.unescape(text)).strip()
    return _BLANKS.sub(" ", unescaped).strip()
