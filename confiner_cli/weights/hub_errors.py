"""Asking the hub: again where it, or the way to it, has failed; its answers in two lines."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from huggingface_hub import constants
from huggingface_hub import errors as hub_errors

from confiner_cli.errors import ConfinerError, first_line
from confiner_cli.weights.model_ref import ModelRef

PAUSES = (1.0, 2.0, 4.0)
"""Seconds before the hub is asked again."""
HTTPError: type[Exception] = hub_errors.HfHubHTTPError.__bases__[0]
"""What the hub's own client raises where there is no way to it."""
TOO_MANY = 429
FAILURES = (HTTPError, OSError, hub_errors.HFValidationError, hub_errors.EntryNotFoundError)
Answer = TypeVar("Answer")


def retrying(call: Callable[[], Answer]) -> Answer:
    """The answer of `call`, which is tried again after failures that pass."""
    for pause in PAUSES:
        try:
            return call()
        except (HTTPError, OSError) as error:
            status = getattr(getattr(error, "response", None), "status_code", 503)
            if _of_this_machine(error) or (status < 500 and status != TOO_MANY):
                raise
            time.sleep(pause)
    return call()


@contextmanager
def translated(ref: ModelRef) -> Iterator[None]:
    """What huggingface_hub raises about a model, as a ConfinerError.

    A full disk and the like are not the hub's business and pass.
    """
    try:
        yield
    except FAILURES as error:
        # A refusal of the hub is an OSError, too, but never one of this machine.
        if _of_this_machine(error):
            raise
        raise _translation(ref, error) from error


def _translation(ref: ModelRef, error: Exception) -> ConfinerError:
    if isinstance(error, hub_errors.GatedRepoError):  # a kind of RepositoryNotFoundError
        return ConfinerError(
            f"{ref} is gated: its owner wants you to accept terms",
            f"accept them on {constants.ENDPOINT}/{ref.repo}, then `hf auth login` or HF_TOKEN=...",
        )
    if isinstance(error, hub_errors.RevisionNotFoundError):
        return ConfinerError(
            f"{ref.repo} has no revision {ref.revision}", "leave out @revision for main"
        )
    local = _on_this_machine(ref)
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return ConfinerError(
            f"{ref} is neither a path on this machine nor a repository on the hub "
            "(or a private one)",
            local or "mind the spelling; for a private one `hf auth login` or HF_TOKEN=...",
        )
    way = f"is there a network, and a way to {constants.ENDPOINT}?"
    return ConfinerError(
        f"{ref} is no path on this machine, and cannot be fetched: {first_line(error)}",
        local or f"{way} what has come is kept: try again",
    )


def _on_this_machine(ref: ModelRef) -> str:
    """What to type where a path was meant: its folder is here, and has something else in it."""
    path = Path(ref.repo)
    if not path.parent.is_dir():
        return ""
    beside = sorted(entry.name for entry in path.parent.iterdir())
    near = difflib.get_close_matches(path.name, beside, n=1)
    meant = f"did you mean {path.parent / near[0]}?" if near else "mind the spelling of the path"
    return f"there is a folder {path.parent} here, without {path.name} in it: {meant}"


def _of_this_machine(error: Exception) -> bool:
    """Whether an error is about the disk and not about the hub."""
    has_number = getattr(error, "errno", None) is not None
    return has_number and not isinstance(error, (ConnectionError, TimeoutError))
