"""Opens what files of word vectors come in: plain, gzipped, or inside a zip or tar archive."""

from __future__ import annotations

import contextlib
import errno
import io
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, cast

from ...errors import FormatError

__all__ = ["Opened", "opened"]

_GZIP, _NPY = b"\x1f\x8b", b"\x93NUMPY"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second: an empty one
_WORDS = (".txt", ".vec", ".bin", ".json")
_TAR_MAGIC = slice(257, 262)
_PEEK = 1 << 16


class Opened(NamedTuple):
    """What stands in a file.

    Attributes
    ----------
    kind : {"stream", "npy", "npz"}
    name : str
        Of the file or the member, for its suffix.
    stream : BufferedReader or ZipFile
        To read it from.
    """

    kind: str
    name: str
    stream: Any


@contextlib.contextmanager
def opened(path: Path, member: str | None) -> Iterator[Opened]:
    """The content of ``path``, unpacked as its first bytes say.

    Parameters
    ----------
    path : path
    member : str, optional
        A file inside an archive, by its whole name or the part behind the last slash; default the first that is
        named like word vectors.

    Raises
    ------
    ValueError
        For a member that is not there; the message lists some that are.
    FormatError
        If no member is named like word vectors, or the archive is damaged.
    """
    with path.open("rb") as file, _damage_named(path):
        magic = file.read(6)
        file.seek(0)
        if magic.startswith(_ZIP):
            import zipfile

            with zipfile.ZipFile(file) as archive:
                names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
                if member is None and names and all(name.endswith(".npy") for name in names):
                    yield Opened("npz", path.name, archive)
                    return
                name = _chosen(names, member, path)
                with archive.open(name) as inner:
                    yield Opened("stream", name, io.BufferedReader(cast(Any, inner), _PEEK))
        elif magic.startswith(_GZIP):
            import gzip

            with gzip.open(file) as unpacked:
                stream = io.BufferedReader(cast(Any, unpacked), _PEEK)
                if stream.peek(512)[_TAR_MAGIC] == b"ustar":
                    with _tar_member(stream, member, path) as (name, inner):
                        yield Opened("stream", name, io.BufferedReader(cast(Any, inner), _PEEK))
                    return
                _no_member(member, path)
                yield Opened("stream", path.name.removesuffix(".gz"), stream)
        else:
            _no_member(member, path)
            kind = "npy" if magic == _NPY else "stream"
            yield Opened(kind, path.name, io.BufferedReader(cast(Any, file), _PEEK))


def _no_member(member: str | None, path: Path) -> None:
    if member is not None:
        raise ValueError(f"member must be None, {path.name} is no archive, got {member!r}")


def _fits(name: str, member: str | None) -> bool:
    own = PurePosixPath(name)
    if member is None:
        return own.suffix.lower() in _WORDS and own.name != "package.json" and not own.name.startswith(".")
    return member in (name, own.name)


def _chosen(names: Iterable[str], member: str | None, path: Path) -> str:
    seen = []
    for name in names:
        if _fits(name, member):
            return name
        seen.append(name)
    listed = ", ".join(map(repr, seen[:10])) + (", ..." if len(seen) > 10 else "")
    if member is None:
        raise FormatError(f"{path} holds no file that ends in {', '.join(_WORDS)}: {listed or 'it is empty'}")
    raise ValueError(f"member must be one of the files in {path.name} ({listed or 'none'}), got {member!r}")


@contextlib.contextmanager
def _tar_member(stream: BinaryIO, member: str | None, path: Path) -> Iterator[tuple[str, Any]]:
    """Reads the archive once: a gzipped one would have to be unpacked again to go back."""
    import tarfile

    with tarfile.open(fileobj=stream, mode="r|") as archive:
        current = None

        def names() -> Iterator[str]:
            nonlocal current
            for entry in archive:
                if entry.isfile():
                    current = entry
                    yield entry.name

        name = _chosen(names(), member, path)
        assert current is not None  # _chosen took it from names()
        yield name, archive.extractfile(current)


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """What unpacking raises on damaged files becomes a ``FormatError`` that names the file."""
    try:
        yield
    except (FormatError, ImportError, MemoryError):
        raise
    except Exception as error:
        import gzip
        import tarfile
        import zipfile
        import zlib

        # RuntimeError: a password is needed; NotImplementedError, a RuntimeError: a method that Python lacks.
        damage: tuple[type[Exception], ...] = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError)
        damage += (gzip.BadGzipFile, *_lzma_error())
        # bz2 raises a bare OSError without a number, and an archive may point before its beginning (EINVAL); others
        # are the system's.
        if isinstance(error, damage) or (type(error) is OSError and error.errno in (None, errno.EINVAL)):
            raise FormatError(f"{path} is damaged or cut short: {str(error) or type(error).__name__}") from error
        raise


def _lzma_error() -> tuple[type[Exception], ...]:
    try:
        import lzma
    except ImportError:  # Python built without it
        return ()
    return (lzma.LZMAError,)
