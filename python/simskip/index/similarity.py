"""Codes find candidates, vectors decide: the two-stage index."""

from __future__ import annotations

import copy
import json
import os
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..codes import Codes
from ..errors import FormatError
from ..hashing import Hasher, hasher_from_bytes
from ..hashing.hasher import checked_codes, require_fitted
from ..validation import FloatMatrix, choice, fraction, matrix, positive_int, thread_count
from .calibration import MIN_QUERIES, Calibration, Calibrations, calibrate, search_to_target
from .hamming import HammingIndex
from .ids import IdArray, Where, allowed_ids
from .locks import ReadWriteLock
from .rows import StoredMatrix
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
    dtype : {"float32", "float16"}
        How vectors are stored; see ``VectorIndex``. Codes are made of the vectors as given.

    Notes
    -----
    Searches may run in several threads beside one that changes the index: each sees the state before or after.

    Instead of a depth, ``search`` takes a target, ``recall=0.95``. How many candidates each query then reads is
    learned from held-out queries (``calibrate``, or the first such search); crowded queries read more than lonely ones.
    The mean recall of 200 new queries like those reaches the target in at least 95 of 100 cases.

    Examples
    --------
    >>> import numpy as np, simskip
    >>> X = np.random.default_rng(0).normal(size=(1000, 32)).astype(np.float32)
    >>> index = simskip.SimilarityIndex(simskip.PCAHash(32).fit(X))
    >>> index.add(X)
    >>> distances, ids = index.search(X[:1], k=3, rerank=10)
    >>> int(ids[0, 0])
    0
    >>> distances, ids = index.search(X[:1], k=3, recall=0.9)
    >>> int(ids[0, 0])
    0
    """

    def __init__(self, hasher: Hasher, metric: str = "cosine", dtype: str = "float32") -> None:
        dim = require_fitted(hasher, ("encode", "project"))
        self._hasher = hasher
        self._codes = HammingIndex(hasher.n_bits)
        self._vectors = VectorIndex(dim, choice(metric, "metric", METRICS), dtype)
        self._start()

    def _start(self, calibrations: Iterable[tuple[dict[str, Any], FloatMatrix | None]] = ()) -> None:
        """Locks, counts, and what was learned."""
        self._lock = ReadWriteLock()
        self._calibrations = Calibrations(calibrations)
        self._changes = 0
        self._counting = threading.Lock()
        self._queries_answered, self._vectors_read = 0, 0

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
    def dtype(self) -> str:
        """How vectors are stored."""
        return self._vectors.dtype

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

    def add(self, X: npt.ArrayLike, ids: npt.ArrayLike | None = None, *, codes: Codes | None = None) -> None:
        """Encode vectors and add both; parameters and errors as for ``VectorIndex.add``.

        ``codes``: what the index's hasher made of ``X``, where that is at hand already.
        """
        X = matrix(X, "X", dim=self.dim, min_rows=0)
        codes = self._encoded(X) if codes is None else self._fitting(codes, len(X))
        with self._lock.writing():
            new = self._vectors._new_ids(len(X)) if ids is None else ids
            # The vectors' checks are the stricter ones: if they pass, the codes cannot fail.
            self._vectors.add(X, new)
            self._codes.add(codes, new)
            self._changes += len(X)

    def remove(self, ids: npt.ArrayLike) -> None:
        """Remove items by id; ``ValueError`` (and no change) if one is not there."""
        with self._lock.writing():
            before = len(self)
            self._vectors.remove(ids)
            self._codes.remove(ids)
            self._changes += before - len(self)

    def upsert(self, X: npt.ArrayLike, ids: npt.ArrayLike, *, codes: Codes | None = None) -> None:
        """Replace the vectors of ids that are there and add the others; ``codes`` as for ``add``."""
        X = matrix(X, "X", dim=self.dim, min_rows=0)
        codes = self._encoded(X) if codes is None else self._fitting(codes, len(X))
        with self._lock.writing():
            self._vectors.upsert(X, ids)
            self._codes.upsert(codes, ids)
            self._changes += len(X)

    def _encoded(self, X: FloatMatrix, hasher: Hasher | None = None) -> Codes:
        return checked_codes(hasher or self._hasher, X, self.n_bits)

    def _fitting(self, codes: Codes, n: int) -> Codes:
        if not isinstance(codes, Codes) or codes.n_bits != self.n_bits or len(codes) != n:
            raise ValueError(f"codes must be {n} codes of {self.n_bits} bits, got {codes!r}")
        return codes

    def _check_comparable(self, hasher: Hasher, rerank: int | None, recall: float | None) -> None:
        own = getattr(self._hasher, "code_space", None)
        if own is None or getattr(hasher, "code_space", None) != own:
            raise ValueError(
                f"hasher must have the code space of the index's hasher ({self._hasher!r}): itself or the other side "
                f"of its CrossModalHash, got {hasher!r}"
            )
        if rerank is not None or recall is not None:
            name = "recall" if rerank is None else "rerank"
            raise ValueError(f"{name} must not be given beside hasher: vectors are compared with their own kind only")

    def vectors(self, ids: npt.ArrayLike | None = None) -> StoredMatrix:
        """The vectors of ``ids`` as stored, or all in ascending order of id."""
        return self._vectors.vectors(ids)

    def search(
        self,
        X: npt.ArrayLike,
        k: int = 25,
        *,
        scoring: str | None = None,
        rerank: int | None = None,
        recall: float | None = None,
        where: Where = None,
        hasher: Hasher | None = None,
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
            (finds more). Default: ``"codes"``; with ``recall``, whichever is cheaper for the target.
        rerank : int, optional
            Order the ``rerank * k`` nearest codes by the exact metric on the vectors. ``None``: no vectors are read.
        recall : float, optional
            Instead of ``rerank``: the share of the true k nearest that queries find on average, 0 to 1. Each query
            reads as many vectors as that takes (see ``calibrate``, which the first search calls if need be; ``stats``
            tells how many). Where no depth is known to be enough (``recall=1``, fewer than 1000 items, large k,
            ``where``) all vectors are compared.
        where : ids, mask or callable, optional
            Only these; as for ``HammingIndex.search``.
        hasher : fitted hasher, optional
            What turns these queries into codes, where they are vectors of another kind than the items: the other side
            of a ``CrossModalHash``. Must have the ``code_space`` of the index's hasher. The exact metric cannot
            compare two kinds of vectors, so ``rerank`` and ``recall`` do not go with it.
        threads : int, optional
            Default: ``simskip.set_threads``'s.

        Returns
        -------
        distances : (q, k) array
            int32 Hamming distances; float32 with ``scoring="asymmetric"`` (sums of ``|output|`` over the bits that
            differ) or with ``rerank`` or ``recall`` (the exact metric, see
            ``VectorIndex``).
        ids : (q, k) int64

        Raises
        ------
        ValueError
            For a wrong shape, NaN or infinity, ``k < 1``, ``rerank < 1``, ``recall`` outside [0, 1] or beside
            ``rerank``, an unknown id in ``where``, a ``hasher`` whose codes cannot be compared, an empty index.
        """
        if hasher is not None:
            self._check_comparable(hasher, rerank, recall)
        queries = matrix(X, "X", dim=self.dim if hasher is None else hasher.dim_, min_rows=0)
        k = positive_int(k, "k", maximum=2**31 - 1)
        if scoring is not None:
            choice(scoring, "scoring", SCORINGS)
        depth = 1 if rerank is None else positive_int(rerank, "rerank")
        thread_count(threads)
        if recall is not None:
            target = fraction(recall, "recall")
            if rerank is not None:
                raise ValueError(f"recall must not be given beside rerank, got recall={recall} and rerank={rerank}")
        with self._lock.reading():
            n = len(self)
            if n == 0:
                raise ValueError("the index is empty: add vectors before searching")
            if recall is not None:
                return self._search_to_target(queries, k, target, scoring, where, threads)
            # More candidates than items would only be padding.
            wanted = k if rerank is None else min(k * depth, n)
            found = self._candidates(queries, wanted, scoring or "codes", where, threads, hasher)
            if rerank is None:
                self._count(len(queries), 0)
                return found
            self._count(len(queries), int(np.count_nonzero(found[1] >= 0)))
            return self._vectors.rerank(queries, found[1], k, threads)

    def calibrate(self, k: int = 25, queries: npt.ArrayLike | None = None, random_state: int = 0) -> None:
        """Learn how deep ``search(..., k=k, recall=...)`` must go; see ``simskip.index.depth`` for the method.

        Held-out queries are answered exactly and by their codes. Costs exact search for them, and about as much again.
        It is kept in files and copies and done again by the next search with ``recall`` after a fifth of the items has
        changed.

        Parameters
        ----------
        k : int
            Neighbours per query; each k is learned on its own.
        queries : (m, dim) array, optional
            At least 100 vectors like the queries to come, not in the index; 2000 or more waste little. Default: up to
            3000 items of the index, which suffices where queries resemble items and the hasher was not fitted so
            closely to the items that their codes are better than those of new vectors.
        random_state : int
            Chooses the items.

        Raises
        ------
        ValueError
            For a wrong shape, NaN or infinity, too few queries, ``k < 1``, an empty index.
        """
        k = positive_int(k, "k", maximum=2**31 - 1)
        random_state = positive_int(random_state, "random_state", minimum=0)
        own = None if queries is None else matrix(queries, "queries", dim=self.dim, min_rows=MIN_QUERIES).copy()
        with self._lock.reading():
            if len(self) == 0:
                raise ValueError("the index is empty: add vectors before calibrating")
            self._calibrations.learn(k, lambda: self._calibrated(k, own, random_state, None))

    def stats(self) -> dict[str, Any]:
        """What is stored, and what searches of this object have cost so far.

        Returns
        -------
        dict
            ``n_items``, ``n_bits``, ``dim``, ``dtype``, ``nbytes_codes``, ``nbytes_vectors``, ``queries`` answered,
            ``vectors_read`` by them, ``vectors_read_per_query``, and ``calibrated``: the k that ``calibrate`` was
            called for.
        """
        with self._counting:
            queries, reads = self._queries_answered, self._vectors_read
        return {
            "n_items": len(self),
            "n_bits": self.n_bits,
            "dim": self.dim,
            "dtype": self.dtype,
            "nbytes_codes": self.nbytes_codes,
            "nbytes_vectors": self.nbytes_vectors,
            "queries": queries,
            "vectors_read": reads,
            "vectors_read_per_query": reads / queries if queries else 0.0,
            "calibrated": self._calibrations.learned,
        }

    def _candidates(
        self,
        queries: FloatMatrix,
        depth: int,
        scoring: str,
        where: Where = None,
        threads: int | None = None,
        hasher: Hasher | None = None,
    ) -> tuple[npt.NDArray[Any], IdArray]:
        """The nearest codes."""
        if scoring == "codes":
            return self._codes.search(self._encoded(queries, hasher), depth, where, threads=threads)
        project = (hasher or self._hasher).project
        outputs = matrix(project(queries), "hasher.project(X)", dim=self.n_bits, min_rows=0)
        return self._codes.search_asymmetric(outputs, depth, where, threads=threads)

    def _search_to_target(
        self, queries: FloatMatrix, k: int, recall: float, scoring: str | None, where: Where, threads: int | None
    ) -> tuple[npt.NDArray[np.float32], IdArray]:
        if where is not None:  # what was learned says nothing about a part of the items
            allowed = allowed_ids(where, lambda: self._vectors.ids)
            found = self._vectors.search(queries, k, allowed, threads)
            self._count(len(queries), 0 if allowed is None else len(queries) * len(allowed))
            return found
        chosen = None
        if recall < 1.0:
            calibration = self._calibrations.get(
                k, self._changes, lambda own, random_state: self._calibrated(k, own, random_state, threads)
            )
            words = (self.n_bits + 63) // 64
            chosen = calibration.choose(recall, scoring, len(self), words, self.dim)
        if chosen is None:
            self._count(len(queries), len(queries) * len(self))
            return self._vectors.search(queries, k, threads=threads)
        name, place = chosen
        distances, ids, reads = search_to_target(
            lambda X, depth, scoring: self._candidates(X, depth, scoring, threads=threads),
            self._vectors,
            queries,
            calibration.rules[name],
            place,
            name,
            threads,
        )
        self._count(len(queries), reads)
        return distances, ids

    def _calibrated(self, k: int, queries: FloatMatrix | None, random_state: int, threads: int | None) -> Calibration:
        def candidates(X: FloatMatrix, depth: int, scoring: str) -> tuple[npt.NDArray[Any], IdArray]:
            return self._candidates(X, depth, scoring, threads=threads)

        return calibrate(candidates, self._vectors, k, self._changes, queries, random_state, threads)

    def _count(self, queries: int, reads: int) -> None:
        with self._counting:
            self._queries_answered += queries
            self._vectors_read += reads

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write hasher, codes, vectors and ids to one file, atomically."""
        if not isinstance(self._hasher, Hasher):
            raise ValueError(f"hasher must be a simskip.Hasher to be saved, got {type(self._hasher).__name__}")
        with self._lock.reading():
            calibrations = self._calibrations.stored(self._changes)
            header = {
                "hasher": self._hasher.fingerprint,
                "n_bits": self.n_bits,
                "calibrations": [values for values, _ in calibrations],
            }
            sections = [
                ("similarity", np.frombuffer(json.dumps(header).encode(), np.uint8)),
                ("hasher", np.frombuffer(self._hasher.to_bytes(), np.uint8)),
                ("codes", self.codes.data.reshape(-1)),
                *self._vectors._sections(),
            ]
            for values, queries in calibrations:
                if queries is not None:
                    sections.append((f"queries {values['k']}", queries.reshape(-1).view(np.uint8)))
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
            calibrations = []
            for values in header.get("calibrations", ()):
                own = sections.get(f"queries {values['k']}")
                queries = None if own is None else own.view(np.float32).reshape(-1, vectors.dim)
                calibrations.append((values, queries))
            index._start(calibrations)
        except FormatError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{name}: not a valid similarity index: {error}") from error
        index._vectors = vectors
        return index

    def __getstate__(self) -> dict[str, Any]:
        with self._lock.reading():
            # Copies: a pickle of the parts is made after the lock is gone, and copy.copy must not share them.
            return {
                "hasher": self._hasher,
                "codes": copy.copy(self._codes),
                "vectors": copy.copy(self._vectors),
                "calibrations": self._calibrations.stored(self._changes),
            }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._hasher, self._codes, self._vectors = state["hasher"], state["codes"], state["vectors"]
        self._start(state.get("calibrations", ()))
