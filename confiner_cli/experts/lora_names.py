"""The names of a LoRA's tensors, as trainers and tools spell them: which network, layer and part.

The layer is compared without its dots: kohya's names have none, and so one table of a network's
layers serves every spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

UNET, TEXT = "unet", "text_encoder"
DOWN, UP, MID, BIAS, ALPHA, SCALAR = "down", "up", "mid", "bias", "alpha", "scalar"
MAGNITUDE, OVER_OUTPUTS = "magnitude", "dora_scale"
"""DoRA's magnitudes (arXiv 2402.09353), as peft and as LyCORIS shape them."""

_PREFIXES = (
    ("base_model.model.", None),  # peft's own: what is behind it says which network
    ("lora_unet_", UNET),
    ("lora_te_", TEXT),
    ("lora_te1_", TEXT),
    ("unet.", UNET),
    ("text_encoder.", TEXT),
    ("model.diffusion_model.", UNET),
    ("diffusion_model.", UNET),
    ("text_model.", TEXT),
    ("module.", None),
)
_OTHER = re.compile(r"(lora_te[23]|text_encoder_[23]|transformer|lora_transformer|lora_prior)[._]")
_DEFAULT = r"(?:\.default)?"
_PARTS = (
    (rf"\.lora_A{_DEFAULT}\.weight|[._]lora\.down\.weight|\.lora_down\.weight", DOWN),
    (rf"\.lora_B{_DEFAULT}\.weight|[._]lora\.up\.weight|\.lora_up\.weight", UP),
    (r"\.lora_linear_layer\.down\.weight", DOWN),
    (r"\.lora_linear_layer\.up\.weight", UP),
    (r"\.lora_mid\.weight", MID),
    (rf"\.lora_B{_DEFAULT}\.bias", BIAS),
    (r"(?:[._]lora)?\.(?:network_)?alpha", ALPHA),
    (r"\.scalar", SCALAR),
    (rf"\.lora_magnitude_vector{_DEFAULT}(?:\.weight)?", MAGNITUDE),
    (r"\.dora_scale", OVER_OUTPUTS),
)
_LYCORIS = re.compile(r"\.((?:hada|lokr)_(?:w1|w2|w1_a|w1_b|w2_a|w2_b|t1|t2))$")
_SUFFIXES = tuple((re.compile(rf"(?:{pattern})$"), part) for pattern, part in _PARTS)
_UNSUPPORTED = (
    (re.compile(r"\.(diff|diff_b|w_norm|b_norm)$"), "full differences of weights"),
    (re.compile(r"\.(boft|oft|oft_blocks|oft_R\b|oft_r\b).*"), "OFT"),
    (re.compile(r"\.(a1|a2|b1|b2)\.weight$"), "GLoRA"),
    (re.compile(r"\.(on_input|ia3_l.*)$"), "IA3"),
    (re.compile(r"\.(lora_embedding_[AB]).*"), "LoRAs of embeddings"),
    (re.compile(r"\.(lora_E|ranknum)\b"), "AdaLoRA"),
    (re.compile(r"\.(vera_lambda_[bd])\b"), "VeRA"),
    (re.compile(r"modules_to_save"), "whole layers"),
)
_MOTION = re.compile(r"attention_blocks[._](\d)")


@dataclass(frozen=True)
class TensorName:
    """What the name of a tensor says.

    Attributes:
        network: `unet` or `text_encoder`.
        layer: as the file has it, without the prefix; see `key`.
        part: `down`, `up`, `alpha`, ..., or LyCORIS' own, such as `lokr_w1`.
    """

    network: str
    layer: str
    part: str

    @property
    def key(self) -> str:
        """The layer as all spellings of it have it: what `keys_of_layer` lists."""
        return _flat(self.layer)


def read_name(name: str) -> TensorName:
    """Read the name of one tensor of a LoRA.

    Raises:
        ValueError: it is of another kind of adapter, of another network, or of none.
    """
    for pattern, kind in _UNSUPPORTED:
        if pattern.search(name):
            raise ValueError(f"it has {kind} ({name}), which are not merged")
    layer, part = _split(name)
    if _OTHER.match(layer):
        raise ValueError(f"it was made for another kind of model ({name})")
    network, layer = _network(layer)
    # Older diffusers' processors had layers of their own.
    return TensorName(network, layer.replace(".processor.", "."), part)


def _split(name: str) -> tuple[str, str]:
    """A name's beginning and the part that its end means."""
    if found := _LYCORIS.search(name):
        return name[: found.start()], found[1]
    for pattern, part in _SUFFIXES:
        if found := pattern.search(name):
            return name[: found.start()], part
    raise ValueError(f"it has a tensor that is no LoRA's ({name})")


def _network(layer: str) -> tuple[str, str]:
    """Which network a layer is of, and its name there."""
    network: str | None = None
    found = True
    while found:
        found = False
        for prefix, means in _PREFIXES:
            if layer.startswith(prefix):
                layer, network, found = layer.removeprefix(prefix), network or means, True
    if network is None:  # bare names: CLIP's, or else a UNet's, as the oldest files have them
        network = TEXT if layer.startswith("encoder.layers.") else UNET
    return network, layer


def keys_of_layers(network: str, layers: Iterable[str], blocks: int) -> dict[str, str]:
    """A network's layers by all keys that files may have for them.

    Args:
        network: `unet` or `text_encoder`.
        layers: the names of its modules.
        blocks: a UNet's `layers_per_block`.
    """
    table: dict[str, str] = {}
    for layer in layers:
        for spelling in _of_unet(layer, blocks) if network == UNET else _of_text(layer):
            table.setdefault(_flat(spelling), layer)
    return table


def _flat(layer: str) -> str:
    """Without dots, and a motion module's published names as diffusers has them."""
    plain = _MOTION.sub(lambda found: f"attn{int(found[1]) + 1}", layer)
    return plain.replace("temporal_transformer", "").replace(".", "_").replace("__", "_")


def _of_unet(layer: str, blocks: int) -> Iterator[str]:
    yield layer
    if layer.endswith(".to_out.0"):
        yield layer.removesuffix(".0")
    yield from _original(layer, blocks)


def _of_text(layer: str) -> Iterator[str]:
    """CLIP's text model once had all of it in `text_model`, and diffusers short names for it."""
    yield layer
    yield f"text_model.{layer}"
    short = re.sub(r"(?<=self_attn\.)([qkv])_proj$", r"to_\1", layer)
    short = re.sub(r"(?<=self_attn\.)out_proj$", "to_out", short)
    if short != layer:
        yield short
        yield f"text_model.{short}"


_INNER = (
    ("conv1", "in_layers.2"),
    ("conv2", "out_layers.3"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv_shortcut", "skip_connection"),
)
_OUTER = (
    ("conv_in", "input_blocks.0.0"),
    ("conv_out", "out.2"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
)
_BLOCK = re.compile(
    r"(down_blocks|up_blocks)\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)"
)
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def _original(layer: str, blocks: int) -> Iterator[str]:
    """A layer's name in the original layout of Stable Diffusion, which some trainers use."""
    yield from (original for ours, original in _OUTER if layer == ours)
    if found := _MIDDLE.fullmatch(layer):
        place = 1 if found[1] == "attentions" else 2 * int(found[2])
        yield f"middle_block.{place}.{_inner(found[3])}"
    if found := _BLOCK.fullmatch(layer):
        down, level, kind = found[1] == "down_blocks", int(found[2]), found[3]
        number = int(found[4])
        if kind == "downsamplers":
            yield f"input_blocks.{(level + 1) * (blocks + 1)}.0.op"
        elif kind == "upsamplers":
            last = (level + 1) * (blocks + 1) - 1
            yield from (f"output_blocks.{last}.{place}.conv" for place in (1, 2))
        else:
            place = (level * (blocks + 1)) + number + down
            side, inside = ("input" if down else "output"), int(kind == "attentions")
            yield f"{side}_blocks.{place}.{inside}.{_inner(found[5])}"


def _inner(layer: str) -> str:
    return dict(_INNER).get(layer, layer)
