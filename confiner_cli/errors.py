"""Errors in two lines: what is wrong with which value, and what to type instead."""

from __future__ import annotations


class ConfinerError(Exception):
    """Something that has a cure. `hint` says what to do; `exit_code` is 2 where the user can do it."""

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


class NotFiniteError(FailedError):
    """An expert's estimate has NaN or infinity in it.

    Args:
        role: which expert.
        t: the timestep that it was asked at.
    """

    def __init__(self, role: str, t: int) -> None:
        super().__init__(
            f"the {role} expert's estimate at timestep {t} is not finite (NaN or infinity)",
            "try dtype=float32 (or bfloat16); if it stays, the weights are damaged or the schedule is not theirs",
        )
