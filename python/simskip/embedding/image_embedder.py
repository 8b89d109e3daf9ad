"""Images to vectors: reads, resamples and embeds in threads, in order, in bounded memory."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .. import cpu
from ..extras import require
from ..progress import progress_bar
from ..validation import positive_int
from .embedded_files import EmbeddedBatch, EmbeddedFiles, SkippedFile
from .image_engine import ImageEngine
from .model_name import split
from .ordered_work import Cancellation, in_order
from .picture import as_batch, read_pixels, to_pixels

__all__ = ["EmbeddedBatch", "EmbeddedFiles", "ImageEmbedder", "SkippedFile"]

T = TypeVar("T")
Vectors = npt.NDArray[np.float32]

# What one call of a network may take, roughly.
_MEMORY = 256 << 20
# Bytes that a convolutional network holds at a time per byte of its float32 input: VGG-16 stays below 45.
_ACTIVATIONS = 64
_BATCH = 4
_NOT_FINITE = "the model gave numbers that are not finite"


class ImageEmbedder:
    """A pretrained network as a function from pictures to vectors; made by ``simskip.embedding.images(name)``.

    Parameters
    ----------
    engine : ImageEngine
        The model with its preprocessing.
    threads : int, optional
        Threads that each decode, resample and embed batches of their own; default ``simskip.set_threads``'s.
        The vectors are the same bytes for every number. Threads, not worker processes: decoders, resampling and
        networks release Python's lock. Of 500 x 375 JPEGs with EfficientNet-Lite0, threads took 7.8 ms of processor
        time each (2.0 to decode and resample, 4.8 for the network), processes that decode for threads 7.9, and
        processes that do everything 7.5, with 120 MB more each (``python -m benchmarks.image_files``): some 250
        images a second on two cores in any way.
    batch_size : int, optional
        Images per call of the network; by default 4, fewer where that would take too much memory (estimated from
        the input's size, so that each thread stays near 256 MiB). Small batches stay in the processor's
        cache: on the machine this was measured on, one thread embeds 245 images a second one by one, 208 in fours
        and 145 in thirty-twos with EfficientNet-Lite0; with decoding, ones to fours take the same time.

    Attributes
    ----------
    kind : str
        ``"images"``.
    name : str
        What ``simskip.embedding.load`` makes it from.
    dim : int
        Numbers per vector.
    fingerprint : str
        Identity of weights, graph and preprocessing: equal fingerprints mean comparable vectors.

    Raises
    ------
    ImportError
        If the extra ``images`` is missing.
    ValueError
        For parameters out of range.

    Examples
    --------
    >>> import numpy as np, simskip.embedding
    >>> embedder = simskip.embedding.images("efficientnet-lite0", threads=1)
    >>> embedder.embed(np.zeros((2, 28, 28), np.uint8)).shape
    (2, 1280)
    """

    kind = "images"

    def __init__(self, engine: ImageEngine, *, threads: int | None = None, batch_size: int | None = None) -> None:
        self.engine = engine
        self.threads = None if threads is None else positive_int(threads, "threads")
        self.batch_size = None if batch_size is None else positive_int(batch_size, "batch_size")
        require("PIL.Image", "images", "Embedding images")

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def dim(self) -> int:
        return self.engine.dim

    @property
    def fingerprint(self) -> str:
        return self.engine.fingerprint

    def embed(self, batch: Any, progress: bool = False) -> Vectors:
        """Vectors of images in memory (or of files that are all expected to be good).

        Parameters
        ----------
        batch : sequence
            Of uint8 arrays (h, w) or (h, w, 3) in RGB order, PIL images or paths, sizes and kinds mixed as
            you like; or one uint8 array (n, h, w) or (n, h, w, 3).
        progress : bool
            Show a bar.

        Returns
        -------
        (n, dim) float32 array
            The pooled features in front of the classifier, not normalised. (0, dim) for an empty batch.

        Raises
        ------
        ValueError
            For an image that cannot be used; the message names its position. ``embed_files`` skips such
            files.
        """
        images = as_batch(batch)
        out = np.empty((len(images), self.dim), np.float32)
        cancellation = Cancellation()
        run = self._runner(cancellation)

        def work(span: range) -> int:
            cancellation.check()
            chunk = images[span.start : span.stop]
            pixels = [self._checked_pixels(image, i) for i, image in zip(span, chunk, strict=False)]
            vectors = run(pixels)
            finite = np.isfinite(vectors).all(axis=1)
            if not finite.all():
                position = span.start + int(np.argmin(finite))
                raise ValueError(f"batch holds a bad image at position {position}: {_NOT_FINITE}")
            out[span.start : span.start + len(pixels)] = vectors
            return len(pixels)

        with (
            contextlib.closing(self._over(work, len(images), cancellation)) as counts,
            progress_bar(len(images), "image", "embedding", progress, extra="images") as advance,
        ):
            for count in counts:
                advance(count)
        return out

    def embed_files(self, paths: Sequence[str | os.PathLike[str]], progress: bool = True) -> EmbeddedFiles:
        """Vectors of image files; those that cannot be read are skipped and listed.

        Parameters
        ----------
        paths : sequence of paths
            Anything Pillow reads: JPEG, PNG, WebP, TIFF, ...
        progress : bool
            Show a bar.

        Returns
        -------
        EmbeddedFiles
            With a reason for each file that is missing, cut short, empty, no image, or of so many pixels that
            reading it would take too much memory (``picture.MAX_PIXELS``).

        Raises
        ------
        ValueError
            If ``paths`` holds anything but paths.
        """
        with contextlib.closing(self.embed_batches(paths, progress)) as batches:
            return EmbeddedFiles.of(batches, paths, self.dim)

    def embed_batches(
        self, paths: Sequence[str | os.PathLike[str]], progress: bool = True, size: int = 256
    ) -> Generator[EmbeddedBatch, None, None]:
        """``embed_files`` piece by piece, so that each can be stored before the next is complete.

        Memory is bounded by ``size`` vectors and a few batches per thread, whatever the number of files. Files are
        read ahead while the caller works on a piece. Stopping early (leaving the loop, Ctrl-C) ends the reading;
        ``contextlib.closing`` does that at once.

        Parameters
        ----------
        paths : sequence of paths
        progress : bool
            Show a bar.
        size : int
            Files per piece; the last may have fewer.

        Yields
        ------
        EmbeddedBatch
            ``(rows, vectors, skipped)``; each position of ``paths`` occurs once, in order, in ``rows`` or by its
            path in ``skipped``.

        Raises
        ------
        ValueError
            If ``paths`` holds anything but paths: before the first piece is asked for.
        """
        files = as_batch(paths, "paths")
        for i, path in enumerate(files):
            if not isinstance(path, (str, os.PathLike)):
                raise ValueError(f"paths must hold paths, got {type(path).__name__} at position {i}")
        return self._pieces(files, progress, positive_int(size, "size"))

    def _pieces(self, files: Any, progress: bool, size: int) -> Generator[EmbeddedBatch, None, None]:
        cancellation = Cancellation()
        run = self._runner(cancellation)

        def work(span: range) -> EmbeddedBatch:
            rows: list[int] = []
            pixels: list[npt.NDArray[np.uint8]] = []
            bad: dict[int, str] = {}
            for row in span:
                cancellation.check()
                try:
                    pixels.append(read_pixels(files[row], self.engine.geometry))
                    rows.append(row)
                # Pillow's decoders raise nearly anything on damaged files (struct.error, KeyError, ...).
                except Exception as error:
                    bad[row] = _reason(error)
            vectors = run(pixels) if pixels else np.empty((0, self.dim), np.float32)
            kept, finite = np.array(rows, np.int64), np.isfinite(vectors).all(axis=1)
            bad.update((row, _NOT_FINITE) for row in kept[~finite].tolist())
            skipped = [SkippedFile(Path(files[row]), bad[row]) for row in sorted(bad)]
            return EmbeddedBatch(kept[finite], vectors[finite], skipped)

        parts: list[EmbeddedBatch] = []
        seen = 0
        with (
            contextlib.closing(self._over(work, len(files), cancellation, size)) as done,
            progress_bar(len(files), "image", "embedding", progress, extra="images") as advance,
        ):
            for part in done:
                parts.append(part)
                count = len(part.rows) + len(part.skipped)
                seen += count
                advance(count)
                if seen % size == 0 or seen == len(files):
                    yield EmbeddedBatch.joined(parts)
                    parts = []

    def _over(
        self, work: Callable[[range], T], n: int, cancellation: Cancellation, piece: int | None = None
    ) -> Generator[T, None, None]:
        """``work`` on 0..n-1 in ranges of the batch size, no range over a multiple of ``piece``."""
        threads = self.threads or cpu.threads()
        batch = self.batch_size or self._batch_for_memory()
        piece = piece or max(n, 1)
        spans = (
            range(start, min(start + batch, first + piece, n))
            for first in range(0, n, piece)
            for start in range(first, min(first + piece, n), batch)
        )
        return in_order(work, spans, threads, cancellation)

    def _batch_for_memory(self) -> int:
        geometry = self.engine.geometry
        if geometry is None:
            return 1
        height, width = geometry.size
        each = height * width * 3 * 4 * _ACTIVATIONS
        return max(1, min(_BATCH, _MEMORY // each))

    def _runner(self, cancellation: Cancellation) -> Callable[[list[npt.NDArray[np.uint8]]], Vectors]:
        turn = contextlib.nullcontext() if self.engine.concurrent else threading.Lock()

        def run(pixels: list[npt.NDArray[np.uint8]]) -> Vectors:
            with turn:
                cancellation.check()
                return self.engine.run(pixels, cancellation)

        return run

    def _checked_pixels(self, image: Any, position: int) -> npt.NDArray[np.uint8]:
        try:
            return to_pixels(image, self.engine.geometry)
        except ImportError:
            raise
        except Exception as error:  # as in embed_batches; here a hole would shift all rows behind it
            raise ValueError(f"batch holds a bad image at position {position}: {_reason(error)}") from error

    def __repr__(self) -> str:
        geometry = self.engine.geometry
        framing = "" if geometry is None else f", framing={geometry.framing!r}"
        return f"ImageEmbedder({split(self.name)[0]!r}, dim={self.dim}{framing})"


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
