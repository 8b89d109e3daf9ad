"""Steps per second of the native trainer beside the same loop in Python torch, in one run on the same machine.

    python -m benchmarks.training                      csq 784-512-64 at batch 64, 128, 256 and neighbors 256-1024-64
                                                       at batch 924, with one and two threads
    python -m benchmarks.training --rounds 40          more rounds for a busy machine; --threads 1 for one thread only,
                                                       --objectives csq for some of the trainings

Both train on the same batches from the same weights; the losses of the first steps stand beside each other in the
output, so that one sees that the work is the same. (Rounding parts them slowly, ``neighbors`` sooner because an output
near 0 changes its sign, ``csq`` where an output comes within 1e-4 of the wrong sign: the trainer's loss ends there, the
peer's goes on.) The peer may use ``torch.optim.Adam`` in any of its three forms, and
its best one counts. Native and peer alternate, and each one's least disturbed round counts. One thread is judged by
processor time, which other programs disturb least; two threads by the clock, and only a quiet machine shows what they
gain. The last table is an epoch in the style of published implementations: a ``DataLoader``, and the codes of all rows
computed again after every epoch.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import simskip
from simskip.hashing import native_trainer

from .results import save
from .row_order import neighbor_batches, pass_batches
from .torch_loops import OPTIMIZERS, CsqLoop, NeighborsLoop, reference_epoch

Floats = npt.NDArray[np.float32]
Loop = CsqLoop | NeighborsLoop

SEED = 3
BITS = 64
LEARNING_RATE = 1e-3
CURVE, EARLY = 50, 5
REFERENCE_BATCHES = (32, 64, 128)
NEIGHBOR_OPTIONS = {
    "tau": 0.02, "balance": 0.1, "ste_start": 0.5, "ste_end": 1.0, "ste_anneal": 0.0, "scale_learning_rate": 1e-2,
    "scale": 10.0,
}  # fmt: skip
ANCHORS, PER_ANCHOR = 48, 12


@dataclass
class Case:
    """One training that both sides do."""

    objective: str
    batch: int
    hidden: int
    inputs: Floats
    labels: npt.NDArray[np.int32]
    neighbors: npt.NDArray[np.int32] | None = None
    dropout: float = 0.0
    noise: Floats | None = None
    tower: dict[str, Any] = field(init=False)
    arrays: dict[str, Any] = field(init=False)

    @property
    def name(self) -> str:
        """Objective, widths and what else changes the work."""
        extra = " dropout+noise" if self.dropout else ""
        return f"{self.objective} {self.inputs.shape[1]}-{self.hidden}-{BITS}{extra}"

    def __post_init__(self) -> None:
        d = self.inputs.shape[1]
        self.tower = {"inputs": self.inputs}
        if self.neighbors is None:
            self.arrays = {"labels": self.labels, "n_classes": int(self.labels.max()) + 1}
            return
        linear = np.random.default_rng(1).normal(size=(BITS, d)).astype(np.float32)
        self.arrays = {"anchors": np.arange(len(self.inputs), dtype=np.int32), "neighbors": self.neighbors}
        self.tower |= {
            "gain": np.full(d, math.sqrt(d), np.float32),
            "residual_weight": linear,
            "residual_bias": np.zeros(BITS, np.float32),
            "noise": self.noise,
        }

    def train(
        self,
        epochs: int,
        steps: int,
        threads: int,
        on_epoch: Callable[[dict[str, Any], Floats], None],
        learning_rate: float = LEARNING_RATE,
        evaluated: npt.NDArray[np.int32] | None = None,
    ) -> Any:
        """Train natively; the weights of the first epoch are returned, so that later ones are not copied."""
        trainer = native_trainer.load()
        network = trainer.NetworkSettings()
        network.n_bits, network.hidden, network.dropout = BITS, [self.hidden], self.dropout
        settings = trainer.Settings()
        settings.network, settings.objective = network, self.objective
        if self.neighbors is not None:
            settings.objective_options = NEIGHBOR_OPTIONS
        settings.anchors, settings.neighbors_per_anchor = ANCHORS, PER_ANCHOR
        settings.epochs, settings.steps_per_epoch, settings.batch_size = epochs, steps, self.batch
        settings.optimizer, settings.schedule, settings.learning_rate = "adam", "constant", learning_rate
        settings.seed, settings.threads = SEED, threads

        def judge(record: dict[str, Any], outputs: Floats) -> tuple[float, bool]:
            on_epoch(record, outputs)
            return -float(record["epoch"]), False

        rows = np.arange(len(self.inputs), dtype=np.int32)
        return trainer.train(settings, [self.tower], rows, judge, evaluation_rows=evaluated, **self.arrays)

    @cached_property
    def start(self) -> list[tuple[Floats, Floats]]:
        """The weights that training begins with: steps of 1e-30 do not change a float32."""
        # The gain is folded into the first layer's weights, and the peer multiplies its inputs.
        result = self.train(1, 1, 1, lambda record, outputs: None, learning_rate=1e-30)
        (weight, bias), *others = result["networks"][0][0]
        gain = self.tower.get("gain")
        return [(weight if gain is None else weight / gain, bias), *others]

    def batches(self) -> Iterator[npt.NDArray[np.int64]]:
        """The row numbers of the native trainer's batches."""
        if self.neighbors is None:
            return pass_batches(len(self.inputs), self.batch, SEED)
        return neighbor_batches(self.neighbors, self.batch, ANCHORS, PER_ANCHOR, SEED)

    def loop(self, optimizer: str, batches: Iterator[npt.NDArray[np.int64]]) -> Loop:
        """The peer, at the same weights."""
        choice, start = OPTIMIZERS[optimizer], self.start
        if self.neighbors is None:
            return CsqLoop(self.inputs, self.labels, start, batches, LEARNING_RATE, choice)
        residual = (self.tower["residual_weight"], self.tower["residual_bias"])
        return NeighborsLoop(
            self.inputs, start, residual, batches, LEARNING_RATE, choice, NEIGHBOR_OPTIONS, self.dropout, self.noise
        )


def cases(n: int, batches: tuple[int, ...]) -> list[Case]:
    """Fashion-MNIST: pixels for ``csq``; 256 leading directions, scaled to length 1, for ``neighbors``."""
    photos = simskip.datasets.fashion_mnist("train")[slice(n)]
    pixels = photos.images.reshape(len(photos), -1).astype(np.float32) / 255
    labels = photos.labels.astype(np.int32)
    all_cases = [Case("csq", batch, 512, pixels, labels) for batch in batches]
    centred = pixels - pixels.mean(axis=0)
    directions = np.linalg.eigh(centred.T @ centred)[1][:, :-257:-1]
    vectors = centred @ directions
    vectors = np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -2)
    nearest = np.argpartition(-similar, 50, axis=1)[:, :50].astype(np.int32)
    for dropout in (0.0, 0.1):
        noise = (0.3 * vectors.std(axis=0)).astype(np.float32) if dropout else None
        all_cases.append(Case("neighbors", min(924, n), 1024, vectors, labels, nearest, dropout, noise))
    return all_cases


def curve(case: Case, steps: int) -> dict[str, Any]:
    """The losses of the first steps on both sides, from the same weights on the same batches."""
    native: list[float] = []
    case.train(steps, 1, 1, lambda record, outputs: native.append(record["loss"]))
    peer = case.loop("for loop", case.batches())
    torch_losses = [peer.step() for _ in range(steps)]
    gaps = [abs(a - b) / abs(b) for a, b in zip(native, torch_losses, strict=True)]
    losses = {"simskip": native, "torch": torch_losses}
    return {"name": case.name, "batch": case.batch, **losses, "early_gap": max(gaps[:EARLY]), "largest_gap": max(gaps)}


def _native_round(case: Case, steps: int, threads: int) -> tuple[float, float]:
    """Processor and wall seconds per step, of the better of two epochs that follow a first."""
    marks: list[tuple[float, float]] = []
    case.train(3, steps, threads, lambda record, outputs: marks.append((time.process_time(), time.perf_counter())))
    spans = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(marks)]
    return min(s[0] for s in spans) / steps, min(s[1] for s in spans) / steps


def _peer_round(loop: Loop, steps: int) -> tuple[float, float]:
    """The same of the peer: it begins anew too, since moments that fade away make its later steps slower."""
    spans = []
    for _ in range(steps):
        loop.step()
    for _ in range(2):
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(steps):
            loop.step()
        spans.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(s[0] for s in spans) / steps, min(s[1] for s in spans) / steps


def compare(case: Case, threads: int, rounds: int, steps: int) -> list[dict[str, Any]]:
    """One row for the native trainer and one per form of the peer."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    # Drawn beforehand: the peer's time shall not hold the drawing of rows in Python.
    drawn = list(itertools.islice(case.batches(), 64))
    times: dict[str, list[tuple[float, float]]] = {"simskip": []} | {f"torch, {name}": [] for name in OPTIMIZERS}
    for _ in range(rounds):
        times["simskip"].append(_native_round(case, steps, threads))
        for name in OPTIMIZERS:
            times[f"torch, {name}"].append(_peer_round(case.loop(name, itertools.cycle(drawn)), steps))
    torch.set_num_threads(before)
    rows = []
    for name, spans in times.items():
        cpu, wall = min(s[0] for s in spans), min(s[1] for s in spans)
        rows.append(
            {
                "name": case.name,
                "batch": case.batch,
                "threads": threads,
                "who": name,
                "cpu_us": cpu * 1e6,
                "wall_us": wall * 1e6,
                "steps_per_second": 1 / (cpu if threads == 1 else wall),
            }
        )
    best_peer = max(row["steps_per_second"] for row in rows[1:])
    for row in rows:
        row["times_best_torch"] = row["steps_per_second"] / best_peer
    return rows


def reference(case: Case, rounds: int) -> dict[str, Any]:
    """An epoch with the codes of all rows after it: native, and in the style of published implementations."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    n = len(case.inputs)
    epoch = reference_epoch(case.inputs, case.labels, case.start, case.batch, LEARNING_RATE)
    native, peer = [], []
    everything = np.arange(n, dtype=np.int32)
    for _ in range(rounds):
        marks: list[float] = []
        case.train(2, 0, 1, lambda record, outputs: marks.append(time.process_time()), evaluated=everything)  # noqa: B023
        native.append(marks[1] - marks[0])
        cpu = time.process_time()
        epoch()
        peer.append(time.process_time() - cpu)
    torch.set_num_threads(before)
    row = {"name": case.name, "batch": case.batch, "n": n, "simskip_s": min(native), "reference_s": min(peer)}
    return row | {"ratio": min(peer) / min(native)}


def curve_table(curves: list[dict[str, Any]]) -> Table:
    """For people: some steps of every curve."""
    steps = [s for s in (1, 2, 5, 10, 20, CURVE) if s <= len(curves[0]["simskip"])]
    table = Table(title="Loss on the same batches from the same weights: simskip / torch")
    table.add_column("training")
    for step in steps:
        table.add_column(f"step {step}", justify="right")
    table.add_column(f"gap to {EARLY} / all", justify="right")
    for row in curves:
        pairs = [f"{row['simskip'][s - 1]:.5f}\n{row['torch'][s - 1]:.5f}" for s in steps]
        table.add_row(
            f"{row['name']}\nbatch {row['batch']}", *pairs, f"{row['early_gap']:.0e}\n{row['largest_gap']:.0e}"
        )
    return table


def speed_table(rows: list[dict[str, Any]]) -> Table:
    """For people: every competitor; the ratio is to the peer's best form."""
    table = Table(title="Steps per second (one thread: of processor time; more: by the clock)")
    for column in ("training", "batch", "threads", "who", "cpu us", "wall us", "steps/s", "x best torch"):
        table.add_column(column, justify="left" if column in ("training", "who") else "right")
    for row in rows:
        table.add_row(
            row["name"],
            str(row["batch"]),
            str(row["threads"]),
            row["who"],
            f"{row['cpu_us']:,.0f}",
            f"{row['wall_us']:,.0f}",
            f"{row['steps_per_second']:,.0f}",
            f"{row['times_best_torch']:.2f}",
            end_section=row["who"].endswith("fused"),
        )
    return table


def reference_table(rows: list[dict[str, Any]]) -> Table:
    """For people."""
    table = Table(title="An epoch and the codes of all rows, one thread, seconds of processor time")
    for column in ("training", "rows", "batch", "simskip", "reference style", "x"):
        table.add_column(column, justify="left" if column == "training" else "right")
    for row in rows:
        times = (f"{row['simskip_s']:.3f}", f"{row['reference_s']:.3f}", f"{row['ratio']:.2f}")
        table.add_row(row["name"], f"{row['n']:,}", str(row["batch"]), *times)
    return table


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=5000, help="rows to train on")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 128, 256], help="batch sizes of csq")
    parser.add_argument("--objectives", nargs="+", default=["csq", "neighbors"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.05, help="of one epoch of a round, about")
    arguments = parser.parse_args()
    console = Console(width=110)
    everything = cases(arguments.n, tuple(arguments.batches))
    chosen = [case for case in everything if case.objective in arguments.objectives]
    curves = [curve(case, CURVE) for case in chosen if not case.dropout]
    console.print(curve_table(curves))
    rows = []
    for case in chosen:
        # About 2 ms per 256 rows: enough steps that the clock's resolution does not matter.
        steps = max(5, round(arguments.seconds / (2e-3 * case.batch / 256)))
        for threads in arguments.threads:
            rows += compare(case, threads, arguments.rounds, steps)
    console.print(speed_table(rows))
    first = everything[0]
    styles = [Case("csq", batch, first.hidden, first.inputs, first.labels) for batch in REFERENCE_BATCHES]
    epochs = [reference(case, max(1, arguments.rounds // 3)) for case in styles]
    console.print(reference_table(epochs))
    console.print(f"saved to {save('training', {'curves': curves, 'rows': rows, 'epochs': epochs})}")


if __name__ == "__main__":
    main()
