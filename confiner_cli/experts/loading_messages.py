"""What diffusers and peft say while networks are loaded: collected, nothing left changed."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock

LIBRARIES = ("diffusers", "peft")
HARMLESS = (re.compile(r"should be kept in float32: \[\]"),)
"""What they say of networks that are as they should be."""
_ONE_AT_A_TIME = RLock()
"""Loggers are the process's."""


@contextmanager
def collected() -> Iterator[list[str]]:
    """Inside, messages that would be printed are put into this list instead.

    Which messages those are is the libraries' verbosity, as whoever runs the process has set it.
    Threads come in one after another.
    """
    messages: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(_ONE_AT_A_TIME)
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
