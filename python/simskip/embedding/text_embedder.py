"""What embedders of text share: batches, order, skipping, progress and interruption."""

from __future__ import annotations

import contextlib
import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import cpu
from ..progress import progress_bar
from ..validation import positive_int
from .ordered_work import Cancellation

__all__ = ["EmbeddedTexts", "SkippedText", "TextEmbedder", "Unusable"]

Vectors = npt.NDArray[np.float32]

_NAMED = 5  # bad texts that an error message quotes
_QUOTED = 60  # characters of each


class SkippedText(NamedTuple):
    """A text that could not be embedded, where it stood and why."""

    row: int
    text: str
    reason: str


class EmbeddedTexts(NamedTuple):
    """Some consecutive texts: row ``i`` of ``vectors`` belongs to the text at position ``rows[i]``.

    Attributes
    ----------
    rows : (m,) int64 array
        Positions in what was given, ascending.
    vectors : (m, dim) float32 array
    skipped : list of SkippedText
        Those between them that could not be embedded, with the reason.
    """

    rows: npt.NDArray[np.int64]
    vectors: Vectors
    skipped: list[SkippedText]


class Unusable(NamedTuple):
    """Stands for a text that cannot be embedded."""

    reason: str


class _Window(NamedTuple):
    """Consecutive texts on their way: which are good, which are not, and the vectors being computed."""

    rows: npt.NDArray[np.int64]
    skipped: list[SkippedText]
    parts: list[tuple[Sequence[int], Future[Vectors]]]

    def finish(self, dim: int) -> EmbeddedTexts:
        vectors = np.empty((len(self.rows), dim), np.float32)
        for members, part in self.parts:
            vectors[list(members)] = part.result()
        return EmbeddedTexts(self.rows, vectors, self.skipped)


class _Inline(Executor):
    """Computes in the calling thread, at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class TextEmbedder(ABC):
    """Base of the embedders of text: they prepare texts and turn prepared ones into vectors; the rest is here.

    Parameters
    ----------
    threads : int, optional
        Threads that each compute batches of their own; default ``simskip.set_threads``'s.
    batch_size : int
        Texts per computation.
    window : int
        Texts that are prepared, put into batches and given out together. Two windows are in memory at a time.
    """

    kind = "text"
    name: str
    dim: int
    # False: the calling thread computes everything (cheap work, or a user's function that may not like threads).
    concurrent = True

    def __init__(self, *, threads: int | None = None, batch_size: int = 16, window: int = 256) -> None:
        self.threads = None if threads is None else positive_int(threads, "threads")
        self.batch_size = positive_int(batch_size, "batch_size")
        self._window = max(window, self.batch_size)

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Identity of model, weights and preprocessing: equal fingerprints mean comparable vectors."""

    @abstractmethod
    def _prepare(self, texts: list[str]) -> list[Any]:
        """For each text what ``_run`` takes, or an ``Unusable``; called in one thread."""

    @abstractmethod
    def _run(self, prepared: list[Any], cancellation: Cancellation) -> Vectors:
        """The vectors of m >= 1 prepared texts, (m, dim); called in several threads at once if ``concurrent``.

        May end early by ``CancelledError`` once ``cancellation`` says so.
        """

    def _batches(self, prepared: list[Any]) -> Iterator[Sequence[int]]:
        """Which of the prepared texts are computed together."""
        for start in range(0, len(prepared), self.batch_size):
            yield range(start, min(start + self.batch_size, len(prepared)))

    def embed(self, batch: Any, progress: bool = False) -> Vectors:
        """Vectors of texts that are all expected to be good.

        Parameters
        ----------
        batch : sequence of str
        progress : bool
            Show a bar.

        Returns
        -------
        (n, dim) float32 array
            In the batch's order; (0, dim) for an empty batch.

        Raises
        ------
        ValueError
            For texts that cannot be embedded; the message names their positions. ``embed_batches`` skips them.
        """
        texts = _sequence(batch, "batch")
        out = np.empty((len(texts), self.dim), np.float32)
        with contextlib.closing(self._embedded(texts, "batch", progress)) as parts:
            for rows, vectors, skipped in parts:
                if skipped:
                    raise ValueError(_complaint(skipped))
                out[rows] = vectors
        return out

    def embed_batches(self, texts: Iterable[str], progress: bool = False) -> Generator[EmbeddedTexts, None, None]:
        """Vectors of any number of texts, some at a time; those that cannot be embedded are skipped and listed.

        Takes little memory, however many there are: texts are drawn when their turn comes. Close the generator (or
        leave its loop by Ctrl-C) and the work in progress is dropped.

        Parameters
        ----------
        texts : iterable of str
            A generator too.
        progress : bool
            Show a bar.

        Yields
        ------
        EmbeddedTexts
            ``rows`` (positions in ``texts``), ``vectors`` and ``skipped``; parts follow each other in order, and
            each text is in one.

        Raises
        ------
        ValueError
            If ``texts`` holds anything but str.
        """
        if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
            raise ValueError(f"texts must be a sequence of str, got {type(texts).__name__}; for one pass [it]")
        return self._embedded(texts, "texts", progress)

    def _embedded(self, texts: Iterable[str], name: str, progress: bool) -> Generator[EmbeddedTexts, None, None]:
        total = len(texts) if isinstance(texts, Sized) else None
        with (
            contextlib.closing(self._windows(texts, name)) as windows,
            progress_bar(total, "text", "embedding", progress, extra="text") as advance,
        ):
            for window in windows:
                advance(len(window.rows) + len(window.skipped))
                yield window

    def _windows(self, texts: Iterable[str], name: str) -> Generator[EmbeddedTexts, None, None]:
        pool: Executor = _Inline()
        if self.concurrent:
            pool = ThreadPoolExecutor(self.threads or cpu.threads(), thread_name_prefix="simskip-embed")
        cancellation = Cancellation()
        pending: deque[_Window] = deque()
        source = iter(texts)
        first = 0
        try:
            while window := list(itertools.islice(source, self._window)):
                pending.append(self._begin(pool, cancellation, window, first, name))
                first += len(window)
                # While the pool computes one window, the next is prepared: no thread waits at its end.
                if len(pending) > self.concurrent:
                    yield pending.popleft().finish(self.dim)
            while pending:
                yield pending.popleft().finish(self.dim)
        finally:
            # What has not begun is dropped, what runs is told to stop and waited for.
            cancellation.cancel()
            pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, pool: Executor, cancellation: Cancellation, texts: list[str], first: int, name: str) -> _Window:
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(f"{name} must hold str, got {type(text).__name__} at position {first + i}")
        rows: list[int] = []
        good: list[Any] = []
        skipped: list[SkippedText] = []
        for i, prepared in enumerate(self._prepare(texts)):
            if isinstance(prepared, Unusable):
                skipped.append(SkippedText(first + i, texts[i], prepared.reason))
            else:
                rows.append(first + i)
                good.append(prepared)
        parts: list[tuple[Sequence[int], Future[Vectors]]] = [
            (members, pool.submit(self._run, [good[i] for i in members], cancellation))
            for members in self._batches(good)
        ]
        return _Window(np.array(rows, np.int64), skipped, parts)


def _sequence(batch: Any, name: str) -> Sequence[str]:
    if isinstance(batch, (str, bytes, dict)) or not hasattr(batch, "__len__"):
        raise ValueError(f"{name} must be a sequence of str, got {type(batch).__name__}; for one pass [it]")
    return batch  # type: ignore[no-any-return]


def _complaint(skipped: list[SkippedText]) -> str:
    named = "; ".join(
        f"position {bad.row}, {bad.text[:_QUOTED]!r}{'...'[: len(bad.text) > _QUOTED and 3]}: {bad.reason}"
        for bad in skipped[:_NAMED]
    )
    more = f"; and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
    return f"batch holds texts that cannot be embedded: {named}{more}"
