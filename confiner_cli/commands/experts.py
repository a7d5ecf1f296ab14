"""`confiner experts`: the sets there are and what is missing of them; fetched, checked, exported, converted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError

HELP = """\
usage: confiner experts                   list the sets of experts, with licences, sizes and what is missing
       confiner experts download SET      fetch what is missing of a set
       confiner experts check SET         hash its files, hold every tensor's name and shape against its network, and
                                          ask each network once
       confiner experts export SET DIR    write DIR/control, DIR/spatial and DIR/temporal: pipeline folders that
                                          diffusers' AnimateDiffPipeline, StableDiffusionPipeline and
                                          TextToVideoSDPipeline load with from_pretrained
       confiner experts convert FILE      write LaVie's checkpoint, a .pt, as .safetensors beside it, which is
                                          preferred from then on; FILE may be on the hub: YaohuiW/LaVie:lavie_base.pt

download and check take settings as `confiner generate` does: experts/spatial=epicrealism scheduler=confiner_18
"""


def main(arguments: list[str]) -> int:
    """Do one of these; the exit code is `cli.main`'s."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP, end="")
        return 0
    match arguments:
        case []:
            _list()
        case ["download", name, *overrides]:
            _download(name, overrides)
        case ["check", name, *overrides]:
            _check(name, overrides)
        case ["export", name, folder]:
            _export(name, Path(folder).expanduser().absolute())
        case ["convert", file]:
            _convert(file)
        case _:
            raise ConfinerError(
                f"cannot read: experts {' '.join(arguments)}",
                "confiner experts download SET, check SET, export tiny DIR or convert FILE",
            )
    return 0


def _names() -> Iterator[str]:
    from confiner_cli.config.hydra import config_dir

    yield from sorted(path.stem for path in (config_dir() / "experts").glob("*.yaml"))


def _list() -> None:
    from confiner_cli.config.hydra import compose, settings_of
    from confiner_cli.config.schema import ROLES
    from confiner_cli.experts.spec import requirements
    from confiner_cli.weights import hub

    for name in _names():
        settings = settings_of(compose([f"experts={name}"]))
        chosen = settings.experts
        print(f"{name:<16}{chosen.description}")
        print(
            f"{'':<16}{chosen.height}x{chosen.width}, {chosen.num_frames} frames, {chosen.fps} fps"
        )
        for role in ROLES:
            expert = settings.expert(role)
            facts = ", ".join(text for text in (expert.family, expert.licence, expert.size) if text)
            print(f"{'':<16}{role:<9} {facts}")
            for _, requirement in requirements(role, expert):
                place = hub.found(requirement)
                named = "" if requirement.ref.path else f"{requirement.ref}: "
                print(f"{'':<26}{named}{'missing' if place is None else place}")


def _download(name: str, overrides: list[str]) -> None:
    from confiner_cli.config.roles import required_models
    from confiner_cli.weights import hub
    from confiner_cli.weights.download import fetch

    required = list(required_models(_settings(name, overrides)))
    fetch(required)
    for place in dict.fromkeys(hub.cached(requirement) for requirement, _ in required):
        print(place)


def _check(name: str, overrides: list[str]) -> None:
    settings = _settings(name, overrides)
    from confiner_cli.config.roles import loaded_roles
    from confiner_cli.experts.device import device_of, dtype_of
    from confiner_cli.experts.inspection import inspect

    device = device_of(settings.device)
    dtype = dtype_of(settings.dtype, device)
    for role in loaded_roles(settings):
        for line in inspect(role, settings.expert(role), device, dtype):
            print(f"{role:<9} {line}", flush=True)


def _export(name: str, folder: Path) -> None:
    from confiner_cli.config.hydra import compose, settings_of
    from confiner_cli.experts.export import export

    experts = settings_of(compose([f"experts={name}"])).experts
    for path in export(experts.by_role(), folder):
        print(path)


def _convert(file: str) -> None:
    from confiner_cli.experts.networks.lavie_checkpoint import convert
    from confiner_cli.weights import hub
    from confiner_cli.weights.model_ref import Requirement, model_ref

    path = hub.cached(Requirement(model_ref(file)))
    path = path if path.is_symlink() else path.absolute()
    convert(path, path.with_suffix(".safetensors"))
    print(path.with_suffix(".safetensors"))


def _settings(name: str, overrides: list[str]) -> Settings:
    from dataclasses import replace

    from confiner_cli.config.hydra import compose, settings_of
    from confiner_cli.config.overrides import for_hydra
    from confiner_cli.config.resolve import resolved

    words = for_hydra([f"experts={name}", *overrides], multirun=False)
    return resolved(replace(settings_of(compose(words)), prompt="-"))
