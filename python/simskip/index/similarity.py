"""Codes find candidates, vectors decide: the two-stage index."""

from __future__ import annotations

import copy
import json
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..codes import Codes, require_codes
from ..errors import FormatError
from ..hashing import Hasher, hasher_from_bytes
from ..validation import FloatMatrix, choice, matrix, positive_int, thread_count
from .hamming import HammingIndex
from .ids import IdArray, Where, allowed_ids
from .locks import ReadWriteLock
from .vector import METRICS, VectorIndex

__all__ = ["SimilarityIndex"]

SCORINGS = ("codes", "asymmetric")


class SimilarityIndex:
    """Nearest vectors by way of their codes: a scan of short codes, then, if asked, the exact metric on the best.

    Parameters
    ----------
    hasher : fitted hasher
        Turns vectors into codes.
    metric : {"cosine", "l2", "dot"}
        What reranking orders by; see ``VectorIndex``.

    Notes
    -----
    Searches may run in several threads beside one that changes the index: each sees the state before or after.

    Examples
    --------
    >>> import numpy as np, simskip
    >>> X = np.random.default_rng(0).normal(size=(1000, 32)).astype(np.float32)
    >>> index = simskip.SimilarityIndex(simskip.PCAHash(32).fit(X))
    >>> index.add(X)
    >>> distances, ids = index.search(X[:1], k=3, rerank=10)
    >>> int(ids[0, 0])
    0
    """

    def __init__(self, hasher: Hasher, metric: str = "cosine") -> None:
        fitted_dim = getattr(hasher, "dim_", None)
        if not callable(getattr(hasher, "encode", None)) or not callable(getattr(hasher, "project", None)):
            raise ValueError(f"hasher must have encode() and project(), got {type(hasher).__name__}")
        if fitted_dim is None:
            raise ValueError(f"hasher must be fitted, got {hasher!r}: call fit(X) first")
        self._hasher = hasher
        self._codes = HammingIndex(hasher.n_bits)
        self._vectors = VectorIndex(fitted_dim, choice(metric, "metric", METRICS))
        self._lock = ReadWriteLock()

    @property
    def hasher(self) -> Hasher:
        """What turns vectors into codes."""
        return self._hasher

    @property
    def metric(self) -> str:
        """What reranking orders by."""
        return self._vectors.metric

    @property
    def dim(self) -> int:
        """Columns of the vectors."""
        return self._vectors.dim

    @property
    def n_bits(self) -> int:
        """Bits per code."""
        return self._codes.n_bits

    @property
    def ids(self) -> IdArray:
        """All ids, ascending, (n,) int64."""
        return self._codes.ids

    @property
    def codes(self) -> Codes:
        """All codes in ascending order of id (a copy)."""
        return self._codes.codes()

    @property
    def nbytes_codes(self) -> int:
        """Bytes that a search without reranking needs: codes and ids."""
        return self._codes.nbytes

    @property
    def nbytes_vectors(self) -> int:
        """Bytes that reranking reads from."""
        return self._vectors.nbytes

    def __len__(self) -> int:
        return len(self._codes)

    def __contains__(self, id: Any) -> bool:
        return id in self._codes

    def __repr__(self) -> str:
        return f"SimilarityIndex({len(self):,} items, {self.n_bits} bits of {self.dim} floats, metric={self.metric!r})"

    def add(self, X: npt.ArrayLike, ids: npt.ArrayLike | None = None) -> None:
        """Encode vectors and add both; parameters and errors as for ``VectorIndex.add``."""
        X = matrix(X, "X", dim=self.dim, min_rows=0)
        codes = self._encoded(X)
        with self._lock.writing():
            new = self._vectors._new_ids(len(X)) if ids is None else ids
            # The vectors' checks are the stricter ones: if they pass, the codes cannot fail.
            self._vectors.add(X, new)
            self._codes.add(codes, new)

    def remove(self, ids: npt.ArrayLike) -> None:
        """Remove items by id; ``ValueError`` (and no change) if one is not there."""
        with self._lock.writing():
            self._vectors.remove(ids)
            self._codes.remove(ids)

    def upsert(self, X: npt.ArrayLike, ids: npt.ArrayLike) -> None:
        """Replace the vectors of ids that are there and add the others."""
        X = matrix(X, "X", dim=self.dim, min_rows=0)
        codes = self._encoded(X)
        with self._lock.writing():
            self._vectors.upsert(X, ids)
            self._codes.upsert(codes, ids)

    def _encoded(self, X: FloatMatrix) -> Codes:
        codes = require_codes(self._hasher.encode(X), "hasher.encode(X)", self.n_bits)
        if len(codes) != len(X):
            raise ValueError(f"hasher.encode(X) must give {len(X)} codes, got {len(codes)}")
        return codes

    def vectors(self, ids: npt.ArrayLike | None = None) -> FloatMatrix:
        """The vectors of ``ids``, or all in ascending order of id."""
        return self._vectors.vectors(ids)

    def search(
        self,
        X: npt.ArrayLike,
        k: int = 25,
        *,
        scoring: str = "codes",
        rerank: int | None = None,
        where: Where = None,
        threads: int | None = None,
    ) -> tuple[npt.NDArray[Any], IdArray]:
        """The k nearest items of each query.

        Parameters
        ----------
        X : (q, dim) array
            Queries.
        k : int
            Neighbours per query. If fewer pass, slots are filled with id -1 and distance 2**31 - 1 (``"codes"``
            without reranking) or +inf (reranking with ``"dot"``: -inf).
        scoring : {"codes", "asymmetric"}
            How codes are compared: by Hamming distance, or by the query's real outputs against the database's bits
            (finds more, scans slower).
        rerank : int, optional
            Order the ``rerank * k`` nearest codes by the exact metric on the vectors. ``None``: no vectors are read.
        where : ids, mask or callable, optional
            Only these; as for ``HammingIndex.search``.
        threads : int, optional
            Default: ``simskip.set_threads``'s.

        Returns
        -------
        distances : (q, k) array
            int32 Hamming distances; float32 with ``scoring="asymmetric"`` (sums of ``|output|`` over the bits that
            differ) or with ``rerank`` (the exact metric, see ``VectorIndex``).
        ids : (q, k) int64

        Raises
        ------
        ValueError
            For a wrong shape, NaN or infinity, ``k < 1``, ``rerank < 1``, an unknown id in ``where``, an empty index.
        """
        queries = matrix(X, "X", dim=self.dim, min_rows=0)
        k = positive_int(k, "k", maximum=2**31 - 1)
        choice(scoring, "scoring", SCORINGS)
        depth = 1 if rerank is None else positive_int(rerank, "rerank")
        n_threads = thread_count(threads)
        with self._lock.reading():
            n = len(self)
            if n == 0:
                raise ValueError("the index is empty: add vectors before searching")
            # More candidates than items would only be padding.
            wanted = k if rerank is None else min(k * depth, n)
            found: tuple[npt.NDArray[Any], IdArray]
            if scoring == "codes":
                found = self._codes.search(self._encoded(queries), wanted, where, threads=threads)
            else:
                allowed = allowed_ids(where, lambda: self._codes.ids)
                outputs = matrix(self._hasher.project(queries), "hasher.project(X)", dim=self.n_bits, min_rows=0)
                found = self._codes._native.search_asymmetric(outputs, wanted, allowed, n_threads)
            if rerank is None:
                return found
            return self._vectors.rerank(queries, found[1], k, threads)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write hasher, codes, vectors and ids to one file, atomically."""
        if not isinstance(self._hasher, Hasher):
            raise ValueError(f"hasher must be a simskip.Hasher to be saved, got {type(self._hasher).__name__}")
        with self._lock.reading():
            header = {"hasher": self._hasher.fingerprint, "n_bits": self.n_bits}
            sections = [
                ("similarity", np.frombuffer(json.dumps(header).encode(), np.uint8)),
                ("hasher", np.frombuffer(self._hasher.to_bytes(), np.uint8)),
                ("codes", self.codes.data.reshape(-1)),
                *self._vectors._sections(),
            ]
            _core.write_sections(os.fspath(path), "similarity", sections)

    @classmethod
    def load(cls, path: str | os.PathLike[str], mmap: bool = False) -> SimilarityIndex:
        """Read an index.

        Parameters
        ----------
        path : path-like
        mmap : bool
            Leave the vectors in the file, unverified, read when reranking needs them; codes are loaded.

        Raises
        ------
        FormatError
            If the file is damaged or of another kind.
        """
        name = os.fspath(path)
        sections = _core.read_sections(name, "similarity", ["vectors"] if mmap else [])
        vectors = VectorIndex._from_sections(sections, name)
        try:
            header = json.loads(sections["similarity"].tobytes())
            hasher = hasher_from_bytes(sections["hasher"].tobytes())
            if hasher.fingerprint != header["hasher"] or hasher.dim_ != vectors.dim:
                raise ValueError("the hasher is not the one that made the codes")
            index = cls(hasher, vectors.metric)
            data = sections["codes"].reshape(len(vectors), (index.n_bits + 7) // 8)
            index._codes.add(Codes(data, index.n_bits), vectors.ids)
        except FormatError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{name}: not a valid similarity index: {error}") from error
        index._vectors = vectors
        return index

    def __getstate__(self) -> dict[str, Any]:
        with self._lock.reading():
            # Copies: a pickle of the parts is made after the lock is gone, and copy.copy must not share them.
            return {"hasher": self._hasher, "codes": copy.copy(self._codes), "vectors": copy.copy(self._vectors)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._hasher, self._codes, self._vectors = state["hasher"], state["codes"], state["vectors"]
        self._lock = ReadWriteLock()
