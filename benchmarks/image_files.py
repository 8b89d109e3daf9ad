"""``python -m benchmarks.image_files``: vectors of JPEG files, by threads and by worker processes.

Photographs of CIFAR-10 enlarged to 500 x 375 with a little noise (about 50 kB each, quality 90), embedded with
EfficientNet-Lite0 in three ways:

=========  ===========================================================================================
threads    what ``embed_files`` does: each thread reads, resamples and embeds batches of its own
decoders   worker processes read and resample, threads of the main process run the network
processes  worker processes do everything, each with a network of its own; only vectors travel
=========  ===========================================================================================

Each way in turn, several rounds; the smallest processor time per image counts (of all processes together), since wall
time depends on what else runs. "Images a second" is what that time allows on the given cores.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from simskip import datasets, embedding
from simskip.embedding.ordered_work import Cancellation
from simskip.embedding.picture import Geometry, read_pixels

_GEOMETRY = Geometry((224, 224))
_WIDTH, _HEIGHT = 500, 375
_PART = 64  # files that a worker process gets at a time
_embedder: embedding.ImageEmbedder | None = None


def write_photographs(folder: Path, n: int) -> list[Path]:
    """``n`` JPEG files in ``folder``."""
    rng = np.random.default_rng(0)
    paths = []
    for i, small in enumerate(datasets.cifar10("train").images[:n]):
        large = Image.fromarray(small).resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
        noise = rng.integers(-6, 7, (_HEIGHT, _WIDTH, 1), np.int16)
        pixels = np.clip(np.asarray(large).astype(np.int16) + noise, 0, 255).astype(np.uint8)
        paths.append(folder / f"{i:06}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=90)
    return paths


def _decode(paths: Sequence[Path]) -> list[npt.NDArray[np.uint8]]:
    return [read_pixels(path, _GEOMETRY) for path in paths]


def _start() -> None:
    global _embedder
    _embedder = embedding.images(threads=1)


def _embed(paths: Sequence[Path]) -> npt.NDArray[np.float32]:
    assert _embedder is not None
    return _embedder.embed_files(paths, progress=False).vectors


def _parts(paths: Sequence[Path], size: int) -> list[Sequence[Path]]:
    return [paths[start : start + size] for start in range(0, len(paths), size)]


def _cpu_seconds(processes: list[int]) -> float:
    """Of this process and of others that still run."""
    ticks = 0
    for pid in processes:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def measure(paths: Sequence[Path], threads: int, rounds: int) -> dict[str, float]:
    """Least processor seconds per image of each way."""
    embedder = embedding.images(threads=threads)
    spawn = get_context("spawn")
    with (
        ProcessPoolExecutor(threads, mp_context=spawn) as decoders,
        ProcessPoolExecutor(threads, mp_context=spawn, initializer=_start) as embedders,
    ):

        def by_threads(files: Sequence[Path]) -> None:
            embedder.embed_files(files, progress=False)

        def by_decoders(files: Sequence[Path]) -> None:
            def run(pixels: list[npt.NDArray[np.uint8]]) -> None:
                for start in range(0, len(pixels), 4):
                    embedder.engine.run(pixels[start : start + 4], Cancellation())

            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(run, decoders.map(_decode, _parts(files, 16))))

        def by_processes(files: Sequence[Path]) -> None:
            list(embedders.map(_embed, _parts(files, _PART)))

        ways: dict[str, Callable[[Sequence[Path]], None]] = {
            "threads": by_threads, "decoders": by_decoders, "processes": by_processes,
        }  # fmt: skip
        for run in ways.values():
            run(paths[: 8 * _PART])
        pids = [pid for pool in (decoders, embedders) for pid in pool._processes]
        least = dict.fromkeys(ways, float("inf"))
        for i in range(rounds):
            part = _parts(paths, -(-len(paths) // rounds))[i]
            for name, run in ways.items():
                before = _cpu_seconds(pids)
                run(part)
                least[name] = min(least[name], (_cpu_seconds(pids) - before) / len(part))
    return least


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.image_files",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photographs(Path(folder), options.images)
        for name, seconds in measure(paths, options.threads, options.rounds).items():
            print(f"{name:10} {seconds * 1e3:6.2f} ms per image: {options.threads / seconds:5.0f} images a second")


if __name__ == "__main__":
    main()
