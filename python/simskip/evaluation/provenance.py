"""Where result lists come from: fingerprints, and the refusal to compare a list with itself."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import cpu

__all__ = ["FoundList", "Origin", "environment", "fingerprint", "refuse_self_comparison", "rows_in_database"]

FloatMatrix = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Origin:
    """Who made a result list, from what.

    Attributes
    ----------
    engine : str
        Class of the object that searched.
    metric : str
        Metric of the list's order, for example ``"cosine"`` or ``"hamming"``.
    n, dim, k : int
        Database rows, vector dimension, neighbours per query.
    database, queries : str
        sha256 of the matrices that were searched and searched for.
    hasher, hasher_fingerprint, codes : str or None
        The hasher's description and fingerprint, and the sha256 of the database's codes.
    options : dict
        Keyword arguments of the search.
    """

    engine: str
    metric: str
    n: int
    dim: int
    k: int
    database: str
    queries: str
    hasher: str | None = None
    hasher_fingerprint: str | None = None
    codes: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class FoundList:
    """Ids as one search returned them, (q, k), with their origin and the object that searched."""

    ids: IntArray
    distances: npt.NDArray[Any]
    origin: Origin
    engine: object


def refuse_self_comparison(name: str, found: FoundList, exact: FoundList) -> None:
    """Raise if ``found`` is the exact list itself: its recall would be 1 and mean nothing.

    Raises
    ------
    ValueError
        If both lists come from one object, from exact search by the same metric, or share memory.
    """
    if found.engine is exact.engine:
        raise ValueError(f"searchers[{name!r}] is the exact search of this evaluation: it cannot judge itself")
    if found.origin.engine == exact.origin.engine and found.origin.metric == exact.origin.metric:
        raise ValueError(
            f"searchers[{name!r}] is exact float search by {exact.origin.metric} ({exact.origin.engine}),"
            " as is the row 'exact' which is always there: comparing it with itself says nothing"
        )
    for mine, other in ((found.ids, exact.ids), (found.distances, exact.distances)):
        if np.shares_memory(mine, other):
            raise ValueError(
                f"searchers[{name!r}] returned the exact search's own array: comparing a list with itself"
                " always gives recall 1"
            )


def fingerprint(array: npt.NDArray[Any]) -> str:
    """sha256 (hexadecimal) of an array's dtype, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def rows_in_database(queries: FloatMatrix, database: FloatMatrix) -> IntArray:
    """Numbers of the queries that are, value for value, rows of the database (ascending)."""
    wanted: dict[bytes, list[int]] = {}
    for i, row in enumerate(queries):
        wanted.setdefault((row + 0.0).tobytes(), []).append(i)  # + 0.0: -0.0 equals 0.0 but differs in bytes
    # Row sums are compared first: hashing every database row would cost as much as a search.
    sums = np.sort(queries.sum(axis=1, dtype=np.float64))
    found: set[int] = set()
    for start in range(0, len(database), 65536):
        block = database[start : start + 65536]
        row_sums = block.sum(axis=1, dtype=np.float64)
        # Sums of equal rows may differ in the last places (other order of additions), never by this much.
        slack = 1e-9 * (1.0 + np.abs(block).sum(axis=1, dtype=np.float64))
        near = np.searchsorted(sums, row_sums - slack) < np.searchsorted(sums, row_sums + slack, side="right")
        for row in block[near]:
            found.update(wanted.get((row + 0.0).tobytes(), ()))
    return np.array(sorted(found), dtype=np.int64)


def environment() -> dict[str, Any]:
    """Versions and the processor: what times depend on."""
    from importlib.metadata import version

    return {
        "simskip": version("simskip"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "processor": _processor(),
        "isa": str(cpu.isa),
        "threads": cpu.threads(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(("model name", "Model name")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
