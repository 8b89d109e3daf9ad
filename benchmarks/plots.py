"""Pictures of the rows: time over the number of codes, recall over time, what objectives keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["plot_objectives", "plot_recall", "plot_sizes"]

Row = dict[str, Any]

# One look for each competitor in all pictures; markers as well as colours, for those who cannot tell the latter.
LOOKS = {
    "simskip scan": ("#1b6ca8", "o"),
    "simskip auto": ("#0b3954", "s"),
    "simskip multi-index": ("#087e8b", "D"),
    "faiss heap": ("#e07a1f", "^"),
    "faiss counter": ("#f2a65a", "v"),
    "usearch exact": ("#7a5195", "P"),
    "numpy": ("#8d99ae", "X"),
    "faiss IVF": ("#e07a1f", "^"),
    "faiss HNSW": ("#c8553d", "v"),
    "usearch HNSW": ("#7a5195", "P"),
}


def _figure(title: str) -> tuple[Any, Any]:
    # Not through pyplot: no window system, nothing global.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    axes.grid(True, which="both", alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _plain(axis: Any) -> None:
    """Microseconds as numbers, not as powers of ten."""
    for which in (axis.set_major_formatter, axis.set_minor_formatter):
        which(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "125" else "")


def plot_sizes(rows: list[Row], isa: str, path: Path) -> bool:
    """CPU time per query over the number of 64-bit clustered codes, batch, one thread; ``False`` for too few points."""
    wanted = {"isa": isa, "shape": "batch", "threads": 1, "n_bits": 64, "kind": "clustered"}
    points = [r for r in rows if all(r[k] == v for k, v in wanted.items())]
    if len({r["n"] for r in points}) < 2:
        return False
    figure, axes = _figure(f"Top-25 of clustered 64-bit codes, one thread, {isa}")
    for who, (colour, marker) in LOOKS.items():
        line = sorted((r["n"], r["cpu_us"]) for r in points if r["who"] == who)
        if line:
            axes.loglog(*zip(*line, strict=True), color=colour, marker=marker, label=who)
    axes.set_xlabel("codes")
    axes.set_ylabel("CPU microseconds per query")
    _plain(axes.yaxis)
    axes.legend(frameon=False)
    figure.savefig(path)
    return True


def plot_recall(rows: list[Row], title: str, path: Path) -> bool:
    """Recall over CPU time per query: the approximate indexes' curves, simskip's points at 1."""
    if not rows:
        return False
    figure, axes = _figure(f"{title}: recall and time, one thread")
    for who, (colour, marker) in LOOKS.items():
        curve = sorted((r["cpu_us"], r["recall"]) for r in rows if r["who"] == who and not r["tuned"])
        curve = curve or [(r["cpu_us"], r["recall"]) for r in rows if r["who"] == who]
        if curve:
            axes.semilogx(*zip(*curve, strict=True), color=colour, marker=marker, label=who, clip_on=False)
    axes.set_xlabel("CPU microseconds per query")
    axes.set_ylabel("recall@25")
    axes.set_ylim(top=1)
    _plain(axes.xaxis)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path)
    return True


def plot_objectives(sections: list[Row], path: Path) -> bool:
    """Neighbours kept and classes kept, a point for each method, a panel for each data set with labels."""
    from matplotlib.figure import Figure

    panels = [section for section in sections if section["task"] == "labels"]
    if not panels:
        return False
    figure = Figure(figsize=(5 * len(panels), 4.5), layout="constrained")
    for axes, section in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        points = section["rows"]
        axes.set_title(f"{section['title']}, {points[0]['n_bits']} bits", loc="left", fontsize="small")
        axes.grid(True, alpha=0.25)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for row in points:
            supervised = row["shown"] != row["method"]
            axes.errorbar(
                row["recall"], row["map"], xerr=row["recall_sd"], yerr=row["map_sd"],
                color="#c8553d" if supervised else "#1b6ca8", marker="s" if supervised else "o", capsize=2,
            )  # fmt: skip
            axes.annotate(
                row["method"], (row["recall"], row["map"]), (5, 3), textcoords="offset points", fontsize="small"
            )
        axes.set_xlabel("Recall@25: neighbours kept (squares: trained with labels)")
        axes.margins(x=0.2)
    figure.get_axes()[0].set_ylabel("mAP among unseen items: classes kept")
    figure.savefig(path)
    return True
