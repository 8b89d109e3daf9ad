"""The roof over every scan: how fast this machine reads memory and counts bits, measured in the same run."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Limits"]

WORDS = (1, 2, 4)  # of codes that limits.cpp can compare
_CACHED_BYTES = 16 << 10
_LARGEST_READ = 1 << 29


class Limits:
    """Speeds of limits.cpp's loops; compiled when made, each measured once when first asked for.

    Raises
    ------
    OSError
        If there is no C++ compiler (``CXX``, or ``c++``).
    """

    def __init__(self) -> None:
        compiler = os.environ.get("CXX", "c++")
        if shutil.which(compiler) is None:
            raise OSError(f"no C++ compiler {compiler!r}")
        flags = ["-mavx2"] if platform.machine() in ("x86_64", "AMD64") else []
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "limits.so"
            source = Path(__file__).with_name("limits.cpp")
            subprocess.run([compiler, "-O3", "-w", *flags, "-shared", "-fPIC", source, "-o", library], check=True)
            self._library = ctypes.CDLL(str(library))  # stays mapped without its file
        self._known: dict[str, float] = {}

    def least_distance(self, isa: str, codes: npt.NDArray[np.uint64], query: npt.NDArray[np.uint64]) -> int:
        """What the loop of ``codes_per_second`` finds; codes (blocks, words, 8), with a multiple of 4 blocks."""
        compare = getattr(self._library, f"compare_{isa}")
        compare.restype = ctypes.c_uint64
        n_blocks, words, _ = codes.shape
        return int(compare(_pointer(codes), _pointer(query), words, ctypes.c_size_t(n_blocks), 1))

    def codes_per_second(self, isa: str, n_bits: int) -> float | None:
        """Codes in the first-level cache that one thread compares in a second, a popcount for each word; ``None`` if
        there is no such loop."""
        words = n_bits // 64
        compare = getattr(self._library, f"compare_{isa}", None)
        if compare is None or words not in WORDS or n_bits % 64:
            return None
        key = f"compare {n_bits} bits, {isa}"
        if key not in self._known:
            compare.restype = ctypes.c_uint64
            n_blocks = _CACHED_BYTES // 64 // words
            codes = _aligned(n_blocks * 8 * words)
            codes[:] = np.random.default_rng(0).integers(0, 2**64, len(codes), dtype=np.uint64)
            query, rounds = codes[:words].copy(), 4000
            arguments = (_pointer(codes), _pointer(query), words, ctypes.c_size_t(n_blocks), rounds)
            seconds = _least_time(lambda: compare(*arguments), time.thread_time, 12)
            self._known[key] = n_blocks * 8 * rounds / seconds
        return self._known[key]

    def bytes_per_second(self, nbytes: int, threads: int = 1) -> float:
        """Reading ``nbytes`` again and again (so from the cache that holds them, or memory), all threads together."""
        words = min(max(nbytes, 1 << 16), _LARGEST_READ) // 8 // 64 // threads * 64
        key = f"read {words * 8 * threads / 1e6:,.1f} MB, threads: {threads}"
        if key not in self._known:
            read = self._library.read_memory
            read.restype = ctypes.c_uint64
            arrays = [_aligned(words) for _ in range(threads)]
            for array in arrays:
                array[:] = 1
            rounds = max(1, (1 << 29) // (words * 8 * threads))

            def run() -> None:
                # ctypes calls release the GIL.
                readers = [
                    threading.Thread(target=read, args=(_pointer(a), ctypes.c_size_t(words), rounds)) for a in arrays
                ]
                for reader in readers:
                    reader.start()
                for reader in readers:
                    reader.join()

            seconds = _least_time(run, time.perf_counter, 7)
            self._known[key] = words * 8 * threads * rounds / seconds
        return self._known[key]

    def roof(self, isa: str, n: int, n_bits: int, queries: int, threads: int) -> tuple[str, float] | None:
        """What binds a scan, and the microseconds per query that it allows at best.

        Every byte is read at least once per call, however many queries share the reading ("memory"); every code is
        compared with every query ("popcount"). A scan without popcounts (bit-sliced) can be faster than the second.
        """
        rate = self.codes_per_second(isa, n_bits)
        if rate is None:
            return None
        nbytes = n * n_bits // 8
        memory = nbytes / self.bytes_per_second(nbytes, threads) / queries
        popcount = n / rate / threads
        return ("memory", memory * 1e6) if memory > popcount else ("popcount", popcount * 1e6)

    def report(self) -> dict[str, float]:
        """Everything measured so far: G codes ("compare", one thread) and G bytes ("read") per second."""
        return {key: value / 1e9 for key, value in self._known.items()}


def _aligned(n_words: int) -> npt.NDArray[np.uint64]:
    room = np.empty(n_words + 8, np.uint64)
    start = -room.ctypes.data % 64 // 8
    return room[start : start + n_words]


def _pointer(array: npt.NDArray[np.uint64]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _least_time(run: Any, clock: Any, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)
