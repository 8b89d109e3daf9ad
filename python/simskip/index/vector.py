"""The exact float index: what codes are compared with, and what re-orders their candidates."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..errors import FormatError
from ..validation import MAX_ID, FloatMatrix, array_of, choice, matrix, positive_int, thread_count, unique_ids
from .ids import IdArray, SortedIds, Where, allowed_ids
from .rows import Appender, Rows, StoredMatrix, removed

__all__ = ["DTYPES", "METRICS", "VectorIndex"]

METRICS = ("cosine", "l2", "dot")
DTYPES = ("float32", "float16")

# Queries multiplied with a block of rows at once; the products (this times rows) should stay in a shared cache ...
_QUERY_BLOCK = 512
_PRODUCT_BYTES = 8 << 20
# ... and one product take well under 0.2 s, because Ctrl-C is heard between them: multiply-adds per product.
_PRODUCT_WORK = 2e9


class VectorIndex:
    """Exact nearest vectors under stable int64 ids.

    Products of queries and rows come from BLAS through NumPy; the few rows that could be among the nearest, given the
    worst rounding error of such a product, are then computed in double in a fixed order. So answers are the same
    bytes for any batch size, BLAS and number of threads, ordered by (distance, id).

    Parameters
    ----------
    dim : int
        Columns of the vectors.
    metric : {"cosine", "l2", "dot"}
        ``"cosine"``: distance ``1 - cos``, 0 to 2 (1 if a vector is zero); ``"l2"``: euclidean distance;
        ``"dot"``: inner product, the largest first.
    dtype : {"float32", "float16"}
        How vectors are stored. ``"float16"`` takes half the memory: entries are rounded to 11 significant bits (and to
        multiples of 2**-24), and the metric is exact on the rounded vectors. Queries are not rounded.

    Examples
    --------
    >>> import numpy as np, simskip
    >>> index = simskip.VectorIndex(2, metric="l2")
    >>> index.add(np.array([[0, 0], [3, 4]], dtype=np.float32))
    >>> distances, ids = index.search(np.array([[3, 3]], dtype=np.float32), k=1)
    >>> distances.tolist(), ids.tolist()
    ([[1.0]], [[1]])
    """

    def __init__(self, dim: int, metric: str = "cosine", dtype: str = "float32") -> None:
        self._dim = positive_int(dim, "dim")
        self._metric = choice(metric, "metric", METRICS)
        self._dtype = np.dtype(choice(dtype, "dtype", DTYPES))
        self._lock = threading.Lock()  # one writer at a time; readers take the state as it is
        self._rows = Rows(SortedIds(0), np.empty((0, self._dim), self._dtype), np.empty(0), 0)
        self._vector_room, self._norm_room = Appender(), Appender()

    @property
    def dim(self) -> int:
        """Columns of the vectors."""
        return self._dim

    @property
    def metric(self) -> str:
        """How vectors are compared."""
        return self._metric

    @property
    def dtype(self) -> str:
        """How vectors are stored."""
        return self._dtype.name

    @property
    def nbytes(self) -> int:
        """Bytes of memory (or mapped file) that vectors, lengths and ids take."""
        rows = self._rows
        return rows.vectors.nbytes + rows.norms.nbytes + (0 if rows.ids.values is None else rows.ids.values.nbytes)

    @property
    def ids(self) -> IdArray:
        """All ids, ascending, (n,) int64."""
        return self._rows.ids.array().copy()

    def __len__(self) -> int:
        return len(self._rows.ids)

    def __contains__(self, id: Any) -> bool:
        return isinstance(id, (int, np.integer)) and 0 <= int(id) < 2**63 and int(id) in self._rows.ids

    def __repr__(self) -> str:
        dtype = "" if self.dtype == "float32" else f" {self.dtype}"
        return (
            f"VectorIndex({len(self):,} vectors x {self._dim}{dtype}, metric={self._metric!r}, {self.nbytes:,} bytes)"
        )

    def add(self, X: npt.ArrayLike, ids: npt.ArrayLike | None = None) -> None:
        """Add vectors.

        Parameters
        ----------
        X : (n, dim) array
            Finite; each row's length zero or from 1e-15 to 1e15. For ``dtype="float16"`` entries up to 65504.
        ids : (n,) integers, optional
            Distinct, non-negative, not in the index yet. Default: the next free numbers, upwards.

        Raises
        ------
        ValueError
            For a wrong shape, NaN or infinity, an id that is there already; nothing is changed then.
        """
        stored, norms = self._stored(X)
        new = None if ids is None else unique_ids(ids, "ids", len(stored))
        with self._lock:
            rows = self._rows
            if new is None:
                new = self._new_ids(len(stored))
            known = rows.ids.found(new)
            if known.any():
                raise ValueError(f"id {new[known][0]} is in the index already (upsert replaces vectors)")
            self._rows = self._inserted(rows, new, stored, norms)

    def remove(self, ids: npt.ArrayLike) -> None:
        """Remove vectors by id; ``ValueError`` (and no change) if one is not there."""
        gone = unique_ids(ids, "ids")
        with self._lock:
            self._rows = removed(self._rows, gone)

    def upsert(self, X: npt.ArrayLike, ids: npt.ArrayLike) -> None:
        """Replace the vectors of ids that are there and add the others; parameters as for ``add``."""
        stored, norms = self._stored(X)
        new = unique_ids(ids, "ids", len(stored))
        with self._lock:
            rows = self._rows
            rows = removed(rows, new[rows.ids.found(new)])
            self._rows = self._inserted(rows, new, stored, norms)

    def vectors(self, ids: npt.ArrayLike | None = None) -> StoredMatrix:
        """The vectors of ``ids`` as stored, or all in ascending order of id (then without a copy, read-only)."""
        rows = self._rows
        if ids is None:
            view = rows.vectors.view()
            view.flags.writeable = False
            return view
        wanted = unique_ids(ids, "ids")
        rows.ids.require(wanted)
        return rows.vectors[rows.ids.rows(wanted)]

    def search(
        self, X: npt.ArrayLike, k: int = 25, where: Where = None, threads: int | None = None
    ) -> tuple[npt.NDArray[np.float32], IdArray]:
        """The k nearest vectors of each query.

        Parameters
        ----------
        X : (q, dim) array
            Queries.
        k : int
            Neighbours per query. If fewer pass, slots are filled with id -1 and +inf (dot: -inf).
        where : ids, mask or callable, optional
            Only these; as for ``HammingIndex.search``.
        threads : int, optional
            For the native part; BLAS has its own setting (``OPENBLAS_NUM_THREADS``, threadpoolctl).

        Returns
        -------
        distances : (q, k) float32
        ids : (q, k) int64

        Raises
        ------
        ValueError
            For a wrong shape, NaN or infinity, ``k < 1``, an unknown id in ``where``, an empty index.
        """
        queries = matrix(X, "X", dim=self._dim, min_rows=0)
        self._norms(queries, "X")
        k = positive_int(k, "k", maximum=2**31 - 1)
        n_threads = thread_count(threads)
        rows = self._rows
        if len(rows.ids) == 0:
            raise ValueError("the index is empty: add vectors before searching")
        allowed = allowed_ids(where, rows.ids.array)
        chosen = None
        if allowed is not None:
            rows.ids.require(allowed)
            chosen = rows.ids.rows(allowed)
        parts = [
            self._search_block(queries[i : i + _QUERY_BLOCK], k, rows, chosen, n_threads)
            for i in range(0, len(queries), _QUERY_BLOCK)
        ]
        if not parts:
            return np.empty((0, k), np.float32), np.empty((0, k), np.int64)
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def rerank(
        self, X: npt.ArrayLike, candidates: npt.ArrayLike, k: int, threads: int | None = None
    ) -> tuple[npt.NDArray[np.float32], IdArray]:
        """Order candidates by the exact metric.

        Parameters
        ----------
        X : (q, dim) array
            Queries.
        candidates : (q, c) int64
            Ids to choose from; -1 for none.
        k : int
            How many of them to return.

        Returns
        -------
        distances : (q, k) float32
        ids : (q, k) int64
        """
        queries = matrix(X, "X", dim=self._dim, min_rows=0)
        self._norms(queries, "X")
        wanted = array_of(candidates, "candidates")
        if wanted.ndim != 2 or len(wanted) != len(queries) or wanted.dtype.kind not in "iu":
            raise ValueError(
                f"candidates must be integers of shape ({len(queries)}, c), got {wanted.dtype} {wanted.shape}"
            )
        wanted = np.ascontiguousarray(wanted, np.int64)
        rows = self._rows
        rows.ids.require(wanted[wanted >= 0])
        places = np.ascontiguousarray(rows.ids.rows(wanted))
        return _core.rerank(
            rows.bits(),
            rows.ids.values,
            rows.norms,
            queries,
            places,
            positive_int(k, "k", maximum=2**31 - 1),
            self._metric,
            thread_count(threads),
        )

    def _search_block(
        self, queries: FloatMatrix, k: int, rows: Rows, chosen: IdArray | None, threads: int
    ) -> tuple[npt.NDArray[np.float32], IdArray]:
        longest = float(rows.norms.max())
        search = _core.FloatTopK(queries, k, self._metric, longest, threads)
        n = len(rows.vectors) if chosen is None else len(chosen)
        step = int(min(_PRODUCT_BYTES / 4, _PRODUCT_WORK / self._dim) / len(queries))
        step = max(256, step)
        for start in range(0, n, step):
            stop = min(n, start + step)
            if chosen is None:
                block = rows.vectors[start:stop].astype(np.float32, copy=False)
                search.add(queries @ block.T, None, start, rows.norms[start:stop])
            else:
                places = chosen[start:stop]
                block = rows.vectors[places].astype(np.float32, copy=False)
                search.add(queries @ block.T, places, 0, rows.norms[places])
        return search.finish(rows.bits(), rows.ids.values, rows.norms)

    def _inserted(self, rows: Rows, ids: IdArray, X: StoredMatrix, norms: npt.NDArray[np.float64]) -> Rows:
        """A new state with more rows; the old one stays valid. Called by one writer at a time."""
        if len(ids) == 0:
            return rows
        n, total = len(rows.ids), len(rows.ids) + len(ids)
        next_id = max(rows.next_id, int(ids.max()) + 1)
        vectors = self._vector_room.join(rows.vectors, X)
        all_norms = self._norm_room.join(rows.norms, norms)
        follows = n == 0 or ids[0] > (n - 1 if rows.ids.values is None else rows.ids.values[-1])
        if follows and rows.ids.values is None and ids[0] == n and (np.diff(ids) == 1).all():
            return Rows(SortedIds(total), vectors, all_norms, next_id)
        all_ids = np.concatenate([rows.ids.array(), ids])
        if not (follows and (np.diff(ids) > 0).all()):
            order = np.argsort(all_ids)
            all_ids, vectors, all_norms = all_ids[order], vectors[order], all_norms[order]
        return Rows(SortedIds(total, all_ids), vectors, all_norms, next_id)

    def _new_ids(self, n: int) -> IdArray:
        """The next free ids."""
        first = self._rows.next_id
        if n > MAX_ID - first + 1:
            raise ValueError(f"no ids are left after {first - 1}: give ids of your own")
        return np.arange(first, first + n)

    def _stored(self, X: npt.ArrayLike) -> tuple[StoredMatrix, npt.NDArray[np.float64]]:
        """Checked vectors as they are stored, and the lengths of these."""
        X = matrix(X, "X", dim=self._dim, min_rows=0)
        if self._dtype == np.float32:
            return X, self._norms(X, "X")
        with np.errstate(over="ignore", under="ignore"):
            stored = X.astype(self._dtype)
        if not np.isfinite(stored).all():
            row, column = np.argwhere(~np.isfinite(stored))[0]
            raise ValueError(
                f"X must have entries up to 65504 to be stored as float16, got {X[row, column]:g} at row {row}, column"
                f' {column}: scale the vectors or use dtype="float32"'
            )
        return stored, self._norms(stored.astype(np.float32), "X")

    def _norms(self, X: FloatMatrix, name: str) -> npt.NDArray[np.float64]:
        norms = _core.row_norms(X)
        # Checks the lengths that float_top_k.hpp asks for.
        bad = ((norms < _core.shortest_norm) & (norms > 0)) | (norms > _core.longest_norm)
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"{name} must have rows of length 0 or from {_core.shortest_norm:g} to {_core.longest_norm:g},"
                f" got {norms[row]:g} at row {row}: scale the vectors"
            )
        return norms

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file, atomically: a crash leaves the old file or the new one."""
        _core.write_sections(os.fspath(path), "vectors", self._sections())

    def _sections(self) -> list[tuple[str, npt.NDArray[np.uint8]]]:
        rows = self._rows
        header = {
            "dim": self._dim,
            "metric": self._metric,
            "dtype": self.dtype,
            "n": len(rows.ids),
            "next_id": rows.next_id,
        }
        ids = np.empty(0, np.int64) if rows.ids.values is None else rows.ids.values
        return [
            ("header", np.frombuffer(json.dumps(header).encode(), np.uint8)),
            ("vectors", rows.vectors.reshape(-1).view(np.uint8)),
            ("norms", np.ascontiguousarray(rows.norms).view(np.uint8)),
            ("ids", np.ascontiguousarray(ids).view(np.uint8)),
        ]

    @classmethod
    def load(cls, path: str | os.PathLike[str], mmap: bool = False) -> VectorIndex:
        """Read an index; ``mmap`` and errors as for ``HammingIndex.load``."""
        name = os.fspath(path)
        trusted = ["vectors"] if mmap else []
        return cls._from_sections(_core.read_sections(name, "vectors", trusted), name)

    @classmethod
    def _from_sections(cls, sections: dict[str, npt.NDArray[np.uint8]], path: str) -> VectorIndex:
        try:
            header = json.loads(sections["header"].tobytes())
            index = cls(header["dim"], header["metric"], header.get("dtype", "float32"))
            n, next_id = (
                positive_int(header["n"], "n", minimum=0),
                positive_int(header["next_id"], "id", minimum=0),
            )
            vectors = sections["vectors"].view(index._dtype).reshape(n, index._dim)
            norms = sections["norms"].view(np.float64).reshape(n)
            values = sections["ids"].view(np.int64)
            ids = SortedIds(n, values.reshape(n) if len(values) else None)
            if len(values) and (values[0] < 0 or (np.diff(values) <= 0).any()):
                raise ValueError("ids are not in ascending order")
            if not (values[-1] if len(values) else n - 1) < next_id <= MAX_ID + 1:
                raise ValueError("the next id is taken")
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: not a valid vector index: {error}") from error
        index._rows = Rows(ids, vectors, norms, next_id)
        return index

    def __getstate__(self) -> dict[str, Any]:
        return {"dim": self._dim, "metric": self._metric, "dtype": self.dtype, "rows": self._rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["dim"], state["metric"], state.get("dtype", "float32"))  # type: ignore[misc]
        self._rows = state["rows"]
