"""A stream consumed while it is made arrives whole; whoever fails, the other hears of it."""

import threading
import time

import pytest

from confiner_cli.media.background import consume_in_background

SECONDS = 30.0
WAITING = 4


def test_items_arrive_in_order_in_another_thread():
    seen = []

    def consume(items):
        seen.extend((threading.get_ident(), item) for item in items)

    with consume_in_background(consume, WAITING) as stream:
        for number in range(3 * WAITING):
            stream.add(number)
        stream.end()
    assert [number for _, number in seen] == list(range(3 * WAITING))
    assert {thread for thread, _ in seen}.isdisjoint({threading.get_ident()})


def test_the_consumer_finishes_while_the_body_goes_on():
    finished = threading.Event()

    def consume(items):
        list(items)
        finished.set()

    with consume_in_background(consume, WAITING) as stream:
        stream.add(1)
        assert not finished.wait(0.2)
        stream.end()
        assert finished.wait(SECONDS)


def test_leaving_waits_for_the_consumer():
    finished = []

    def consume(items):
        list(items)
        time.sleep(0.3)
        finished.append(True)

    with consume_in_background(consume, WAITING) as stream:
        stream.end()
    assert finished


def test_a_consumer_that_fails_is_heard_by_the_maker_even_where_the_queue_is_full():
    def consume(items):
        next(items)
        raise OSError("No space left")

    with (
        pytest.raises(OSError, match="No space left"),
        consume_in_background(consume, WAITING) as stream,
    ):
        for number in range(10**9):
            stream.add(number)


def test_a_consumer_that_fails_after_the_last_item_is_heard_on_leaving():
    def consume(items):
        list(items)
        raise OSError("the trailer")

    with (
        pytest.raises(OSError, match="the trailer"),
        consume_in_background(consume, WAITING) as stream,
    ):
        stream.end()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_maker_that_fails_ends_the_consumer_and_keeps_its_own_error(error):
    met = []

    def consume(items):
        try:
            list(items)
        except Exception as inside:
            met.append(inside)
            raise

    with (
        pytest.raises(error, match="the maker's"),
        consume_in_background(consume, WAITING) as stream,
    ):
        stream.add(1)
        raise error("the maker's")
    assert len(met) == 1


def test_a_slow_consumer_holds_the_maker_back():
    go = threading.Event()

    def consume(items):
        go.wait(SECONDS)
        list(items)

    with consume_in_background(consume, WAITING) as stream:
        added = []
        maker = threading.Thread(
            target=lambda: [added.append(stream.add(n)) for n in range(2 * WAITING)]
        )
        maker.start()
        ends = time.monotonic() + SECONDS
        while len(added) < WAITING and time.monotonic() < ends:
            time.sleep(0.01)
        time.sleep(0.3)  # in which no more may come
        assert len(added) == WAITING
        go.set()
        maker.join(SECONDS)
        stream.end()
    assert len(added) == 2 * WAITING
