"""`confiner generate`: Hydra composes the config, `run` makes the video; every ending is two lines or a path."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

from confiner_cli.errors import ConfinerError

HELP = """\
usage: confiner generate prompt="..." [key=value ...] [-m]

{groups}

  prompt="..."         what the video shows, verbatim       prompt_file=FILE   the prompt in a file
  negative_prompt=""   what it does not show                from=FILE_OR_DIR   make a recorded video again
  seed=7               null draws one                       num_frames=  height=  width=  fps=
  device=auto          cpu, cuda, cuda:1                    dtype=auto         float32, float16, bfloat16
  at=48:"..."          the prompt from frame 48 on          structure.video=FILE   a video to refine
  long_video=confiner_long num_frames=600                   num_frames=inf     until Ctrl-C
  output.dir=DIR       run folder; with -m the sweep's      output.save_latents=true   output.metadata=false
  resume=true          go on with the run in output.dir, if there is one

  -m                   sweep: key=a,b,c   prompt="..." prompt="..."   prompts_file=FILE (one prompt a line)
  --cfg job            print the config and stop            --hydra-help       Hydra's own flags
"""
_PROMPTED = re.compile(r"\+{0,2}(prompt=|hydra\.sweeper\.params)").match
FLAGS = {
    "multirun": "--multirun", "run": "--run", "resolve": "--resolve", "hydra_help": "--hydra-help",
    "shell_completion": "--shell-completion",
}  # fmt: skip
VALUED = {
    "cfg": "--cfg", "package": "--package", "info": "--info", "config_name": "--config-name",
    "config_dir": "--config-dir",
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the command; the exit code is `cli.main`'s."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP.format(groups="\n".join(_groups())), end="")
        return 0
    from confiner_cli.commands.sweep import parse, start

    options = parse(arguments)
    _refuse(options)
    sweep = options.multirun
    from confiner_cli.config.overrides import for_hydra

    words = for_hydra(options.overrides, sweep)
    if (
        sweep
        and not options.config_dir
        and not options.config_name
        and not any(map(_PROMPTED, words))
    ):
        raise ConfinerError(
            "prompt is empty", 'say what the videos show: prompt="a red heart rising" prompt="..."'
        )
    flags = [flag for name, flag in FLAGS.items() if getattr(options, name)]
    for name, flag in VALUED.items():
        value = getattr(options, name)
        flags += [] if value is None else [flag, value]
    return start(flags, words, sweep)


def _groups() -> list[str]:
    folder = next(
        folder for folder in (Path(__file__).parents[2] / "configs", Path(__file__).parents[1] / "configs")
        if (folder / "generate.yaml").is_file()
    )  # fmt: skip
    rows = []
    for group in ("experts", "scheduler", "long_video"):
        names = sorted(path.stem for path in (folder / group).glob("*.yaml"))
        rows.append(f"  {group + '=':<21}{' | '.join(names)}")
    return rows


def _refuse(options: Namespace) -> None:
    if options.experimental_rerun:
        raise ConfinerError("--experimental-rerun reads a pickle", "use from=RUN_DIR")
    if options.config_path:
        raise ConfinerError(
            "--config-path would hide confiner's own configs",
            "use --config-dir, which adds a folder",
        )
