"""Work split over threads whose results come back in order, and which can be called off at once."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Cancellation", "CancelledError", "in_order"]

S = TypeVar("S")
T = TypeVar("T")


class CancelledError(Exception):
    """Raised inside a worker whose result nobody waits for any more; never seen outside of this room."""


class Cancellation:
    """Tells workers to stop; one per call of an embedder.

    Safe to use from several threads. Workers ask between two images (``check``) and, around a long native call,
    leave what would end it early (``during``).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._enders: list[Callable[[], object]] = []

    def check(self) -> None:
        """Raise ``CancelledError`` once ``cancel`` was called."""
        if self._cancelled:
            raise CancelledError

    @contextlib.contextmanager
    def during(self, end: Callable[[], object]) -> Iterator[None]:
        """While the block runs, ``cancel`` calls ``end`` (from another thread)."""
        with self._lock:
            self.check()
            self._enders.append(end)
        try:
            yield
        finally:
            with self._lock:
                self._enders.remove(end)

    def cancel(self) -> None:
        """Stop all workers as soon as they ask, and end their native calls."""
        with self._lock:
            self._cancelled = True
            for end in self._enders:
                end()


def in_order(
    work: Callable[[S], T], items: Iterable[S], threads: int, cancellation: Cancellation
) -> Generator[T, None, None]:
    """``work(item)`` of every item, in order, computed by ``threads`` threads.

    At most four items per thread are begun ahead of the consumer, so results do not pile up. Closing the iterator,
    as Ctrl-C does, cancels: what has not begun never begins, and what runs is told to stop but not waited for (it
    may be inside a decoder that cannot be asked).
    """
    pending: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="simskip-embed")
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) >= 4 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        if pending:
            cancellation.cancel()
        pool.shutdown(wait=not pending, cancel_futures=True)
