"""Lay finished videos out for VBench: `python scripts/vbench_folder.py RUNS DIR`.

docs/vbench.md has what comes next.

RUNS are run folders, sweeps or whole outputs folders. DIR gets a hard link to each finished video,
and nothing else: `{prompt}-{i}.mp4`, the name that VBench's standard mode looks for, where i counts
a prompt's runs by seed. Beside it, DIR.json says the prompt of every file: the prompt file of
VBench's custom mode. A prompt that cannot be a file's name is there only. The same command again
brings DIR up to date; a file that is not in RUNS, too, is never touched.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import shlex
import shutil
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confiner_cli.config.flatten import flatten
from confiner_cli.config.prompts import slug
from confiner_cli.config.schema import OF_THE_RUN
from confiner_cli.errors import ConfinerError, named_error
from confiner_cli.files import atomic_write, sha256, temporary_beside
from confiner_cli.runs.folder import RECORD, video_name
from confiner_cli.runs.record import read_run

VIDEO = video_name("mp4")
LONGEST_NAME = 255
"""Bytes of a file's name, on all usual file systems."""
FREE = ("prompt", "seed", *OF_THE_RUN, "device", "memory", "frame_batch", "structure.sha256")
"""Settings in which the videos of one evaluation may differ; those of `output` may, too."""
TEMPORARY_PREFIX = ".vbench-folder."
"""Files of ours that a kill may leave in the folder begin with this."""
NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class LeftOutError(Exception):
    """Why a run's video is not evaluated."""


@dataclass(frozen=True)
class Finished:
    """A finished run: what was asked for, where it is, and the hash of its video."""

    prompt: str
    seed: int
    config: Mapping[str, Any]
    folder: Path
    digest: str

    @property
    def video(self) -> Path:
        """The file."""
        return self.folder / VIDEO


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    directory = options.directory.expanduser().absolute()
    try:
        lay_out(options.runs, directory)
    except (ConfinerError, OSError) as error:
        named = named_error(error)
        print(named.lines(), file=sys.stderr)
        return named.exit_code
    print(directory)
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "runs", nargs="+", type=Path, metavar="RUNS", help="run folders, or folders that hold some"
    )
    made.add_argument(
        "directory",
        type=Path,
        metavar="DIR",
        help="where the videos go: new, empty or made by this",
    )
    return made


def lay_out(roots: Sequence[Path], directory: Path) -> None:
    """Make the folder and its prompt file, and say on stderr what is in it and what was left out.

    Raises:
        ConfinerError: there is nothing to evaluate, the settings differ, or the folder has files of
            others.
    """
    runs = list(finished(roots))
    one_setting(runs)
    prompts = directory.with_name(f"{directory.name}.json")
    refuse_foreign(directory, prompts, runs)
    directory.mkdir(parents=True, exist_ok=True)
    chosen = names(runs, str if tells_capitals_apart(directory) else folded)
    prompts.unlink(missing_ok=True)  # a kill must not leave one that is wrong
    copied = fill(directory, chosen)
    with atomic_write(prompts) as temporary:
        # ASCII, for VBench reads it in the locale's encoding.
        temporary.write_text(
            json.dumps({name: run.prompt for name, run in chosen.items()}, indent=1) + "\n"
        )
    report(directory, prompts, chosen, copied)


def finished(roots: Sequence[Path]) -> Iterator[Finished]:
    """The runs below these folders that are done and whose videos are intact, each once.

    Others are told on stderr.
    """
    folders = {path.parent.resolve() for root in roots for path in records(root)}
    for folder in sorted(folders):
        try:
            yield opened(folder)
        except (LeftOutError, ConfinerError) as reason:
            say(f"left out: {folder}: {reason}")


def records(root: Path) -> list[Path]:
    """The records of runs below a folder.

    Raises:
        ConfinerError: there is none, finished or not.
    """
    found = list(root.expanduser().rglob(RECORD))
    if not found:
        raise ConfinerError(
            f"there is no run in {root}", "name run folders, or folders that hold some: outputs"
        )
    return found


def opened(folder: Path) -> Finished:
    """A run to evaluate. Raises LeftOutError or ConfinerError where it is none."""
    record = read_run(folder)
    if record.status != "done":
        raise LeftOutError(f"its status is {record.status or 'unknown'}, not done")
    if not isinstance(record.seed, int) or not (record.prompt and record.config and record.files):
        raise LeftOutError(f"its {RECORD} does not say prompt, seed, config, files")
    if record.prompts or record.config.get("prompts"):
        raise LeftOutError("its prompt changes on the way, and to VBench a video has one")
    if record.video != VIDEO:
        raise LeftOutError(f"its video is {record.video}, and VBench is given MP4s")
    if not (folder / VIDEO).is_file():
        raise LeftOutError(f"its {VIDEO} is gone")
    digest = sha256(folder / VIDEO)
    if digest != record.files.get(VIDEO):
        raise LeftOutError(f"its {VIDEO} is not the one that it made")
    return Finished(record.prompt, record.seed, record.config, folder, digest)


def one_setting(runs: Sequence[Finished]) -> None:
    """Refuse to evaluate videos together that were made in different ways.

    Raises:
        ConfinerError: there is no run, or two differ in more than prompt and seed.
    """
    if not runs:
        raise ConfinerError(
            "none of the runs is finished", "finish one, or name a folder with finished ones"
        )
    first = settings(runs[0])
    for run in runs:
        now = settings(run)
        # A setting that an older record does not have yet is no difference.
        different = sorted(key for key in {*first} & {*now} if first[key] != now[key])
        if different:
            raise ConfinerError(
                f"the runs have different settings: {', '.join(different)} "
                f"({runs[0].folder} and {run.folder})",
                "name runs of one setting; another setting gets another DIR",
            )


def settings(run: Finished) -> dict[str, Any]:
    """What all videos of an evaluation must share, by dotted key."""
    flat = flatten(run.config)
    # Each prompt may have a video of its own to refine, if all have one.
    flat["structure.video"] = flat.get("structure.video") is not None
    return {
        key: value
        for key, value in flat.items()
        if key not in FREE and not key.startswith("output.")
    }


def names(runs: Sequence[Finished], same: Callable[[str], str] = str) -> dict[str, Finished]:
    """The runs by the names of their files; a second one of a prompt and a seed is left out.

    Two prompts of which `same` makes one text have one name as far as the file system is concerned.
    """
    by_seed: dict[str, dict[int, Finished]] = {}
    for run in runs:
        first = by_seed.setdefault(run.prompt, {}).setdefault(run.seed, run)
        if first is not run:
            say(f"left out: {run.folder}: it has the prompt and the seed of {first.folder}")
    taken: set[str] = set()
    chosen = {}
    for prompt, seeds in by_seed.items():
        stem = (
            prompt
            if can_be_a_name(prompt, len(seeds)) and same(prompt) not in taken
            else stand_in(prompt, by_seed)
        )
        taken.add(same(stem))
        chosen.update({f"{stem}-{i}.mp4": seeds[seed] for i, seed in enumerate(sorted(seeds))})
    return chosen


def can_be_a_name(prompt: str, number: int) -> bool:
    """Whether `{prompt}-{i}.mp4` is a file's name for so many i."""
    return (
        not {"/", "\0", "\n"} & {*prompt}
        and len(f"{prompt}-{number - 1}.mp4".encode()) <= LONGEST_NAME
    )


def stand_in(prompt: str, prompts: Collection[str]) -> str:
    """A short name for a prompt: what of it may stand there, and its hash, so that it is unique."""
    digest = hashlib.sha256(prompt.encode()).hexdigest()
    stems = (f"{slug(prompt)}-{digest[:length]}" for length in range(16, len(digest) + 1))
    return next(stem for stem in stems if stem not in prompts)


def tells_capitals_apart(directory: Path) -> bool:
    """Whether files of a folder may have names that differ in capitals only; not on a Mac."""
    with tempfile.NamedTemporaryFile(prefix=TEMPORARY_PREFIX, dir=directory) as file:
        path = Path(file.name)
        return not path.with_name(path.name.swapcase()).exists()


def folded(name: str) -> str:
    """A name without what such a file system does not tell apart."""
    return unicodedata.normalize("NFC", name).casefold()


def refuse_foreign(directory: Path, prompts: Path, runs: Sequence[Finished]) -> None:
    """Refuse a folder that has anything in it that the runs do not have: it could be lost.

    Raises:
        ConfinerError: there is such a file, or such a prompt in the prompt file.
    """
    cure = "name a new DIR, or the runs that are in this one as well"
    if directory.exists() and not directory.is_dir():
        raise ConfinerError(f"{directory} is not a folder", cure)
    for path in directory.iterdir() if directory.exists() else ():
        if not is_in(path, runs) and not path.name.startswith(TEMPORARY_PREFIX):
            raise ConfinerError(f"{path} is not a video of these runs", cure)
    if prompts.exists() and not is_made_here(prompts, {run.prompt for run in runs}):
        raise ConfinerError(
            f"{prompts} is where the prompts would go, and has something else in it", cure
        )


def is_in(path: Path, runs: Sequence[Finished]) -> bool:
    """Whether a file is a video of these runs, or a copy of one."""
    return path.is_file() and not path.is_symlink() and sha256(path) in {run.digest for run in runs}


def is_made_here(path: Path, prompts: Collection[str]) -> bool:
    """Whether a file is a prompt file of these prompts."""
    with suppress(ValueError, TypeError):
        known = json.loads(path.read_text(encoding="utf-8"))
        return isinstance(known, dict) and all(
            name.endswith(".mp4") and known[name] in prompts for name in known
        )
    return False


def fill(directory: Path, chosen: Mapping[str, Finished]) -> int:
    """Give the folder these files and no others; how many had to be copied."""
    for path in list(directory.iterdir()):
        run = chosen.get(path.name)
        if run is None or not is_in(path, [run]):
            path.unlink()
    return sum(not linked(run.video, directory / name) for name, run in chosen.items())


def linked(video: Path, path: Path) -> bool:
    """Put a video there, unless it is; whether as a link, which no other file system takes."""
    if not path.exists():
        try:
            path.hardlink_to(video)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            # By a name of its own: the video's with more letters might be too long.
            short = path.with_name(f"{TEMPORARY_PREFIX.strip('.')}.mp4")
            with temporary_beside(short) as temporary:
                shutil.copyfile(video, temporary)
                temporary.replace(path)
    return path.samefile(video)


def report(directory: Path, prompts: Path, chosen: Mapping[str, Finished], copied: int) -> None:
    """What there is, and what VBench will not find by itself, on stderr."""
    counts = Counter(run.prompt for run in chosen.values())
    least, most = min(counts.values()), max(counts.values())
    each = str(most) if least == most else f"{least} to {most}"
    say(
        f"videos: {len(chosen)}, prompts: {len(counts)}, videos of a prompt: {each}, "
        f"copied: {copied}"
    )
    nameless = {run.prompt for name, run in chosen.items() if name.rpartition("-")[0] != run.prompt}
    if nameless:
        say(
            f"prompts that cannot name a file here: {len(nameless)}; only the custom mode knows "
            f"them, by {prompts}"
        )
    if shlex.quote(str(directory)) != str(directory):
        say(
            "VBench hands its paths to a shell: give DIR a path without spaces and other special "
            "characters"
        )


def say(line: str) -> None:
    """One line for the user."""
    print(" ".join(line.split()), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
