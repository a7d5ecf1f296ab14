"""What diffusers, transformers and peft say while they load: collected, nothing left changed."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import Any

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

LIBRARIES = ("diffusers", "transformers", "peft")
HARMLESS = (re.compile(r"should be kept in float32: \[\]"),)
"""What they say of networks that are as they should be."""
_ONE_AT_A_TIME = RLock()
"""Loggers, bars and what else the libraries change while they load are the process's."""


@contextmanager
def collected() -> Iterator[list[str]]:
    """Inside, messages that would be printed are put into this list instead; no bars are shown.

    Which messages those are is the libraries' verbosity, as whoever runs the process has set it.
    Threads come in one after another.
    """
    messages: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(_ONE_AT_A_TIME)
        stack.enter_context(_without_diffusers_bars())
        stack.enter_context(_without_transformers_bars())
        for library in LIBRARIES:
            stack.enter_context(_into(messages, logging.getLogger(library)))
        yield messages


def is_harmless(message: str) -> bool:
    """Whether a message is known to be about nothing: a person need not read it."""
    return any(pattern.search(message) for pattern in HARMLESS)


class _Collector(logging.Handler):
    """Appends messages to a list."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__()
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def _into(messages: list[str], logger: logging.Logger) -> Iterator[None]:
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [_Collector(messages)], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate


@contextmanager
def _without_diffusers_bars() -> Iterator[None]:
    shown = diffusers_logging.is_progress_bar_enabled()
    diffusers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            diffusers_logging.enable_progress_bar()


@contextmanager
def _without_transformers_bars() -> Iterator[None]:
    # Its own switch would switch the hub's bars, too, and cannot say how those were before.
    before = transformers_logging.set_tqdm_hook(_hidden)
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(before)


def _hidden(bar: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return bar(*args, **{**kwargs, "disable": True})
