"""Images to vectors with a pretrained network, run by ONNX Runtime."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from .. import cache, cpu
from ..extras import require
from ..validation import choice, positive_int
from . import efficientnet_lite
from .picture import FRAMINGS, PIXELS_VERSION, as_batch, read_pixels, to_pixels

__all__ = ["EmbeddedFiles", "ImageEmbedder", "SkippedFile"]

T = TypeVar("T")
Vectors = npt.NDArray[np.float32]


class SkippedFile(NamedTuple):
    """A file that could not be embedded, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, repr=False)
class EmbeddedFiles:
    """What became of a list of image files: row ``i`` of ``vectors`` belongs to ``paths[i]``.

    Attributes
    ----------
    vectors : (m, dim) float32 array
    paths : list of Path
        The m files that were embedded, in the order given.
    rows : (m,) int64 array
        Their positions in the list that was given, to pick labels: ``labels[files.rows]``.
    skipped : list of SkippedFile
        The others, with the reason.
    """

    vectors: Vectors
    paths: list[Path]
    rows: npt.NDArray[np.int64]
    skipped: list[SkippedFile]

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"EmbeddedFiles({len(self):,} x {self.vectors.shape[1]}, {len(self.skipped):,} skipped)"


class ImageEmbedder:
    """EfficientNet-Lite0, pretrained on ImageNet, as a function from pictures to 1280 numbers each.

    Made by ``simskip.embedding.images("efficientnet-lite0")``. The network is exported to ONNX the first time
    and cached; afterwards embedding imports neither PyTorch nor ``onnx``.

    Parameters
    ----------
    threads : int, optional
        Threads that each decode, resample and embed batches of their own; default ``simskip.set_threads``'s.
        The vectors are the same bytes for every number.
    batch_size : int, optional
        Images per call of the network (4). Small batches stay in the processor's cache: on the machine this was
        measured on, one thread embeds 245 images a second one by one, 208 in fours and 145 in thirty-twos.
    cache_dir : path, optional
        Where the exported network is kept; see ``simskip.cache.cache_dir``.
    framing : {"whole", "centre"}
        How an image becomes a 224 x 224 square. ``"whole"`` (default) stretches it, so that nothing at the
        border is lost: the network was trained on crops with aspect ratios from 3:4 to 4:3 and tolerates it.
        ``"centre"`` cuts the middle square, 224/256 of the shorter side, as ImageNet accuracies are measured.

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
    name = "efficientnet-lite0"
    dim = efficientnet_lite.DIM

    def __init__(
        self,
        *,
        threads: int | None = None,
        batch_size: int | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        framing: str = "whole",
    ) -> None:
        self.threads = None if threads is None else positive_int(threads, "threads")
        self.batch_size = 4 if batch_size is None else positive_int(batch_size, "batch_size")
        self.cache_dir = cache_dir
        self.framing = choice(framing, "framing", FRAMINGS)
        for module in ("onnxruntime", "PIL.Image"):
            require(module, "images", "Embedding images")
        self._session = _session(_exported(cache_dir))

    @property
    def fingerprint(self) -> str:
        """Identity of weights, graph and preprocessing."""
        weights, graph = efficientnet_lite.WEIGHTS_SHA256[:16], efficientnet_lite.EXPORT_VERSION
        return f"{self.name} weights={weights} graph={graph} pixels={PIXELS_VERSION} framing={self.framing}"

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
        (n, 1280) float32 array
            The pooled features in front of the classifier, >= 0 and not normalised. (0, 1280) for an empty
            batch.

        Raises
        ------
        ValueError
            For an image that cannot be used; the message names its position. ``embed_files`` skips such
            files.
        """
        images = as_batch(batch)
        out = np.empty((len(images), self.dim), np.float32)

        def work(start: int) -> int:
            chunk = images[start : start + self.batch_size]
            pixels = [_checked_pixels(image, start + i, self.framing) for i, image in enumerate(chunk)]
            out[start : start + len(pixels)] = self._run(pixels)
            return len(pixels)

        with (
            contextlib.closing(self._ordered(work, len(images))) as counts,
            _bar(len(images), progress) as advance,
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
            With a reason for each file that is missing, cut short, empty or no image.

        Raises
        ------
        ValueError
            If ``paths`` holds anything but paths.
        """
        files = as_batch(paths, "paths")
        for i, path in enumerate(files):
            if not isinstance(path, (str, os.PathLike)):
                raise ValueError(f"paths must hold paths, got {type(path).__name__} at position {i}")

        def work(start: int) -> tuple[list[int], Vectors, list[tuple[int, str]]]:
            rows, pixels, bad = [], [], []
            for row in range(start, min(start + self.batch_size, len(files))):
                try:
                    pixels.append(read_pixels(files[row], efficientnet_lite.IMAGE_SIZE, self.framing))
                    rows.append(row)
                # Pillow's decoders raise nearly anything on damaged files (struct.error, KeyError, ...).
                except Exception as error:
                    bad.append((row, _reason(error)))
            return rows, self._run(pixels), bad

        rows: list[int] = []
        vectors: list[Vectors] = [np.empty((0, self.dim), np.float32)]
        skipped: list[SkippedFile] = []
        with (
            contextlib.closing(self._ordered(work, len(files))) as parts,
            _bar(len(files), progress) as advance,
        ):
            for good, part, bad in parts:
                rows += good
                vectors.append(part)
                skipped += [SkippedFile(Path(files[row]), reason) for row, reason in bad]
                advance(len(good) + len(bad))
        kept = [Path(files[row]) for row in rows]
        return EmbeddedFiles(np.concatenate(vectors), kept, np.array(rows, np.int64), skipped)

    def _run(self, pixels: list[npt.NDArray[np.uint8]]) -> Vectors:
        if not pixels:
            return np.empty((0, self.dim), np.float32)
        (vectors,) = self._session.run(["vectors"], {"pictures": np.stack(pixels)})
        return vectors

    def _ordered(self, work: Callable[[int], T], n: int) -> Generator[T, None, None]:
        """Results of ``work(0), work(batch_size), ...`` in order, computed by the threads.

        Closing the iterator, as Ctrl-C does, drops what has not begun and waits for at most one batch per
        thread: some 20 ms for images in memory.
        """
        starts = iter(range(0, n, self.batch_size))
        threads = self.threads or cpu.threads()
        pending: deque[Future[T]] = deque()
        pool = ThreadPoolExecutor(threads, thread_name_prefix="simskip-embed")
        try:
            for start in starts:
                pending.append(pool.submit(work, start))
                # A bounded lead: results of a million files do not pile up in front of a slow consumer.
                if len(pending) >= 4 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.threads, self.batch_size, self.cache_dir, self.framing)

    def __repr__(self) -> str:
        return f"ImageEmbedder({self.name!r}, dim={self.dim}, framing={self.framing!r})"


def _rebuild(threads: int | None, batch_size: int, cache_dir: Any, framing: str) -> ImageEmbedder:
    return ImageEmbedder(threads=threads, batch_size=batch_size, cache_dir=cache_dir, framing=framing)


def _exported(directory: str | os.PathLike[str] | None) -> Path:
    """The network's ONNX file, exported if the cache has no intact one."""
    return cache.cached_bytes(
        ImageEmbedder.name,
        cache.fingerprint(efficientnet_lite.WEIGHTS_SHA256, str(efficientnet_lite.EXPORT_VERSION)),
        "onnx",
        lambda: [efficientnet_lite.build_graph(efficientnet_lite.read_weights())],
        directory,
    )


def _session(path: Path) -> Any:
    runtime = require("onnxruntime", "images", "Embedding images")
    options = runtime.SessionOptions()
    # Parallel over batches, in our threads: no spinning pool beside OpenMP's, and the sums do not depend on
    # the count.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _checked_pixels(image: Any, position: int, framing: str) -> npt.NDArray[np.uint8]:
    try:
        return to_pixels(image, efficientnet_lite.IMAGE_SIZE, framing)
    except ImportError:
        raise
    except Exception as error:  # as in embed_files; here a hole would shift all rows behind it
        raise ValueError(f"batch holds a bad image at position {position}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


@contextlib.contextmanager
def _bar(n: int, progress: bool) -> Iterator[Callable[[int], Any]]:
    if not progress:
        yield lambda count: None
        return
    with require("tqdm", "images", "The progress bar").tqdm(
        total=n, unit="image", desc="embedding", mininterval=0.5
    ) as bar:
        yield bar.update
