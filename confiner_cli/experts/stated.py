"""What an expert's files say of it, held against what we do: nothing they say is passed over.

A field is honoured, or is known to change nothing (`HARMLESS`), or stops the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from types import ModuleType
from typing import Any

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.components import Components
from confiner_cli.experts.spec import FLOW, ExpertSpec
from confiner_cli.experts.stated_text import check_text_encoder, states_width
from confiner_cli.method.schedule import Discrete
from confiner_cli.weights import single_file
from confiner_cli.weights.tensors import read_part

SCHEDULE = (
    "num_train_timesteps",
    "beta_schedule",
    "beta_start",
    "beta_end",
    "prediction_type",
    "rescale_betas_zero_snr",
)
"""What a scheduler_config.json says of the schedule, in a spec's names, too."""
HARMLESS = frozenset({
    # How diffusers' samplers step, which scheduler= decides here; none is of the training.
    "algorithm_type", "clip_sample", "clip_sample_range", "corrector_order", "disable_corrector",
    "dynamic_thresholding_ratio", "euler_at_final", "final_sigmas_type", "flow_shift",
    "interpolation_type", "lambda_min_clipped", "lower_order_final", "original_inference_steps",
    "predict_x0", "predictor_order", "sample_max_value", "set_alpha_to_one", "sigma_max",
    "sigma_min", "skip_prk_steps", "solver_order", "solver_p", "solver_type", "steps_offset",
    "thresholding", "time_shift_type", "timestep_scaling", "timestep_spacing",
    "use_beta_sigmas", "use_exponential_sigmas", "use_karras_sigmas", "use_lu_lambdas",
    "variance_type",
})  # fmt: skip
BETAS = ("beta_schedule", "beta_start", "beta_end", "trained_betas", "rescale_betas_zero_snr")
"""What diffusers writes of every sampler, and what a flow model's does not use."""
OF_DYNAMIC_SHIFTS = frozenset({
    # How far a shift goes with the size, where one does: `use_dynamic_shifting` is not among them.
    "base_image_seq_len", "base_shift", "max_image_seq_len", "max_shift",
})  # fmt: skip
DISCRETE = ("timestep_type", "discrete")
"""Timesteps are numbers of the table, as ours are, and not noise levels."""
CONDITIONED = {
    "added_kv_proj_dim": "an image beside the text",
    "addition_embed_type": "a second text encoder and sizes, as Stable Diffusion XL",
    "class_embed_type": "a class or a noise level beside the text",
    "encoder_hid_dim_type": "an image beside the text",
    "image_dim": "an image beside the text",
    "num_class_embeds": "a class beside the text",
    "time_cond_proj_dim": "its guidance scale as an input, as LCM's",
}
"""Inputs of diffusers' networks that nothing here gives them."""
ABAR = "alphas_cumprod"
"""The schedule that checkpoints in the original layout were saved with."""
V_MARK, ZERO_SNR_MARK = "v_pred", "ztsnr"
"""Empty tensors by which checkpoints say how they were trained."""


def check_stated(role: str, spec: ExpertSpec, components: Components, family: ModuleType) -> None:
    """Hold what an expert's files say against its spec.

    Raises:
        ConfinerError: they say something else, or something that is not honoured.
    """
    check_text_encoder(components.config("text_encoder"), role, components.place("text_encoder"))
    _check_width(role, components, family)
    if family.CLASS:
        _check_class(role, components, family.CLASS)
        _check_inputs(role, spec, components)
    model = components.folders[0]
    if not family.FOLDER_HAS_SCHEDULE:
        return
    if model.is_file():
        _check_marks(role, spec, model)
    else:
        _check_scheduler(role, spec, model)


def _check_width(role: str, components: Components, family: ModuleType) -> None:
    """Hold the text encoder's width against what the UNet reads."""
    reads = family.text_width(components)
    writes = states_width(components.config("text_encoder"))
    if reads != writes:
        raise ConfinerError(
            f"the {role} expert reads texts of width {reads}, its text encoder in "
            f"{components.place('text_encoder')} writes {writes}",
            f"experts.{role}.shared= names a place with the text encoder that it was trained with",
        )


def _check_class(role: str, components: Components, wanted: str) -> None:
    """Refuse a network of another class: what it does with the same tensors is not known."""
    kind = components.config(components.network).get("_class_name", wanted)
    if kind != wanted:
        raise _unfit(components, f"is a {kind}", f"experts.{role}.model= takes a {wanted}")


def _check_inputs(role: str, spec: ExpertSpec, components: Components) -> None:
    """Refuse a network that wants more than noised latents of its space, a timestep and a text."""
    place, config = components.place(components.network), components.config(components.network)
    hint = f"experts.{role}.model= takes a text-to-image or text-to-video model"
    for key, wants in CONDITIONED.items():
        if config.get(key) is not None:
            raise _unfit(components, f"takes {wants} ({key}={config[key]})", hint)
    channels = config.get("in_channels", 4)
    if place.is_file():
        channels = single_file.in_channels(place) or channels
    if channels != config.get("out_channels", 4):
        why = f"takes {channels} channels, as one for inpainting or editing"
        raise _unfit(components, why, hint)
    if channels != spec.space.channels:
        raise _unfit(
            components,
            f"takes latents of {channels} channels, and those of latent_space={spec.latent_space} "
            f"have {spec.space.channels}",
            f"experts.{role}.model= takes one that was trained on these latents",
        )


def _unfit(components: Components, why: str, hint: str) -> ConfinerError:
    network = components.network
    place = components.place(network)
    return ConfinerError(f"the {components.role} expert's {network} in {place} {why}", hint)


def _check_scheduler(role: str, spec: ExpertSpec, model: Path) -> None:
    """Hold our schedule against the one that a pipeline folder states."""
    path = _scheduler_config(model)
    if path is None:
        return
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfinerError(
            f"{path} is no JSON", "mend it, or remove it: our own configs state the schedule"
        ) from error
    compared, known = _flow(spec, stated) if spec.prediction_type == FLOW else (stated, HARMLESS)
    # Where no shift is asked for, the steps lie elsewhere than a sampler would put them.
    for name in SCHEDULE if spec.flow_shift is None else (*SCHEDULE, "flow_shift"):
        ours = getattr(spec, name)
        theirs = compared.get(name, ours)
        if ours != theirs:
            raise _differs(role, name, ours, theirs, path)
    for name in _not_honoured(compared, known):
        raise ConfinerError(
            f"{path} says {name}={_short(stated[name])}, which is not honoured",
            "choose a model of another schedule; if the folder is wrong, remove the line",
        )


def _scheduler_config(model: Path) -> Path | None:
    """The config of a pipeline folder, or of the one that a UNet's folder lies in."""
    for folder in (model, model.parent):
        path = folder / "scheduler" / "scheduler_config.json"
        if path.is_file():
            return path
    return None


def _flow(spec: ExpertSpec, stated: Mapping[str, Any]) -> tuple[Mapping[str, Any], Set[str]]:
    """What a scheduler says of a flow model, by UniPC's names; and what of it changes nothing."""
    compared = {name: value for name, value in stated.items() if name not in BETAS}
    if str(stated.get("_class_name", "")).startswith("FlowMatch"):
        # Its name says what it predicts.
        compared["flow_shift"] = compared.pop("shift", 1.0)
        return compared, HARMLESS | OF_DYNAMIC_SHIFTS
    compared.setdefault("prediction_type", "epsilon")
    compared.setdefault("flow_shift", 1.0)
    return compared, HARMLESS | OF_DYNAMIC_SHIFTS | {"use_flow_sigmas"}


def _not_honoured(stated: Mapping[str, Any], known: Set[str]) -> Iterator[str]:
    for name, value in stated.items():
        if name.startswith("_") or name in known or name in SCHEDULE or name == "flow_shift":
            continue
        if value not in (None, False) and (name, value) != DISCRETE:
            yield name


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else f"{text[:50]}..."


def _check_marks(role: str, spec: ExpertSpec, file: Path) -> None:
    """Hold our schedule against what a checkpoint says of its own."""
    names = single_file.names_in(file)
    if V_MARK in names and spec.prediction_type != "v_prediction":
        raise _differs(role, "prediction_type", spec.prediction_type, "v_prediction", file)
    if ZERO_SNR_MARK in names and not spec.rescale_betas_zero_snr:
        raise _differs(role, "rescale_betas_zero_snr", False, True, file)
    said = single_file.prediction_type(file)
    if said and said != spec.prediction_type:
        raise _differs(role, "prediction_type", spec.prediction_type, said, file)
    if ABAR in names:
        _check_table(role, spec, read_part(file, ABAR, ABAR)[ABAR].tolist(), file)


def _check_table(role: str, spec: ExpertSpec, theirs: list[float], file: Path) -> None:
    schedule = spec.schedule
    ours = schedule.alphas_cumprod if isinstance(schedule, Discrete) else ()
    same = len(ours) == len(theirs) and all(
        math.isclose(one, other, rel_tol=1e-2, abs_tol=1e-5)
        for one, other in zip(ours, theirs, strict=True)
    )
    if not same:
        raise ConfinerError(
            f"{file} states a noise schedule (alphas_cumprod, {theirs[-1]:.3g} at the end) that is "
            f"not that of experts.{role} ({ours[-1] if ours else 0:.3g})",
            f"experts.{role}.beta_schedule=, beta_start=, beta_end= and rescale_betas_zero_snr= "
            "say which one it was trained on",
        )


def _differs(role: str, name: str, ours: Any, theirs: Any, path: Path) -> ConfinerError:
    words = f"experts.{role}.{name}="
    return ConfinerError(
        f"{words}{_plain(ours)}, but {path} says {_plain(theirs)}",
        f"{words}{_plain(theirs)} if it is right about its own weights",
    )


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
