"""The scheduler's settings held to what the method has, and turned into the method's options."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from confiner_cli.config.bounds import in_range, one_of
from confiner_cli.config.bridging import across_families
from confiner_cli.config.schema import (
    ROLES,
    RefinementSettings,
    SchedulerSettings,
    Settings,
    StructureSettings,
)
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.spec import ExpertSpec
from confiner_cli.method.options import (
    FRAME_NOISES,
    GuidanceOptions,
    RefinementOptions,
    StructureOptions,
)
from confiner_cli.method.refinement import (
    ASKS,
    PATTERNS,
    RENOISE,
    SINGLE_EXPERT,
    TIMESTEP_MATCHINGS,
)
from confiner_cli.method.schedule import Schedule, flow_level
from confiner_cli.method.solvers import SOLVERS
from confiner_cli.method.structure import SPACINGS

STRUCTURE = "scheduler.structure"
REFINEMENT = "scheduler.refinement"


def structure_roles(settings: Settings) -> set[str]:
    """The expert that samples structures; none where a video is given in their place."""
    return set() if settings.structure.video else {settings.scheduler.structure.expert}


def refining_roles(settings: Settings) -> set[str]:
    """The experts that the refinement may ask: of both those that there are."""
    if not settings.scheduler.refinement.num_inference_steps:
        return set()
    return {"spatial", "temporal"} & settings.experts.by_role().keys()


def step_schedule(settings: Settings) -> Schedule:
    """The schedule that the refinement's steps are counted on, as `refinement.Pair` has it."""
    experts = settings.experts.by_role()
    return (experts.get("spatial") or settings.experts.role("temporal")).schedule


def scheduler_options(settings: Settings) -> tuple[StructureOptions, RefinementOptions]:
    """The options of both stages.

    Raises:
        ConfinerError: a value that cannot be used, named with its key.
    """
    scheduler = settings.scheduler
    asked = structure_roles(settings) | refining_roles(settings)
    if not asked:
        raise ConfinerError(
            f"with scheduler={scheduler.name} and structure.video= there is nothing to do: it has "
            "no refinement, and the video takes the place of the structure",
            "scheduler=confiner_9",
        )
    one_of(f"{STRUCTURE}.expert", scheduler.structure.expert, ROLES)
    last = min(settings.experts.role(role).num_train_timesteps for role in asked) - 1
    structure = StructureOptions(expert=scheduler.structure.expert)
    drafting = settings.experts.by_role().get(structure.expert)
    if drafting is not None:
        structure = _structure(scheduler.structure, drafting)
        if structure.expert in asked:
            _check_distilled(structure, drafting)
    refinement = _refinement(scheduler.refinement, last)
    _check_asked(refinement, settings)
    refinement = across_families(refinement, settings)
    if settings.strength is not None:
        refinement = _of_strength(refinement, settings.strength, settings)
    _check_interval(scheduler)
    return structure, refinement


def guidance_of(scheduler: SchedulerSettings, expert: ExpertSpec) -> GuidanceOptions:
    """How an expert is guided under a scheduler, whose interval is checked."""
    low, high = scheduler.guidance_interval
    return GuidanceOptions(expert.guidance_scale, low, high)


def _check_asked(refinement: RefinementOptions, settings: Settings) -> None:
    for pattern in dict.fromkeys(refinement.patterns):
        for role in ASKS.get(pattern, ("spatial", "temporal")):
            if role not in settings.experts.by_role():
                alone = ", ".join(name for name, asks in ASKS.items() if role not in asks)
                raise ConfinerError(
                    f"{REFINEMENT}.pattern={pattern} asks the {role} expert, and "
                    f"experts={settings.experts.name} has none",
                    f"{REFINEMENT}.pattern= one of {alone}, or experts/{role}= names one",
                )


def _structure(asked: StructureSettings, expert: ExpertSpec) -> StructureOptions:
    steps = asked.num_inference_steps
    in_range(f"{STRUCTURE}.num_inference_steps", steps, 1, expert.num_train_timesteps - 1)
    one_of(f"{STRUCTURE}.timestep_spacing", asked.timestep_spacing, SPACINGS)
    one_of(f"{STRUCTURE}.solver", asked.solver, SOLVERS)
    _check_timesteps(asked, expert.schedule.last_timestep)
    own = expert.distilled_timesteps if len(expert.distilled_timesteps) == steps else ()
    noise = expert.step_noise if asked.step_noise is None else asked.step_noise
    renoise = _renoise(f"{STRUCTURE}.step_noise", noise)
    if renoise and asked.solver != "ddim":
        raise ConfinerError(
            f"{STRUCTURE}.solver={asked.solver} remembers the steps before, which fresh noise ends",
            f"{STRUCTURE}.step_noise=predicted, or {STRUCTURE}.solver=ddim",
        )
    return StructureOptions(
        expert=asked.expert,
        num_inference_steps=steps,
        timestep_spacing=asked.timestep_spacing,
        solver=asked.solver,
        timesteps=tuple(asked.timesteps or own),
        renoise=renoise,
    )


def _check_timesteps(asked: StructureSettings, last: int) -> None:
    key, listed = f"{STRUCTURE}.timesteps", asked.timesteps
    if not listed:
        return
    for t in listed:
        in_range(key, t, 0, last)
    if any(later >= earlier for earlier, later in itertools.pairwise(listed)):
        raise ConfinerError(f"{key}={listed} do not fall", "list them from the noisiest down")
    if len(listed) != asked.num_inference_steps:
        raise ConfinerError(
            f"{key} lists {len(listed)} timesteps for {asked.num_inference_steps} steps",
            f"{STRUCTURE}.num_inference_steps={len(listed)}",
        )


def _check_distilled(structure: StructureOptions, expert: ExpertSpec) -> None:
    steps, made_for = structure.num_inference_steps, expert.distilled_steps
    if made_for and steps not in made_for:
        nearest = min(made_for, key=lambda count: abs(count - steps))
        raise ConfinerError(
            f"{STRUCTURE}.num_inference_steps={steps}: the {structure.expert} expert was distilled "
            f"for {', '.join(map(str, made_for))} steps only",
            f"{STRUCTURE}.num_inference_steps={nearest}",
        )


def _refinement(asked: RefinementSettings, last: int) -> RefinementOptions:
    steps = asked.num_inference_steps
    in_range(f"{REFINEMENT}.num_inference_steps", steps, 0, last)
    if not steps:
        return RefinementOptions(patterns=())
    in_range(f"{REFINEMENT}.te", asked.te, steps, last)
    one_of(f"{REFINEMENT}.timestep_matching", asked.timestep_matching, TIMESTEP_MATCHINGS)
    one_of(f"{REFINEMENT}.frame_noise", asked.frame_noise, FRAME_NOISES)
    one_of(f"{REFINEMENT}.solver", asked.solver, SOLVERS)
    in_range(f"{REFINEMENT}.repeats", asked.repeats, 1, 100)
    patterns = _patterns(asked.pattern, steps)
    if asked.solver != "ddim" and not (len(set(patterns)) == 1 and patterns[0] in SINGLE_EXPERT):
        raise ConfinerError(
            f"{REFINEMENT}.solver={asked.solver} remembers the steps before, which a hand-over "
            "between experts ends",
            f"{REFINEMENT}.pattern= one of {', '.join(SINGLE_EXPERT)}, or solver=ddim",
        )
    return RefinementOptions(
        patterns=patterns,
        te=float(asked.te),
        renoise=_renoise(f"{REFINEMENT}.hop_noise", asked.hop_noise),
        timestep_matching=asked.timestep_matching,
        frame_noise=asked.frame_noise,
        solver=asked.solver,
        repeats=asked.repeats,
        bridge=asked.bridge,
    )


def _of_strength(
    refinement: RefinementOptions, strength: float, settings: Settings
) -> RefinementOptions:
    """The refinement from the timestep that has so much noise."""
    steps = refinement.num_inference_steps
    if not steps:
        raise ConfinerError(
            f"strength={strength}: scheduler={settings.scheduler.name} has no refinement",
            "scheduler=confiner_9, or another with one",
        )
    schedule = step_schedule(settings)
    # Each step has a whole timestep of its own, as with te.
    low, high = (schedule.level(t).sigma for t in (steps, schedule.num_train_timesteps - 1))
    if not low <= strength < high:
        least, most = math.ceil(low * 1000) / 1000, math.floor(high * 1000) / 1000
        raise ConfinerError(
            f"strength={strength} is out of range", f"strength= takes {least} to {most} here"
        )
    return replace(refinement, te=schedule.t(flow_level(strength)))


def _renoise(key: str, asked: object) -> float:
    """The share of fresh noise on arrival at a visit: a word or a number."""
    if isinstance(asked, (int, float)) and not isinstance(asked, bool):
        in_range(key, asked, 0, 1)
        return float(asked)
    one_of(key, asked, RENOISE, "or a number from 0 to 1")
    return RENOISE[str(asked)]


def _patterns(asked: object, steps: int) -> tuple[str, ...]:
    """One pattern's name for each step: a single name is used for all."""
    key = f"{REFINEMENT}.pattern"
    names = tuple(asked) if isinstance(asked, (list, tuple)) else (asked,) * steps
    for name in names:
        one_of(key, name, PATTERNS)
    if len(names) != steps:
        raise ConfinerError(
            f"{key} lists {len(names)} patterns for {steps} steps",
            "name one pattern for all steps, or one a step",
        )
    return tuple(map(str, names))


def _check_interval(scheduler: SchedulerSettings) -> None:
    interval = scheduler.guidance_interval
    if len(interval) != 2 or not 0 <= interval[0] <= interval[1] <= 1:
        raise ConfinerError(
            f"scheduler.guidance_interval={interval} is not an interval of noise levels",
            "two numbers from 0 (clean) to 1 (noise): scheduler.guidance_interval=[0.35,1.0]",
        )
