"""Where simskip keeps what it can make again: exported models, downloaded data, computed vectors.

A cached file is called ``STEM-KEY-CHECKSUM.SUFFIX``. The key says what it was made from (another version,
another model: another key), the checksum is that of its content, so one name tells a stale or damaged file
from a good one and every write is a single rename. Processes that make the same file at once do not disturb
each other.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .files import atomic_write

__all__ = ["array_fingerprint", "cache_dir", "cached_bytes", "cached_vectors", "fingerprint"]

_DIGITS = 32  # hexadecimal digits of SHA-256 in names: 128 bits


class _HasFingerprint(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...


def cache_dir(directory: str | os.PathLike[str] | None = None) -> Path:
    """The cache folder, created if it is missing.

    Parameters
    ----------
    directory : path, optional
        Overrules the rest. Otherwise ``$SIMSKIP_CACHE``, ``$XDG_CACHE_HOME/simskip``, ``~/.cache/simskip``:
        the first that is set (empty counts as not set).

    Raises
    ------
    OSError
        If the folder cannot be made; the message says how to choose another.
    """
    if directory is not None:
        folder = Path(directory)
    elif os.environ.get("SIMSKIP_CACHE"):
        folder = Path(os.environ["SIMSKIP_CACHE"])
    elif os.environ.get("XDG_CACHE_HOME"):
        folder = Path(os.environ["XDG_CACHE_HOME"]) / "simskip"
    else:
        folder = Path.home() / ".cache" / "simskip"
    folder = folder.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"cannot use {folder} as cache ({error.strerror or error}); set SIMSKIP_CACHE to a writable folder"
        ) from error
    return folder


def fingerprint(*parts: str | bytes) -> str:
    """SHA-256 of the parts and of where each ends, as 32 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:_DIGITS]


def array_fingerprint(array: npt.NDArray[Any]) -> str:
    """Fingerprint of an array's dtype, shape and elements (not of its layout in memory)."""
    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:_DIGITS]


def cached_bytes(
    stem: str,
    key: str,
    suffix: str,
    make: Callable[[], Iterable[bytes | memoryview]],
    directory: str | os.PathLike[str] | None = None,
) -> Path:
    """The path of a cached file whose content is intact; made if there is none.

    Parameters
    ----------
    stem, suffix : str
        For people: what the file is.
    key : str
        Fingerprint of everything that the content depends on, versions included.
    make : callable
        Returns the content in pieces; called if no intact file is there. Files that were
        damaged are removed, and so are files of the same stem that a former run left half-written.
    directory : path, optional
        See ``cache_dir``.
    """
    folder = cache_dir(directory)
    for path in _candidates(folder, stem, key, suffix):
        if path.stem.rpartition("-")[2] == _checksum(path):
            return path
        with contextlib.suppress(OSError):  # another process may have removed it
            path.unlink()
    pieces = list(make())
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    path = folder / f"{stem}-{key}-{digest.hexdigest()[:_DIGITS]}.{suffix}"
    with atomic_write(path) as file:
        for piece in pieces:
            file.write(piece)
    return path


def _candidates(folder: Path, stem: str, key: str, suffix: str) -> list[Path]:
    name = re.compile(rf"{re.escape(stem)}-{re.escape(key)}-[0-9a-f]{{{_DIGITS}}}\.{re.escape(suffix)}")
    return sorted(path for path in folder.iterdir() if name.fullmatch(path.name))


def _checksum(path: Path) -> str | None:
    """Of the file's content; None if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()[:_DIGITS]


def cached_vectors(
    embedder: _HasFingerprint,
    data_fingerprint: str,
    compute: Callable[[], npt.NDArray[np.float32]],
    directory: str | os.PathLike[str] | None = None,
) -> npt.NDArray[np.float32]:
    """Vectors of some data from one embedder, computed once.

    Parameters
    ----------
    embedder : object with ``name`` and ``fingerprint``
        Another model or other preprocessing is another file.
    data_fingerprint : str
        Identity of what is embedded, for example ``array_fingerprint(images)``.
    compute : callable
        Returns the (n, d) float32 vectors; called if they are not in the cache.
    directory : path, optional
        See ``cache_dir``.

    Returns
    -------
    (n, d) float32 array
        Read-only and mapped from the file: it takes memory only where it is read.

    Raises
    ------
    ValueError
        If ``compute`` returns something else than a float32 matrix.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> embedder = SimpleNamespace(name="ones", fingerprint="v1")
    >>> folder = tempfile.mkdtemp()
    >>> cached_vectors(embedder, "data", lambda: np.ones((2, 3), np.float32), folder).shape
    (2, 3)
    >>> cached_vectors(embedder, "data", lambda: 1 / 0, folder).sum().item()  # from the cache
    6.0
    """

    def make() -> Iterable[bytes | memoryview]:
        vectors = np.asarray(compute())
        if vectors.dtype != np.float32 or vectors.ndim != 2:
            raise ValueError(f"compute must return an (n, d) float32 array, got {vectors.dtype} {vectors.shape}")
        vectors = np.ascontiguousarray(vectors)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(vectors))
        return [header.getvalue(), vectors.reshape(-1).view(np.uint8).data]

    key = fingerprint("vectors 1", embedder.fingerprint, data_fingerprint)
    stem = re.sub(r"[^A-Za-z0-9.-]+", "_", f"vectors-{embedder.name}")
    path = cached_bytes(stem, key, "npy", make, directory)
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
