"""kill -9 in a loop of saves: the file that is there always loads and is a whole one."""

import os
import signal
import subprocess
import sys
import time

import pytest

import simskip
from simskip.compat import faiss

# Each saves another version over the same file; which version a file is can be told from its length alone, and its
# content follows from that.
KINDS = """
import numpy as np, simskip
from simskip.compat import faiss

HASHER = simskip.RandomHash(8, random_state=0).fit(np.eye(4, dtype=np.float32))

def codes(version, n_bits=64):
    bits = np.random.default_rng(version).integers(0, 2, (2000 + version, n_bits))
    return simskip.pack(bits, threads=1)

def vectors(version):
    return np.random.default_rng(version).normal(size=(2000 + version, 4)).astype(np.float32)

def hamming(version):
    index = simskip.HammingIndex(64)
    index.add(codes(version), np.arange(2000 + version) * 2)
    return index

def float_index(version):
    index = simskip.VectorIndex(4)
    index.add(vectors(version))
    return index

def similarity(version):
    index = simskip.SimilarityIndex(HASHER)
    index.add(vectors(version))
    return index

def hasher(version):
    return simskip.RandomHash(2000 + version, random_state=version).fit(np.eye(4, dtype=np.float32))

MAKE = {"hamming": hamming, "vectors": float_index, "similarity": similarity, "hasher": hasher, "faiss": hamming}
SAVE = {"faiss": faiss.write_index}

def save(thing, kind, path):
    SAVE.get(kind, lambda thing, path: thing.save(path))(thing, path)
"""

# One process imports everything; for each round it forks a writer, which is what gets killed.
SERVER = (
    KINDS
    + """
import os, sys
VERSIONS = 5
for line in sys.stdin:
    kind, path, first = line.split()
    ready, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        things = [MAKE[kind](version) for version in range(VERSIONS)]
        version = int(first)
        while True:
            version = (version + 1) % VERSIONS
            save(things[version], kind, path)
            if writer:
                os.write(writer, b"x")
                os.close(writer)
                writer = 0
    os.close(writer)
    os.read(ready, 1)  # the first save is done
    os.close(ready)
    print(pid, flush=True)
    sys.stdin.readline()  # killed meanwhile
    _, status = os.waitpid(pid, 0)
    print(status, flush=True)
"""
)

LOAD = {
    "hamming": simskip.HammingIndex.load,
    "vectors": simskip.VectorIndex.load,
    "similarity": simskip.SimilarityIndex.load,
    "hasher": simskip.load_hasher,
    "faiss": faiss.read_index,
}
# Seconds after the first save of a round: all over the two to twenty milliseconds that a save takes.
DELAYS = [0.0007 * 1.12**i for i in range(30)]


@pytest.fixture(scope="module")
def server():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    with process:
        yield process
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.parametrize("kind", LOAD)
def test_kill_while_saving_leaves_a_whole_version(tmp_path, server, kind):
    recipes = {}
    exec(KINDS, recipes)
    path = tmp_path / "saved"
    whole = set()
    for version in range(5):
        recipes["save"](recipes["MAKE"][kind](version), kind, tmp_path / "whole")
        whole.add((tmp_path / "whole").read_bytes())
    os.remove(tmp_path / "whole")
    assert len(whole) == 5
    seen = set()
    for round_, delay in enumerate(DELAYS):
        print(kind, path, round_ % 5, file=server.stdin, flush=True)
        pid = int(server.stdout.readline())
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        print(file=server.stdin, flush=True)
        assert int(server.stdout.readline()) == signal.SIGKILL
        LOAD[kind](path)
        content = path.read_bytes()
        assert content in whole
        seen.add(content)
    assert len(seen) > 1
    # A kill leaves at most the one temporary file that was being written, and nothing else.
    stale = [name for name in os.listdir(tmp_path) if name != "saved"]
    assert 1 <= len(stale) <= len(DELAYS)
    assert all(name.startswith(("saved.tmp-", ".saved.")) for name in stale)
    # They are in nobody's way.
    thing = LOAD[kind](path)
    recipes["save"](thing, kind, path)
    assert path.read_bytes() == content
    assert len(os.listdir(tmp_path)) == len(stale) + 1
