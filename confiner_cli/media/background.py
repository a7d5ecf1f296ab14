"""A stream consumed in a thread while it is made: encoding costs the networks no waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from enum import Enum
from queue import Full, Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")
_SECONDS_BETWEEN_LOOKS = 0.1


class _Sign(Enum):
    END = "there is no more"
    ABANDONED = "the maker gave up"


class _AbandonedError(Exception):
    """What the consumer meets where the next item would have been."""


class Stream(Generic[Item]):
    """The maker's end of a stream. What the consumer failed of is raised by the next call.

    Args:
        consume: is given the items, in a thread.
        waiting: how many items may wait for it.
        thread: where it runs.
    """

    def __init__(
        self, consume: Callable[[Iterator[Item]], object], waiting: int, thread: ThreadPoolExecutor
    ) -> None:
        self._queue: Queue[Item | _Sign] = Queue(waiting)
        self._consumer: Future[object] = thread.submit(consume, self._items())

    def add(self, item: Item) -> None:
        """Hand one item over; waits where the consumer is far behind."""
        self._put(item)

    def end(self) -> None:
        """Say, once, that there is no more. The consumer finishes meanwhile."""
        self._put(_Sign.END)

    def check(self) -> None:
        """Raise what the consumer failed of, if it has failed already."""
        if self._consumer.done():
            self._consumer.result()

    def wait(self) -> None:
        """Wait until the consumer is done with what it was told the end of."""
        self._consumer.result()

    def abandon(self) -> None:
        """Let the consumer fail at the next item, if it is not done yet. Raises nothing."""
        with suppress(Exception):
            self._put(_Sign.ABANDONED)

    def _put(self, item: Item | _Sign) -> None:
        # Not for ever: a consumer that has failed takes nothing out of a full queue.
        while not self._consumer.done():
            with suppress(Full):
                self._queue.put(item, timeout=_SECONDS_BETWEEN_LOOKS)
                return
        self._consumer.result()

    def _items(self) -> Iterator[Item]:
        while (item := self._queue.get()) is not _Sign.END:
            if item is _Sign.ABANDONED:
                raise _AbandonedError
            yield item


@contextmanager
def consume_in_background(
    consume: Callable[[Iterator[Item]], object], waiting: int
) -> Iterator[Stream[Item]]:
    """Run `consume(items)` in a thread; the body adds the items and ends them.

    Leaving waits for the consumer.

    Args:
        consume: takes the items as they come.
        waiting: how many items may wait for the consumer before the maker does.

    Raises:
        Exception: what `consume` raises, in the body or when it is left. An error of the body ends
            the consumer.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        stream = Stream(consume, waiting, thread)
        try:
            yield stream
            stream.wait()
        except BaseException:
            stream.abandon()
            raise
