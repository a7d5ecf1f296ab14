"""From specs to experts. Networks are loaded when they are called, into their owner's cache."""

from __future__ import annotations

from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType

import torch

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.coders import decoder_of, encoder_of
from confiner_cli.experts.components import COMMON, Components, Configs, without_weights
from confiner_cli.experts.expert import Expert
from confiner_cli.experts.families import family_named
from confiner_cli.experts.lora_names import TEXT as TEXT_LORA
from confiner_cli.experts.lora_names import UNET
from confiner_cli.experts.network import family_network
from confiner_cli.experts.networks.clip_text import CLIPTextModel
from confiner_cli.experts.offload import NetworkCache, OffloadPolicy
from confiner_cli.experts.preview import PREVIEW, preview_decoder
from confiner_cli.experts.prompt_chunks import Chunking, verbatim
from confiner_cli.experts.spec import TEXT, ExpertSpec, requirements
from confiner_cli.experts.stated import check_stated
from confiner_cli.experts.stated_text import CLIP, kind_of
from confiner_cli.experts.text_loading import Reading, text_encoder
from confiner_cli.experts.vae import Decoder, Encoder
from confiner_cli.weights import hub

NAMED = ("motion_adapter", PREVIEW)
"""Components that have a place of their own."""


def load_expert(
    role: str,
    spec: ExpertSpec,
    device: torch.device,
    dtype: torch.dtype,
    policy: OffloadPolicy,
    cache: NetworkCache,
    chunking: Chunking = verbatim,
    compiling: bool | str = False,
) -> Expert:
    """One expert, its files found and whole; its networks are loaded when they are called.

    Args:
        role: `control`, `spatial` or `temporal`.
        spec: what it is.
        device: where its networks compute.
        dtype: what they compute in.
        policy: who makes room for whom on the device.
        cache: owns the networks.
        chunking: how it reads prompts.
        compiling: how its UNet is compiled, one of `compiling.MODES`. Then guidance is two passes,
            so that there is one graph for guided steps and others.

    Raises:
        ConfinerError: a component or an embedding is missing or damaged, its files say something
            else of it than the spec, or a LoRA does not fit.
    """
    components, family = components_of(role, spec, device, dtype), family_named(spec.family)
    family.sources(components)  # raises where one is missing or cut
    check_stated(role, spec, components, family)
    _check_loras(components, family, cache)
    return Expert(
        role=role,
        network=family_network(spec.family, components, policy, cache, compiling),
        text=text_encoder(components, policy, cache, _reading(role, spec, chunking)),
        schedule=spec.schedule,
        prediction_type=spec.prediction_type,
        device=device,
        dtype=dtype,
        guidance_batched=policy.guidance_batched and compiling is False,
    )


def _reading(role: str, spec: ExpertSpec, chunking: Chunking) -> Reading:
    tokens = [embedding.token for embedding in spec.embeddings]
    found = tuple(zip(tokens, places(role, spec, "embeddings"), strict=True))
    return Reading(found, spec.clip_skip, chunking)


def places(role: str, spec: ExpertSpec, *names: str) -> tuple[Path, ...]:
    """Where the models lie that settings of these names name, in their order.

    Raises:
        ConfinerError: one is on the hub and not in the cache.
    """
    return tuple(hub.cached(needed) for name, needed in requirements(spec) if name in names)


def load_decoder(
    role: str,
    spec: ExpertSpec,
    device: torch.device,
    dtype: torch.dtype,
    policy: OffloadPolicy,
    cache: NetworkCache,
    compiling: bool | str = False,
) -> Decoder:
    """The VAE that lies with an expert, from latents to frames.

    Raises:
        ConfinerError: it is missing or damaged.
    """
    components = components_of(role, spec, device, dtype)
    return decoder_of(components, policy, cache, compiling)


def load_preview(
    role: str,
    spec: ExpertSpec,
    device: torch.device,
    dtype: torch.dtype,
    policy: OffloadPolicy,
    cache: NetworkCache,
    compiling: bool | str = False,
) -> Decoder:
    """What decodes structures: an expert's preview decoder, or its VAE where it has none.

    Raises:
        ConfinerError: it is missing or damaged, or decodes other latents than the VAE.
    """
    decoder = load_decoder(role, spec, device, dtype, policy, cache, compiling)
    if not spec.preview:
        return decoder
    components = components_of(role, spec, device, dtype)
    return preview_decoder(components, decoder, policy, cache)


def load_encoder(
    role: str,
    spec: ExpertSpec,
    device: torch.device,
    dtype: torch.dtype,
    policy: OffloadPolicy,
    cache: NetworkCache,
    compiling: bool | str = False,
) -> Encoder:
    """The other direction of `load_decoder`'s VAE. Raises as it does."""
    components = components_of(role, spec, device, dtype)
    return encoder_of(components, policy, cache, compiling)


def components_of(
    role: str, spec: ExpertSpec, device: torch.device, dtype: torch.dtype
) -> Components:
    """Where the components of an expert lie: in its model's place, then in the shared one.

    Raises:
        ConfinerError: a model is on the hub and not in the cache.
    """
    scales = [lora.scale for lora in spec.loras]
    named = [(name, place) for name in NAMED for place in places(role, spec, name)]
    named += [(name, at / name) for name in TEXT for at in places(role, spec, TEXT[0])]
    return Components(
        role,
        folders=places(role, spec, "model", "shared"),
        device=device,
        dtype=dtype,
        named=tuple(named),
        network=spec.network,
        architecture=spec.architecture or COMMON,
        pickles=spec.pickles,
        loras=tuple(zip(places(role, spec, "loras"), scales, strict=True)),
    )


def _check_loras(components: Components, family: ModuleType, cache: NetworkCache) -> None:
    """Hold LoRAs against the networks, by the headers of the files, before anything is sampled."""
    if components.loras:
        _check_is_merged_into(components)
        sources = chain.from_iterable(family.sources(components).values())
        key = ("loras", components.identity(sources))
        cache.remember(key, partial(_merged_layers, components, family))


def _check_is_merged_into(components: Components) -> None:
    """Refuse LoRAs of transformers, whose layers trainers spell in other ways."""
    if components.network != UNET:
        key = f"experts.{components.role}"
        raise ConfinerError(
            f"{key}.loras: LoRAs are merged into UNets, and the {components.role} expert's network "
            f"is a {components.network}",
            f"leave out {key}.loras=; {key}.model= takes a model with the LoRA merged into it",
        )


def _merged_layers(components: Components, family: ModuleType) -> list[int]:
    """How many layers of its networks each LoRA of an expert changes."""
    from confiner_cli.experts.lora import LORA_HINT, count_layers  # seconds, for LoRAs alone

    unet = family.skeleton(components)
    counts = []
    for path, _ in components.loras:
        count = count_layers(unet, UNET, path) + _layers_of_text(components, path)
        if not count:
            raise ConfinerError(f"the LoRA {path} has nothing for these networks", LORA_HINT)
        counts.append(count)
    return counts


def _layers_of_text(components: Components, path: Path) -> int:
    """How many layers of the text encoder a LoRA changes: of UMT5 it may change none."""
    from confiner_cli.experts.lora import count_layers

    if kind_of(components.config("text_encoder")) == CLIP:
        text = without_weights(_text_encoder, components, "text_encoder")
        return count_layers(text, TEXT_LORA, path)
    try:
        return count_layers(torch.nn.Module(), TEXT_LORA, path)
    except ConfinerError as error:
        raise ConfinerError(
            f"the LoRA {path} changes the text encoder, and that of the {components.role} expert "
            "is UMT5, into which none is merged",
            f"experts.{components.role}.loras= takes one that changes its network alone",
        ) from error


def _text_encoder(configs: Configs) -> CLIPTextModel:
    return CLIPTextModel.from_config(configs["text_encoder"])
