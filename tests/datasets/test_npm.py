"""npm packages: which registry is asked, and that nothing is believed without its checksum."""

import hashlib
import io
import stat
import sys
import tarfile
import urllib.error

import pytest

from simskip.datasets import npm
from simskip.datasets.npm import NpmPackage, opened


def tarball(files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


CONTENT = tarball({"a.txt": b"hello"})
PACKAGE = NpmPackage("some-data", "1.2.3", hashlib.sha256(CONTENT).hexdigest(), 7)


@pytest.fixture
def registry(monkeypatch):
    """What the network answers, and the addresses it was asked for; npm is not installed."""
    served = {"content": CONTENT, "requests": []}

    def urlopen(url, timeout):
        served["requests"].append(url)
        assert timeout > 0
        if served["content"] is None:
            raise urllib.error.URLError("no network")
        return io.BytesIO(served["content"])

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    monkeypatch.setattr(npm.shutil, "which", lambda name: None)
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    return served


@pytest.fixture
def installed_npm(monkeypatch, tmp_path):
    """A program in npm's place that leaves ``tmp_path / "served"`` where the tarball belongs."""
    script = tmp_path / "npm"
    script.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, shutil, sys\n"
        f"served = pathlib.Path({str(tmp_path / 'served')!r})\n"
        "assert sys.argv[1:3] == ['pack', 'some-data@1.2.3'], sys.argv\n"
        "assert '--ignore-scripts' in sys.argv\n"
        "if not served.exists():\n"
        "    sys.exit('npm error 404 Not Found')\n"
        "folder = sys.argv[sys.argv.index('--pack-destination') + 1]\n"
        "shutil.copy(served, pathlib.Path(folder, 'some-data-1.2.3.tgz'))\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(npm.shutil, "which", lambda name: str(script))
    return tmp_path / "served"


def text_of(package):
    with opened(package, "Some data") as archive:
        return archive.extractfile("package/a.txt").read()


def test_downloaded_from_the_public_registry(registry):
    assert text_of(PACKAGE) == b"hello"
    assert registry["requests"] == ["https://registry.npmjs.org/some-data/-/some-data-1.2.3.tgz"]


@pytest.mark.parametrize("name", ["npm_config_registry", "NPM_CONFIG_REGISTRY"])
def test_downloaded_from_the_registry_that_is_set(registry, monkeypatch, name):
    monkeypatch.setenv(name, "https://mirror.example/npm/")
    assert text_of(PACKAGE) == b"hello"
    assert registry["requests"] == ["https://mirror.example/npm/some-data/-/some-data-1.2.3.tgz"]


def test_npm_is_asked_first(registry, installed_npm):
    installed_npm.write_bytes(CONTENT)
    assert text_of(PACKAGE) == b"hello"
    assert registry["requests"] == []


@pytest.mark.parametrize("packed", [None, b"not what was published"])
def test_downloaded_where_npm_fails(registry, installed_npm, packed):
    if packed:
        installed_npm.write_bytes(packed)
    assert text_of(PACKAGE) == b"hello"
    assert len(registry["requests"]) == 1


def test_all_failures_are_told(registry, installed_npm):
    registry["content"] = CONTENT[:-1]
    with pytest.raises(OSError, match=r"some-data 1\.2\.3 \(7 MB\)") as caught:
        text_of(PACKAGE)
    message = str(caught.value)
    assert "Some data is not in the cache" in message
    assert "npm pack: ended with 1: npm error 404 Not Found" in message
    assert f"download: its SHA-256 is {hashlib.sha256(CONTENT[:-1]).hexdigest()}" in message
    registry["content"] = None
    with pytest.raises(OSError, match="no network"):
        text_of(PACKAGE)


def test_what_cannot_be_unpacked_is_an_os_error(registry):
    registry["content"] = b"<html>"
    package = PACKAGE._replace(sha256=hashlib.sha256(b"<html>").hexdigest())
    with pytest.raises(OSError, match=r"Some data: downloaded\.tgz cannot be unpacked"):
        text_of(package)


def test_errors_of_the_reader_come_through(registry):
    with pytest.raises(KeyError, match="missing"), opened(PACKAGE, "Some data"):
        raise KeyError("missing")
