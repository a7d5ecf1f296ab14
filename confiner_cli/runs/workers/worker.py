"""A worker as its driver sees it. No torch."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from confiner_cli.runs.workers.travelling import Message, Reply


class WorkerDiedError(Exception):
    """A worker's process, or its machine, is gone; says how."""


class Worker(Protocol):
    """Answers one message after another."""

    def ask(self, message: Message) -> Future[Reply]:
        """What comes of a message; the future raises WorkerDiedError where it is not answered."""

    def dismiss(self) -> None:
        """End the worker, whatever it is at: nothing of it is on any disk."""
