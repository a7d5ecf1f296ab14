"""`confiner generate`: Hydra composes the config, a run makes the video; or a sweep makes many."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confiner_cli.commands.arguments import CONFIG_HELP, Parser, source_of
from confiner_cli.config.places import OURS
from confiner_cli.errors import ConfinerError

if TYPE_CHECKING:
    from confiner_cli.config.hydra import HydraJob
    from confiner_cli.config.overrides import Overrides

HELP = (
    """\
usage: confiner generate prompt="..." [key=value ...] [-m]

{groups}

  prompt="..."         what the video shows, verbatim     prompt_file=FILE   the prompt, in a file
  negative_prompt=""   what it does not show              from=FILE_OR_DIR   a recorded video again
  seed=7               null draws one                     num_frames=  height=  width=  fps=
  device=auto          cpu, cuda, cuda:1                  dtype=auto   float32, float16, bfloat16
  at=48:"..."          the prompt from frame 48 on        structure.video=FILE  a video to refine
  long_video=confiner_long num_frames=600                 num_frames=inf    until Ctrl-C
  threads=auto         a number: that compute on the CPU
  executor=here        processes, ray: workers share one long video; workers= says how many
  output.dir=DIR       run folder; with -m the sweep's    output.save_latents=  output.metadata=
  output.format=mp4    gif, webm, apng, webp              output.audio=copy   none: no sound of it
  output.structure=full  preview: decoded cheaply, false: none of it
  output.measure=true  flicker, motion, sharpness, ... of the video, in run.json
  resume=true          go on with the run in output.dir, if there is one

  -m                   sweep: key=a,b,c   prompt="..." prompt="..."
                       prompts_file=FILE (one prompt a line)   seed=1,2,3,4 batch=4 (in one forward)
  hydra/launcher=NAME  where a sweep's jobs are made: slurm, ray, joblib (several processes)
  --cfg job            print the config and stop          --hydra-help      Hydra's own flags
"""
    + CONFIG_HELP
)
SWITCHES = {
    "--multirun": "-m",
    "--run": "-r",
    "--resolve": None,
    "--hydra-help": None,
    "--shell-completion": "-sc",
}
SHOWN = ("job", "hydra", "all")
INFORMED = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
"""What Hydra can show of a config, and of itself."""
REFUSED = {
    "--experimental-rerun": (None, "reads a pickle", "use from=RUN_DIR"),
    "--config-path": (
        "-cp",
        "would hide confiner's own configs",
        "use --config-dir, which adds a folder",
    ),
}
"""Flags of Hydra that are not taken: why, and what to use instead."""
NO_SWEEP = ("--run", "--cfg", "--info", "--shell-completion")
"""Flags that do not go with `--multirun`."""


def main(arguments: list[str]) -> int:
    """Run the command; the exit code is `cli.main`'s."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP.format(groups="\n".join(_groups())), end="")
        return 0
    options = _parser().read(arguments)
    _refuse(options)
    from confiner_cli.config.overrides import parse_overrides
    from confiner_cli.config.sweep_config import SweepConfig, sweep_config
    from confiner_cli.runs.provenance import recorded_under, recorded_weights

    source, words = source_of(options), options.overrides
    swept = SweepConfig() if _shows(options) else sweep_config(words, source)
    if swept.is_sweep or options.multirun:
        words = swept.words(words)
        options.multirun, options.run = True, False
    overrides = parse_overrides(words, options.multirun, source)
    recorded, weights = recorded_under(overrides), recorded_weights(overrides)
    if options.multirun:
        from confiner_cli.commands.sweep import sweep

        return sweep(overrides, recorded, weights)
    _single(_flags(options), overrides, recorded, weights)
    return 0


def _single(
    flags: list[str],
    overrides: Overrides,
    recorded: Mapping[str, Any] | None,
    weights: Mapping[str, Any],
) -> None:
    """Run one job and print the path of its video."""
    from confiner_cli.commands.results import hand_over
    from confiner_cli.config.hydra import launch

    failures: list[Exception] = []

    def carry_out(job: HydraJob) -> None:
        try:
            hand_over(_video(job, weights))
        except Exception as error:  # Hydra would print it in its own way
            failures.append(error)

    launch([*flags, *overrides.for_hydra()], carry_out, recorded, overrides.source)
    for failure in failures:
        raise failure


def _video(asked: HydraJob, weights: Mapping[str, Any]) -> Path:
    from confiner_cli.config.resolve import require_prompt, resolve
    from confiner_cli.experts.offload import NetworkCache
    from confiner_cli.runs.folder import RunFolder
    from confiner_cli.runs.jobs import carry_out
    from confiner_cli.runs.provenance import with_recorded_seed

    settings = require_prompt(asked.settings())
    if settings.batch != 1:
        raise ConfinerError(
            f"batch={settings.batch} is for a sweep over seeds", "-m seed=1,2,3,4 batch=4"
        )
    job = resolve(with_recorded_seed(settings))
    place = RunFolder.of("outputs", job.settings.output.dir)
    with NetworkCache() as networks:
        return carry_out([job], place, asked.snapshots(), networks, weights)[0]


def _groups() -> list[str]:
    """A line for each group: its name and what it takes."""
    from confiner_cli.config.overrides import GROUPS

    whole = [group for group in GROUPS if "/" not in group]
    return [f"  {f'{group}=':<21}{' | '.join(OURS.choices(group))}" for group in whole]


def _parser() -> Parser:
    """Hydra's flags, too."""
    parser = Parser("generate")
    for flag, short in SWITCHES.items():
        parser.add_argument(*filter(None, (flag, short)), action="store_true")
    parser.add_argument("--package", "-p")
    parser.add_argument("--cfg", "-c", choices=SHOWN)
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=INFORMED)
    for flag, (short, _, _) in REFUSED.items():
        parser.add_argument(*filter(None, (flag, short)))
    return parser


def _refuse(options: Namespace) -> None:
    for flag, (_, why, cure) in REFUSED.items():
        if getattr(options, _attribute(flag)):
            raise ConfinerError(f"{flag} {why}", cure)
    for flag in NO_SWEEP:
        if options.multirun and getattr(options, _attribute(flag)):
            raise ConfinerError(f"{flag} does not go with -m", "leave out one of them")


def _shows(options: Namespace) -> bool:
    """Whether something is only printed."""
    return bool(options.cfg or options.info or options.hydra_help or options.shell_completion)


def _flags(options: Namespace) -> list[str]:
    """The flags as Hydra is given them, before the overrides; its files are `launch`'s."""
    flags = [flag for flag in SWITCHES if getattr(options, _attribute(flag))]
    for flag in ("--package", "--cfg", "--info"):
        value = getattr(options, _attribute(flag))
        flags += [] if value is None else [flag, value]
    return flags


def _attribute(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")
