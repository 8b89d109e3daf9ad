"""Writing files so that a crash leaves the old one or the new one, never half of either."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from io import BufferedRandom
from pathlib import Path

__all__ = ["atomic_write"]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BufferedRandom]:
    """Open a temporary file that replaces ``path`` when the block ends without an error.

    The temporary file lies in the same folder (a rename is atomic only within one file system), is flushed to
    the disk, renamed over ``path``, and the folder is flushed too. If the block raises, ``path`` is untouched
    and the temporary file is removed; if the process is killed, ``path`` is untouched and a hidden file
    ``.NAME.XXXXXXXX.tmp`` stays behind. Programs that have the old file open or mapped keep reading the old
    bytes.

    Parameters
    ----------
    path : str or path-like
        What to write. A symbolic link is followed, so the link stays and its target is replaced. An existing
        file's permissions are kept; a new file gets those of ``open(path, "wb")``.

    Yields
    ------
    binary file
        Open for reading and writing at position 0; its ``name`` is the temporary file's path, for libraries
        that want to write by path.

    Raises
    ------
    OSError
        As ``open`` does: the folder does not exist, no permission, disk full, ``path`` is a folder.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.bin"
    >>> with atomic_write(path) as file:
    ...     _ = file.write(b"whole")
    >>> path.read_bytes()
    b'whole'
    """
    target = Path(os.path.realpath(os.fspath(path)))
    if target.is_dir():
        raise IsADirectoryError(f"cannot write a file over the folder {target}")
    # Not tempfile.mkstemp: its 0600 would not follow the umask.
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.tmp")
    file = open(temporary, "x+b")  # noqa: SIM115 (closed below)
    try:
        with file:
            _keep_mode(file.fileno(), target)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def _keep_mode(descriptor: int, target: Path) -> None:
    try:
        mode = target.stat().st_mode
    except OSError:
        return  # a new file
    os.fchmod(descriptor, stat.S_IMODE(mode))


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; file systems that cannot flush folders say EINVAL."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
