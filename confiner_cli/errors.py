"""Errors in two lines: what is wrong with which value, and what to type instead."""

from __future__ import annotations

from errno import ENOMEM

DISK_FULL = ("No space left", "File too large", "Disk quota exceeded")
"""What the system says where a file cannot grow; ffmpeg and safetensors only pass the words on."""

GPU_FULL = ("MPS backend out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA out of memory")
SMALLER = "fewer frames (num_frames=) or a smaller height= and width="
LOWER = {"high": "memory=balanced or memory=low", "balanced": "memory=low", "auto": "memory=low"}
"""What to try where `memory=` this was too much for a GPU."""


RAM_FULL = ("can't allocate memory", "Cannot allocate memory", "DefaultCPUAllocator", "bad_alloc")
"""What torch, safetensors and the system say where there is no memory."""
MORE_RAM = (
    "`confiner plan` with the same settings says what they need and what is free; end other "
    "programs, raise the limit (of the container, or ulimit -v), or halve it with dtype=bf16"
)


class ConfinerError(Exception):
    """Something that has a cure.

    Attributes:
        hint: what to do.
        exit_code: 2 where the user can do it.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[type[ConfinerError], tuple[str, str]]:
        return ConfinerError, (str(self), self.hint)

    def lines(self) -> str:
        """`error: ...` and `hint: ...`, one line each."""
        message = " ".join(str(self).split())
        return f"error: {message}\nhint: {' '.join(self.hint.split())}"


class Terminated(BaseException):
    """The process was asked to end (SIGTERM)."""


class FailedError(ConfinerError):
    """A failure that is not the user's."""

    exit_code = 1

    def __reduce__(self) -> tuple[type[FailedError], tuple[str, str]]:
        return FailedError, (str(self), self.hint)


class NotFiniteError(FailedError):
    """An expert's estimate has NaN or infinity in it.

    Args:
        stage: `structure` or `refinement`.
        number: which evaluation of the stage, from 1.
        role: which expert.
        t: the timestep that it was asked at.
    """

    def __init__(self, stage: str, number: int, role: str, t: float) -> None:
        super().__init__(
            f"the {role} expert's estimate at timestep {t:g} is not finite (NaN or infinity): "
            f"{stage}, evaluation {number}",
            "try dtype=float32 (or bfloat16); if it stays, the weights are damaged or the schedule "
            "is not theirs",
        )


def first_line(error: Exception) -> str:
    """What an error says first, or its name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def is_ram_full(error: BaseException | None) -> bool:
    """Whether memory could not be had: for an error, or for what it was raised from or after."""
    while error is not None:
        numbered = getattr(error, "errno", None) == ENOMEM
        if isinstance(error, MemoryError) or numbered or _says(error, RAM_FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def no_ram_for(what: str) -> ConfinerError:
    """There is not enough memory to load something: its files are not at fault."""
    return ConfinerError(f"there is not enough memory (RAM) to load {what}", MORE_RAM)


def _says(error: BaseException, signs: tuple[str, ...]) -> bool:
    return any(sign in str(error) for sign in signs)


def is_disk_full(error: Exception) -> bool:
    """Whether a file could not grow."""
    return _says(error, DISK_FULL)


def named_error(error: Exception, stage: str = "", memory: str = "low") -> ConfinerError:
    """The error as one with a cure: out of memory, disk full, or our own failure with its type.

    Args:
        error: what was raised.
        stage: what the run was doing; empty where it was no run.
        memory: the memory setting that it did it with.
    """
    if isinstance(error, ConfinerError):
        return error
    if type(error).__name__ == "OutOfMemoryError" or any(
        sign in str(error) for sign in GPU_FULL
    ):  # no torch here
        when = f" in the stage {stage}" if stage else ""
        cure = f"{LOWER[memory]}, or {SMALLER}" if memory in LOWER else SMALLER
        return ConfinerError(f"the GPU is out of memory{when} (memory={memory})", cure)
    if is_ram_full(error):
        when = f" in the stage {stage}" if stage else ""
        return ConfinerError(f"there is not enough memory (RAM){when}", f"{SMALLER}; {MORE_RAM}")
    if is_disk_full(error):
        elsewhere = "set output.dir= to" if stage else "write to"
        return ConfinerError(
            f"no room left on the disk: {error}", f"free some space, or {elsewhere} another disk"
        )
    if isinstance(error, OSError) and error.filename is not None:
        return ConfinerError(
            f"cannot use {error.filename}: {error.strerror}",
            "name a path that you can read and write",
        )
    if "Could not determine home directory" in str(error):
        return ConfinerError(
            "a path begins with ~ and a name that is no user's", "write the path out"
        )
    return FailedError(
        f"{type(error).__name__}: {error}",
        "this is our failure: HYDRA_FULL_ERROR=1 shows the traceback",
    )
