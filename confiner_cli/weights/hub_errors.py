"""Asking the hub: again where it, or the way to it, has failed; and what it has to say, in two lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from huggingface_hub import constants
from huggingface_hub import errors as hub_errors

from confiner_cli.errors import ConfinerError, first_line
from confiner_cli.weights.model_ref import Source

PAUSES = (1.0, 2.0, 4.0)
"""Seconds before the hub is asked again."""
HTTPError: type[Exception] = hub_errors.HfHubHTTPError.__bases__[0]
"""What the hub's own client raises where there is no way to it."""
TOO_MANY = 429
FAILURES = (HTTPError, OSError, hub_errors.HFValidationError, hub_errors.EntryNotFoundError)
Answer = TypeVar("Answer")


def patiently(call: Callable[[], Answer]) -> Answer:
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
def readable(source: Source) -> Iterator[None]:
    """What huggingface_hub raises, as two lines. A full disk and the like are not the hub's business and pass."""
    try:
        yield
    except hub_errors.GatedRepoError as error:
        raise ConfinerError(
            f"{source} is gated: its owner wants you to accept terms",
            f"accept them on {constants.ENDPOINT}/{source.repo}, then `hf auth login` or HF_TOKEN=...",
        ) from error
    except hub_errors.RevisionNotFoundError as error:
        raise ConfinerError(
            f"{source.repo} has no revision {source.revision}", "leave out @revision for main"
        ) from error
    except hub_errors.RepositoryNotFoundError as error:
        raise ConfinerError(
            f"{source} is neither a path on this machine nor a repository on the hub (or a private one)",
            "mind the spelling; for a private one `hf auth login` or HF_TOKEN=...",
        ) from error
    except FAILURES as error:
        if _of_this_machine(error):
            raise
        raise ConfinerError(
            f"{source} cannot be fetched: {first_line(error)}",
            f"is there a network, and a way to {constants.ENDPOINT}? files that came whole are kept: try again",
        ) from error


def _of_this_machine(error: Exception) -> bool:
    """Whether an error is about the disk and not about the hub."""
    return getattr(error, "errno", None) is not None and not isinstance(
        error, (ConnectionError, TimeoutError)
    )
