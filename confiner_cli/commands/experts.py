"""`confiner experts`: sets of experts listed, fetched, checked, exported, converted."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from confiner_cli.commands.arguments import CONFIG_HELP, Parser, source_of
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.lean_imports import import_libraries

if TYPE_CHECKING:
    from confiner_cli.config.job import Job
    from confiner_cli.config.places import ConfigSource
    from confiner_cli.experts.spec import ExpertSpec

HELP = (
    """\
usage: confiner experts                   list the sets of experts, with licences, sizes and what
                                          is missing
       confiner experts download SET      fetch what is missing of a set
       confiner experts check SET         hash its files, hold every tensor's name and shape against
                                          its network, and ask each network once
       confiner experts export SET DIR    write DIR/control, DIR/spatial and DIR/temporal: pipeline
                                          folders that diffusers' AnimateDiffPipeline,
                                          StableDiffusionPipeline and TextToVideoSDPipeline load
                                          with from_pretrained
       confiner experts convert FILE      write LaVie's checkpoint, a .pt, as .safetensors beside
                                          it, which is taken instead from then on, also where
                                          the .pt is removed; FILE may be on the hub:
                                          YaohuiW/LaVie:lavie_base.pt

download and check take settings as `confiner generate` does: experts/spatial=epicrealism

"""
    + CONFIG_HELP
)


def main(arguments: list[str]) -> int:
    """Do one of these; the exit code is `cli.main`'s."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP, end="")
        return 0
    options = Parser("experts", words="words").read(arguments)
    source = source_of(options)
    match options.words:
        case []:
            _list(source)
        case ["download", name, *overrides]:
            _download(_job(name, overrides, source))
        case ["check", name, *overrides]:
            _check(_job(name, overrides, source))
        case ["export", name, folder]:
            _export(name, Path(folder).expanduser().absolute(), source)
        case ["convert", file]:
            _convert(file)
        case words:
            raise ConfinerError(
                f"cannot read: experts {' '.join(words)}",
                "confiner experts download SET, check SET, export tiny DIR or convert FILE",
            )
    return 0


def _list(source: ConfigSource) -> None:
    from confiner_cli.config.hydra import settings_with
    from confiner_cli.experts.spec import sharing_vaes

    for name in source.choices("experts"):
        settings = settings_with([f"experts={name}"], source=source)
        chosen, steps = settings.experts, settings.scheduler.structure.num_inference_steps
        size = f"{chosen.height}x{chosen.width}"
        print(f"{name:<16}{chosen.description}")
        print(f"{'':<16}{size}, {chosen.num_frames} frames, {chosen.fps} fps")
        for role, expert in sharing_vaes(chosen.by_role()).items():
            _list_expert(role, expert.for_steps(steps))


def _list_expert(role: str, expert: ExpertSpec) -> None:
    from confiner_cli.experts.spec import requirements
    from confiner_cli.weights import hub

    facts = ", ".join(filter(None, (expert.family, expert.licence, expert.size)))
    print(f"{'':<16}{role:<9} {facts}")
    needed = replace(expert, preview=None)  # as long as a run does not ask for it
    for _, requirement in requirements(needed):
        place = hub.found(requirement)
        named = "" if requirement.ref.path else f"{requirement.ref}: "
        print(f"{'':<26}{named}{'missing' if place is None else place}")


def _download(job: Job) -> None:
    from confiner_cli.experts.spec import requirements
    from confiner_cli.runs.downloads import download_missing
    from confiner_cli.weights import hub

    download_missing(job)
    places: dict[Path, None] = {}
    for expert in job.experts.values():
        for _, requirement in requirements(expert):
            places[hub.cached(requirement)] = None
    for place in places:
        print(place)


def _check(job: Job) -> None:
    import_libraries()
    from confiner_cli.experts.device import device_of, dtype_of
    from confiner_cli.experts.inspection import inspect

    device = device_of(job.settings.device)
    dtype = dtype_of(job.settings.dtype, device)
    for role, expert in job.experts.items():
        for line in inspect(role, expert, device, dtype):
            print(f"{role:<9} {line}", flush=True)


def _export(name: str, folder: Path, source: ConfigSource) -> None:
    from confiner_cli.config.hydra import settings_with

    experts = settings_with([f"experts={name}"], source=source).experts
    import_libraries()
    from confiner_cli.experts.export import export

    for path in export(experts.by_role(), folder):
        print(path)


def _convert(file: str) -> None:
    from confiner_cli import progress

    import_libraries()
    from confiner_cli.experts.networks.lavie_checkpoint import convert
    from confiner_cli.weights import hub
    from confiner_cli.weights.model_ref import Requirement, converted, model_ref

    path = hub.cached(Requirement(model_ref(file), ()))
    path = path if path.is_symlink() else path.absolute()
    target = converted(path)
    if path == target:
        raise ConfinerError(f"{path} is safetensors already", "name it, or the .pt, as model=")
    convert(path, target)
    print(target)
    pickle = dict.fromkeys((str(path), str(path.resolve())))
    progress.say(f"nothing needs the pickle any more: rm {shlex.join(pickle)}")


def _job(name: str, overrides: list[str], source: ConfigSource) -> Job:
    from confiner_cli.config.resolve import resolve
    from confiner_cli.runs.provenance import settings_of_words

    return resolve(settings_of_words([f"experts={name}", *overrides], source))
