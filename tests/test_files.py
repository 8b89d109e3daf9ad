import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from simskip.files import atomic_write


def test_writes_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with atomic_write(path) as file:
        file.write(b"one")
        assert Path(file.name).parent == tmp_path
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_the_file_can_be_written_by_its_name(tmp_path: Path) -> None:
    with atomic_write(str(tmp_path / "a")) as file:
        Path(file.name).write_bytes(b"by path")
    assert (tmp_path / "a").read_bytes() == b"by path"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half of the n")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_keeps_permissions_and_follows_the_umask(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"")
    old.chmod(0o640)
    before = os.umask(0o027)
    try:
        for path in (old, new):
            with atomic_write(path) as file:
                file.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert stat.S_IMODE(new.stat().st_mode) == 0o640  # 0o666 without 0o027


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.parent.mkdir()
    target.write_bytes(b"old")
    link.symlink_to(target)
    with atomic_write(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_readers_of_the_old_file_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with open(path, "rb") as reader:
        with atomic_write(path) as file:
            file.write(b"new")
        assert reader.read() == b"old"


def test_long_names_work(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    with atomic_write(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"


def test_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), atomic_write(tmp_path):
        pass
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "missing" / "a"):
        pass


def test_flushes_file_before_renaming_and_folder_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def spy_replace(source: os.PathLike[str], target: os.PathLike[str]) -> None:
        assert Path(source).read_bytes() == b"all of it"
        order.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    with atomic_write(tmp_path / "a") as file:
        file.write(b"all of it")
    assert order == ["file", "rename", "folder"]


WRITER = """
import sys
from simskip.files import atomic_write
print("ready", flush=True)
generation = 0
while True:
    generation += 1
    with atomic_write(sys.argv[1]) as file:
        for _ in range(64):
            file.write(generation.to_bytes(8, "little") * 512)
"""


def test_kill_during_writing_never_loses_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(8) * 512 * 64)
    for round_ in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        with writer.stdout:
            assert writer.stdout.readline() == b"ready\n"
            # Killed after a few files were written, and some reads later: at another place in each round.
            fresh: set[bytes] = set()
            reads = 0
            while len(fresh) < 3 or reads % 12 != round_:
                assert writer.poll() is None
                content = path.read_bytes()
                assert len(content) == 8 * 512 * 64
                assert content == content[:8] * (512 * 64)
                fresh.add(content[:8])
                reads += 1
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        content = path.read_bytes()
        assert content == content[:8] * (512 * 64)
