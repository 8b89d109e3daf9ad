"""The sentence that says whether codes can replace the vectors, and the rule behind it.

The rule, in order:

1. If the control (shuffled codes) does not score about k/n, no row can be believed: "no verdict: ...".
2. A row *qualifies* if the lower end of its Recall@k interval is at least ``min_recall``, it is at least
   ``min_speedup`` times as fast as exact float search both for single queries and in batches (a tenth more is
   noise), and it is not exact search in disguise.
3. Of the rows that qualify, those at least ``_ABOUT_AS_FAST`` times as fast as the fastest (by the smaller of
   a row's two speed ratios) count as equally fast, and the one with the highest recall wins; then the faster
   one, then the order given.
4. If none qualifies: "stay with float", and what is lacking: of the rows with enough recall the fastest is
   named, else the one with the highest recall.

The sentence gives both speed ratios if they differ by more than a quarter, else the smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .rows import Row, bytes_text, speed_text

__all__ = ["Verdict", "decide"]

# Times move by this much from run to run on a busy machine: recall must not be given up for less.
_ABOUT_AS_FAST = 0.8


@dataclass(frozen=True)
class Verdict:
    """The sentence, whether codes may replace the vectors, and the row it speaks of (None: no verdict)."""

    sentence: str
    replace: bool
    row: str | None

    def __str__(self) -> str:
        return self.sentence


def decide(rows: Sequence[Row], k: int, min_recall: float, min_speedup: float = 1.1) -> Verdict:
    """Apply the rule of this module's docstring to the rows of a report."""
    for row in rows:
        if row.kind == "control" and row.flags:
            return Verdict(f"no verdict: {row.flags[0]}", False, None)
    candidates = [row for row in rows if row.kind not in ("exact", "control") and not row.disqualified]
    if not candidates:
        return Verdict("no verdict: every searcher is exact search by another name", False, None)
    key = f"recall@{k}"
    named = len(candidates) > 1
    found = [row for row in candidates if row.get(f"{key} low") >= min_recall]
    qualified = [row for row in found if row.get("speedup") >= min_speedup]
    if qualified:
        enough = _ABOUT_AS_FAST * max(row.get("speedup") for row in qualified)
        equals = [row for row in qualified if row.get("speedup") >= enough]
        best = max(equals, key=lambda row: (row.get(key), row.get("speedup")))  # the first of equals
        return Verdict(f"{_subject(best, named)}: {_recall(best, k)}{_gains(best)}", True, best.name)
    best = max(found, key=lambda row: row.get("speedup")) if found else max(candidates, key=lambda r: r.get(key))
    reached = f"the best, {_subject(best, named)}, reaches {_recall(best, k)}"
    if found:
        lack = f"but is only {speed_text(best.get('speedup'))} as fast as exact search"
    elif math.isnan(best.get(f"{key} low")):
        lack = "but one query is too few to judge"
    else:
        lack = f"below the {min_recall:g} asked for"
    return Verdict(f"stay with float: {reached}, {lack}", False, best.name)


def _subject(row: Row, named: bool) -> str:
    return f"{row.name} ({row.description})" if named and row.name != row.description else row.description


def _recall(row: Row, k: int) -> str:
    key = f"recall@{k}"
    text = f"Recall@{k} {row.get(key):.2f}"
    low, high = row.get(f"{key} low"), row.get(f"{key} high")
    return text if math.isnan(low) else f"{text} [{low:.2f}, {high:.2f}]"


def _gains(row: Row) -> str:
    single, batch = row.get("speedup_single"), row.get("speedup_batch")
    if max(single, batch) > 1.25 * min(single, batch):
        text = f", {speed_text(single)} faster for one query and {speed_text(batch)} in batches"
    else:
        text = f", {speed_text(row.get('speedup'))} faster"
    smaller = row.get("memory_ratio")
    if not math.isnan(smaller):
        text += f", {speed_text(smaller)} smaller"
    read = row.get("vector_bytes")
    if read > 0:
        text += f" (the rerank reads {bytes_text(read)} of the stored vectors per query)"
    return text
