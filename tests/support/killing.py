"""Runs that die by SIGKILL at a chosen moment, and what must be true once they have gone on."""

import hashlib
import importlib
import json
import os
import resource
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, reduce, wraps
from itertools import count
from pathlib import Path

from support.command_line import PROMPT, confiner, facts_of
from support.forked import Forked, forked

VIDEOS = ("structure.mp4", "video.mp4")
SHORT = (
    PROMPT, "seed=7", "num_frames=24", "height=32", "width=32", "long_video=confiner_long",
    "long_video.segment_frames=8", "long_video.window_overlap=2", "long_video.coherence=0.1",
    "scheduler.structure.num_inference_steps=2", "scheduler.refinement.num_inference_steps=1",
)  # fmt: skip
A_STRUCTURE = {"control": 2, "spatial": 0, "temporal": 0}
A_WINDOW = {"control": 0, "spatial": 2, "temporal": 1}


@dataclass(frozen=True)
class Moment:
    """When a process dies, or meets something else: at the `number`-th call of a function.

    Attributes:
        target: `module:name`, as its caller looks the function up.
        number: which call, from 1.
        among: only calls count that are given something with this in its name.
        when: `before` it; `after` it; `half`, when half of what it adds to a file is there;
            `frames`, when it has read two frames of the stream that it is given. `wait` waits there
            for somebody else to end the process. Two go on: `full` lets no file grow in the call,
            nor in the process that it starts; `fill` first leaves no room on the disk that `file`
            is on, by writing that file.
        file: which file is half written: this one, in the folder of the path that the function is
            given or below, or, empty, that path.
    """

    target: str
    number: int = 1
    among: str = ""
    when: str = "before"
    file: str = ""


@dataclass(frozen=True)
class Made:
    """What a run has come to: the hashes of its files and their frames, evaluations, stages."""

    files: dict[str, str]
    frames: dict[str, str]
    evaluations: dict[str, int]
    stages: Counter[tuple[str, int]]


def made(folder: Path) -> Made:
    """Read what a folder's run has come to."""
    facts = facts_of(folder)
    frames = {name: frames_of(folder / name) for name in VIDEOS}
    files = {
        path.name: digest(path)
        for path in folder.iterdir()
        if path.suffix in (".mp4", ".png", ".safetensors")
    }
    assert facts["files"] == files
    return Made(files, frames, facts["evaluations"], stages_of(folder))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def frames_of(path: Path) -> str:
    """A hash of the pixels of all frames."""
    from confiner_cli.media.video import read_video

    return hashlib.sha256(read_video(path).numpy().tobytes()).hexdigest()


def events_of(folder: Path) -> list[dict]:
    return [
        json.loads(line)
        for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def stages_of(folder: Path) -> Counter[tuple[str, int]]:
    """How many times each structure and each window was begun."""
    return Counter(
        (each["stage"], each["index"]) for each in events_of(folder) if each["event"] == "stage"
    )


def started_to_die(moment: Moment, *arguments: str, folder: Path) -> Forked:
    """Start the command in `folder`; it kills itself at the moment."""
    return Forked(partial(arm, moment), *arguments, folder=folder)


def killed_at(moment: Moment, *arguments: str, folder: Path) -> None:
    """Run the command in `folder` until it kills itself at the moment.

    Raises:
        AssertionError: it ended before.
    """
    with started_to_die(moment, *arguments, folder=folder) as process:
        _, err = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, (
        f"it ended with {process.returncode} before it was killed:\n{err}"
    )


def killed_after(share: float, total: float, *arguments: str, folder: Path, run: Path) -> bool:
    """Kill the command from outside, a share of `total` seconds after it began work on `run`.

    Returns whether it was still at work.
    """
    lock = run / ".lock"
    lock.unlink(missing_ok=True)  # else that of a process that was killed would be taken for its
    with forked(*arguments, folder=folder) as process:
        while process.poll() is None and not lock.exists():
            time.sleep(0.01)
        time.sleep(share * total)
        process.kill()
    return process.returncode == -signal.SIGKILL


def gone_on(run: Path, *words: str) -> None:
    """Go on with a run: by `confiner resume`, or with its words by the command that began it."""
    ending = (
        confiner("generate", *words, f"output.dir={run}", "resume=true")
        if words
        else confiner("resume", str(run))
    )
    assert (ending.code, ending.out) == (0, f"{run / 'video.mp4'}\n"), ending.err


def assert_as_if_never_killed(run: Path, reference: Made, kills: int) -> None:
    """A run killed so often came to the same, at a price with a bound, and left nothing."""
    found = made(run)
    assert found.frames == reference.frames
    assert found.files == reference.files
    assert facts_of(run)["status"] == "done"
    assert_clean(run)
    assert set(found.stages) == set(reference.stages)
    for stage in ("structure", "refinement"):
        again = {
            key: times - 1 for key, times in found.stages.items() if key[0] == stage and times > 1
        }
        assert sum(again.values()) <= kills, again
    for role, evaluations in found.evaluations.items():
        price = kills * (A_STRUCTURE[role] + A_WINDOW[role])
        assert 0 <= evaluations - reference.evaluations[role] <= price, (role, evaluations)


def assert_clean(run: Path) -> None:
    """Nothing is left of what a run keeps and writes on its way."""
    assert not [
        path for path in run.rglob("*") if "writing" in path.name or path.name in ("parts", ".lock")
    ]


def contents(folder: Path) -> dict[Path, tuple[str, int]]:
    """Everything about the files of a folder that a change would change."""
    return {
        path: (digest(path), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def wait_for(folder: Path, stage: str, index: int) -> None:
    """Wait until a run has begun with a structure or a window."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if (folder / "events.jsonl").exists() and (stage, index) in stages_of(folder):
            return
        time.sleep(0.02)
    raise TimeoutError(f"{stage} {index} did not begin")


def flip(path: Path) -> None:
    """Make a bit in the middle of a file another."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Take away the second half of a file."""
    os.truncate(path, path.stat().st_size // 2)


def arm(moment: Moment) -> None:
    """Replace the moment's function by one that kills this process."""
    module, _, name = moment.target.partition(":")
    *owners, last = name.split(".")
    owner = reduce(getattr, owners, importlib.import_module(module))
    original, calls = getattr(owner, last), count(1)

    @wraps(original)
    def deadly(*arguments, **options):
        if moment.among not in " ".join(_names(arguments)) or next(calls) != moment.number:
            return original(*arguments, **options)
        if moment.when == "full":
            return _without_room(original, *arguments, **options)
        if moment.when == "fill":
            _fill(Path(moment.file))
            return original(*arguments, **options)
        if moment.when == "half":
            _half(moment, original, *arguments)
        elif moment.when == "frames":
            path, frames, *others = arguments
            original(path, _two(frames), *others)
        elif moment.when == "after":
            original(*arguments, **options)
        elif moment.when == "wait":
            time.sleep(600)
        return _die()

    setattr(owner, last, deadly)


def _half(moment, original, *arguments):
    path = next(each for each in arguments if isinstance(each, Path))
    path = path.parent / moment.file if moment.file else path
    before = path.stat().st_size if path.exists() else 0
    original(*arguments)
    os.truncate(path, (before + path.stat().st_size) // 2)


def _without_room(original, *arguments, **options):
    """Not a byte can be written: no size of any file decides what happens."""
    if original is subprocess.Popen:
        command, *others = arguments
        limited = ["bash", "-c", 'ulimit -f 0; exec "$@"', "-", *command]
        return original(limited, *others, **options)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        return original(*arguments, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _fill(path):
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))


def _two(frames):
    for number, frame in enumerate(frames):
        if number == 2:
            _die()
        yield frame


def _names(arguments):
    """What a call is about: its files' names, its texts, its expert's role."""
    for each in arguments:
        if isinstance(each, Path):
            yield each.name
        elif isinstance(each, str):
            yield each
        elif isinstance(each, list):
            yield from map(str, each)
        elif type(each).__name__ == "Prompted":
            yield each.expert.role


def _die():
    os.kill(os.getpid(), signal.SIGKILL)
