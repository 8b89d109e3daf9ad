"""A user's own function as an embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extras import require
from ..validation import array_of, choice, positive_int
from .image_embedder import ImageEmbedder
from .ordered_work import Cancellation
from .picture import PIXELS_VERSION, Geometry
from .preprocessing import Preprocessing, plain_settings
from .registry import names

__all__ = ["CallableText", "callable_embedder"]

Vectors = npt.NDArray[np.float32]


class _Checked:
    """The function, with what it returns checked."""

    def __init__(self, function: Callable[[Any], Any], dim: int) -> None:
        self.function, self.dim = function, dim

    def __call__(self, batch: Any) -> Vectors:
        found = array_of(self.function(batch), "what the function returns")
        if found.shape != (len(batch), self.dim) or found.dtype.kind not in "fiu":
            raise ValueError(
                f"function must return numbers of shape ({len(batch)}, {self.dim}) for {len(batch)} items,"
                f" got {found.dtype} {found.shape}"
            )
        return np.ascontiguousarray(found, np.float32)


class _CallableEngine:
    """See ``ImageEngine``; run by one thread at a time, as the function may not expect more."""

    concurrent = False

    def __init__(self, function: _Checked, name: str, fingerprint: str, geometry: Geometry | None) -> None:
        self.name, self.dim, self.fingerprint, self.geometry = name, function.dim, fingerprint, geometry
        self._function = function

    def run(self, pixels: list[npt.NDArray[np.uint8]], cancellation: Cancellation) -> Vectors:
        return self._function(pixels if self.geometry is None else np.stack(pixels))


class CallableText:
    """A function from a list of str to vectors as an embedder (see ``callable_embedder``)."""

    kind = "text"

    def __init__(self, function: _Checked, name: str, fingerprint: str, batch_size: int) -> None:
        self.name, self.dim, self.fingerprint = name, function.dim, fingerprint
        self.batch_size = batch_size
        self._function = function

    def embed(self, batch: Sequence[str], progress: bool = False) -> Vectors:
        """Vectors of texts.

        Parameters
        ----------
        batch : sequence of str
        progress : bool
            Show a bar.

        Returns
        -------
        (n, dim) float32 array

        Raises
        ------
        ValueError
            If ``batch`` holds anything but str, or the function returns anything but finite (n, dim) numbers.
        """
        if isinstance(batch, (str, bytes)) or not hasattr(batch, "__len__"):
            raise ValueError(f"batch must be a sequence of str, got {type(batch).__name__}; for one pass [it]")
        texts = list(batch)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(f"batch must hold str, got {type(text).__name__} at position {i}")
        out = np.empty((len(texts), self.dim), np.float32)
        starts: Any = range(0, len(texts), self.batch_size)
        if progress:
            starts = require("tqdm", "text", "The progress bar").tqdm(starts, desc="embedding", unit="batch")
        for start in starts:
            part = self._function(texts[start : start + self.batch_size])
            finite = np.isfinite(part).all(axis=1)
            if not finite.all():
                position = start + int(np.argmin(finite))
                raise ValueError(f"function must return finite numbers, got others for the text at position {position}")
            out[start : start + len(part)] = part
        return out

    def __repr__(self) -> str:
        return f"CallableText({self.name!r}, dim={self.dim})"


def callable_embedder(
    function: Callable[[Any], Any],
    dim: int,
    name: str,
    kind: str = "images",
    *,
    version: str | int = 1,
    size: int | Sequence[int] | None = None,
    framing: str | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
) -> Any:
    """An embedder from a function of your own.

    Parameters
    ----------
    function : callable
        Batch -> (n, dim) numbers: an array or anything NumPy makes one of. A batch of images is a list of uint8
        arrays (h, w, 3) in RGB order, as large as the images are, or with ``size`` one array (n, height, width, 3).
        A batch of text is a list of str. It is never called by two threads at once; images are decoded meanwhile.
    dim : int
        Numbers per vector.
    name : str
        What to call it. It is in no registry: whoever opens a stored collection again passes the embedder again.
    kind : {"images", "text"}
    version : str or int
        Part of the fingerprint: change it when the function gives other vectors for the same input.
    size, framing
        For images: resample to this side or (height, width); see ``simskip.embedding.picture.Geometry``.
    batch_size : int, optional
        Items per call: 16 images with ``size``, 4 without, 256 texts.
    threads : int, optional
        For images: threads that decode.

    Returns
    -------
    ImageEmbedder or CallableText

    Raises
    ------
    ValueError
        For arguments out of range, and for a name that already means something else. When embedding: if the
        function returns another shape or anything but finite numbers; ``embed_files`` skips images whose numbers are
        not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from simskip import embedding
    >>> colour = embedding.callable_embedder(lambda pixels: pixels.mean((1, 2)), 3, "colour", size=32)
    >>> colour.embed([np.full((50, 40, 3), 7, np.uint8)])
    array([[7., 7., 7.]], dtype=float32)
    >>> length = embedding.callable_embedder(lambda texts: [[len(text)] for text in texts], 1, "length", "text")
    >>> length.embed(["a", "word"])
    array([[1.],
           [4.]], dtype=float32)
    """
    if not callable(function):
        raise ValueError(f"function must be callable, got {type(function).__name__}")
    checked = _Checked(function, positive_int(dim, "dim"))
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be a string that is not empty, got {name!r}")
    families = {known.partition(":")[0] for known in names() if ":" in known}
    if name in names() or (":" in name and name.partition(":")[0] in families):
        raise ValueError(f"name must be one that no other embedder has, got {name!r}")
    fingerprint = f"callable {name} version={version} dim={dim}"
    if choice(kind, "kind", ("images", "text")) == "text":
        for option, value in (("size", size), ("framing", framing), ("threads", threads)):
            if value is not None:
                raise ValueError(f"{option} must be left out for kind='text', got {value!r}")
        return CallableText(
            checked, name, fingerprint, positive_int(256 if batch_size is None else batch_size, "batch_size")
        )
    fingerprint += f" pixels={PIXELS_VERSION}"
    geometry = None
    if size is not None:
        preprocessing = Preprocessing.of(plain_settings({"size": size, "framing": framing}))
        geometry = preprocessing.geometry
        fingerprint += " size={}x{}".format(*geometry.size) + f" framing={geometry.framing}"
    elif framing is not None:
        raise ValueError(f"framing must be left out without size, got {framing!r}")
    if batch_size is None:
        batch_size = 4 if geometry is None else 16
    engine = _CallableEngine(checked, name, fingerprint, geometry)
    return ImageEmbedder(engine, threads=threads, batch_size=batch_size)
