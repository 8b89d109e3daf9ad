"""What ``evaluate()`` can judge: hashers, indexes, and either with search options."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codes import Codes
from ..index import HammingIndex, SimilarityIndex, VectorIndex
from .bucket_search import BucketSearch
from .provenance import FoundList, Origin, fingerprint

__all__ = ["Data", "Searcher", "exact_searcher", "prepare"]

FloatMatrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Data:
    """The matrices of one evaluation with their fingerprints."""

    database: FloatMatrix
    queries: FloatMatrix
    metric: str
    database_sha256: str
    queries_sha256: str


@dataclass
class Searcher:
    """One row of a report: something that finds neighbours, and what is known about it.

    ``kind`` is ``"exact"``, ``"codes"`` (Hamming order), ``"asymmetric"``, ``"reranked"``, ``"bucket"`` or
    ``"index"`` (anything else with a ``search`` method).
    """

    name: str
    kind: str
    description: str
    index: Any
    data: Data
    options: dict[str, Any] = field(default_factory=dict)
    build_seconds: float = float("nan")
    bytes_per_item: float = float("nan")
    hasher: Any = None
    codes: Codes | None = None
    codes_sha256: str | None = None
    _reads: dict[int, float] = field(default_factory=dict)  # measured, by k

    def raw(self, queries: FloatMatrix, k: int) -> Any:
        """Search without looking at the result: what is timed."""
        return self.index.search(queries, k=k, **self.options)

    def search(self, queries: FloatMatrix, k: int) -> FoundList:
        """Search and check that the result is one of (distances, ids) over the database's rows."""
        try:
            result = self.raw(queries, k)
        except (ValueError, TypeError) as error:
            raise ValueError(f"searchers[{self.name!r}] cannot search: {error}") from error
        if not isinstance(result, tuple) or len(result) != 2:
            raise ValueError(f"searchers[{self.name!r}].search must return (distances, ids)")
        distances, ids = (np.asarray(part) for part in result)
        shape = (len(queries), k)
        if ids.shape != shape or distances.shape != shape or ids.dtype.kind not in "iu":
            raise ValueError(
                f"searchers[{self.name!r}].search must return distances and integer ids of shape {shape},"
                f" got {distances.shape} and {ids.dtype} {ids.shape}"
            )
        if ids.size and (ids.min() < -1 or ids.max() >= len(self.data.database)):
            raise ValueError(
                f"searchers[{self.name!r}] must use the row numbers of database as ids (-1 for none),"
                f" got ids from {ids.min()} to {ids.max()} for {len(self.data.database)} rows"
            )
        return FoundList(ids.astype(np.int64, copy=False), distances, self.origin(k), self.index)

    def origin(self, k: int) -> Origin:
        """Provenance of this searcher's lists."""
        metric = {"codes": "hamming", "asymmetric": "asymmetric hamming"}.get(self.kind)
        n, dim = self.data.database.shape
        return Origin(
            engine=type(self.index).__name__,
            metric=metric or str(getattr(self.index, "metric", "unknown")),
            n=n,
            dim=dim,
            k=k,
            database=self.data.database_sha256,
            queries=self.data.queries_sha256,
            hasher=None if self.hasher is None else repr(self.hasher),
            hasher_fingerprint=getattr(self.hasher, "fingerprint", None),
            codes=self.codes_sha256,
            options={key: value for key, value in self.options.items() if value is not None},
        )

    def vectors_read(self, k: int) -> float:
        """Vectors that one query reads on average; NaN if it is not known.

        Where that depends on the query (buckets, a target recall) the queries are searched to find out.
        """
        n = len(self.data.database)
        if self.kind in ("codes", "asymmetric"):
            return 0.0
        if self.kind == "exact":
            return float(n)
        if self.kind == "bucket" or (
            self.options.get("recall") is not None and isinstance(self.index, SimilarityIndex)
        ):
            if k not in self._reads:
                before = self.index.stats()["vectors_read"]
                self.search(self.data.queries, k)
                self._reads[k] = (self.index.stats()["vectors_read"] - before) / len(self.data.queries)
            return self._reads[k]
        depth = self.options.get("rerank")
        return float("nan") if depth is None else float(min(depth * k, n))

    def vector_bytes_read(self, k: int) -> float:
        """Bytes of stored vectors that one query reads on average; NaN if it is not known."""
        stored = self.index.dtype if isinstance(self.index, (SimilarityIndex, VectorIndex)) else "float32"
        return self.vectors_read(k) * self.data.database.shape[1] * np.dtype(stored).itemsize

    def covers_everything(self, k: int) -> bool:
        """Whether every vector is looked at: exact search by another name."""
        return self.kind in ("reranked", "bucket") and self.vectors_read(k) >= len(self.data.database)


def exact_searcher(data: Data, threads: int | None) -> Searcher:
    """Exact float search over the database: the reference of an evaluation."""
    begin = time.perf_counter()
    index = VectorIndex(data.database.shape[1], metric=data.metric)
    index.add(data.database)
    return Searcher(
        name="exact",
        kind="exact",
        description="exact float search",
        index=index,
        data=data,
        options=_with_threads({}, threads),
        build_seconds=time.perf_counter() - begin,
        bytes_per_item=4.0 * data.database.shape[1],
    )


def prepare(searchers: Any, data: Data, threads: int | None) -> list[Searcher]:
    """Check all searchers, then build what has to be built.

    Raises
    ------
    ValueError
        For an empty or unnamed collection, an object that cannot search, an index that does not hold the
        database, a hasher that cannot encode it, or exact search itself.
    """
    if not isinstance(searchers, Mapping):
        raise ValueError(f"searchers must be a dict of name to hasher or index, got {type(searchers).__name__}")
    if not searchers:
        raise ValueError("searchers must name at least one hasher or index, got an empty dict")
    parsed = [_parse(name, value, data) for name, value in searchers.items()]
    built: dict[int, tuple[SimilarityIndex, float, str]] = {}  # one index per hasher, whatever its options
    return [_build(name, thing, options, data, threads, built) for name, thing, options in parsed]


def _parse(name: Any, value: Any, data: Data) -> tuple[str, Any, dict[str, Any]]:
    if not isinstance(name, str) or not name.strip() or name in ("exact", "control"):
        raise ValueError(f"searchers must be named by non-empty strings other than 'exact' and 'control', got {name!r}")
    thing, options = value, {}
    if isinstance(value, tuple):
        if len(value) != 2 or not isinstance(value[1], Mapping):
            raise ValueError(
                f"searchers[{name!r}] must be a hasher, an index, or (hasher or index, dict of search"
                f" arguments), got a tuple of {len(value)}"
            )
        thing, options = value[0], dict(value[1])
    if "k" in options:
        raise ValueError(f"searchers[{name!r}] must not set k: evaluate(k=...) does")
    if isinstance(thing, HammingIndex):
        raise ValueError(
            f"searchers[{name!r}] is a HammingIndex, which takes codes: pass the hasher or a SimilarityIndex"
        )
    if isinstance(thing, BucketSearch) and len(thing) == 0:
        _check_hasher(name, thing.hasher, data)
        _check_metric(name, thing, data)
    elif hasattr(thing, "search"):
        _check_index(name, thing, data)
    elif hasattr(thing, "encode") and hasattr(thing, "project"):  # both: strings have the first, too
        _check_hasher(name, thing, data)
    else:
        raise ValueError(
            f"searchers[{name!r}] must be a hasher (encode, project) or an index (search), got {type(thing).__name__}"
        )
    return name, thing, options


def _check_hasher(name: str, hasher: Any, data: Data) -> None:
    dim = getattr(hasher, "dim_", None)
    if dim is None:
        raise ValueError(f"searchers[{name!r}] must be a fitted hasher, got {hasher!r}: call fit(X) first")
    if dim != data.database.shape[1]:
        raise ValueError(f"searchers[{name!r}] must be fitted to {data.database.shape[1]} dimensions, got {dim}")


def _check_index(name: str, index: Any, data: Data) -> None:
    metric = getattr(index, "metric", data.metric)
    if isinstance(index, VectorIndex) and metric == data.metric:
        raise ValueError(
            f"searchers[{name!r}] is exact float search by {metric}, as is the row 'exact' which is always"
            " there: comparing it with itself says nothing"
        )
    if isinstance(index, (SimilarityIndex, BucketSearch)):
        _check_metric(name, index, data)
    try:
        size = len(index)
    except TypeError:
        raise ValueError(f"searchers[{name!r}] must have a length: the number of items it holds") from None
    if size != len(data.database):
        raise ValueError(
            f"searchers[{name!r}] must hold exactly the {len(data.database)} rows of database, got {size} items"
        )
    if isinstance(index, (SimilarityIndex, VectorIndex, BucketSearch)):  # of others only the length is known
        if not np.array_equal(index.ids, np.arange(size)):
            raise ValueError(f"searchers[{name!r}] must have the row numbers of database as ids, got others")
        stored = index.vectors()
        if not np.array_equal(stored, data.database.astype(stored.dtype, copy=False)):
            raise ValueError(f"searchers[{name!r}] must hold exactly the rows of database, got other vectors")


def _check_metric(name: str, index: Any, data: Data) -> None:
    if index.metric != data.metric:
        raise ValueError(f"searchers[{name!r}] must have metric {data.metric!r}, got {index.metric!r}")


def _build(
    name: str,
    thing: Any,
    options: dict[str, Any],
    data: Data,
    threads: int | None,
    built: dict[int, tuple[SimilarityIndex, float, str]],
) -> Searcher:
    if isinstance(thing, BucketSearch):
        return _build_bucket_search(name, thing, options, data, threads)
    seconds = float("nan")
    index = thing
    if not hasattr(thing, "search"):
        if id(thing) not in built:
            built[id(thing)] = _build_index(name, thing, data)
        index, seconds, _ = built[id(thing)]
    if not isinstance(index, SimilarityIndex):
        n_bytes = getattr(index, "nbytes", None)
        return Searcher(
            name=name,
            kind="index",
            description=type(index).__name__,
            index=index,
            data=data,
            options=_with_threads(options, threads) if isinstance(index, VectorIndex) else options,
            bytes_per_item=float("nan") if n_bytes is None else n_bytes / len(data.database),
        )
    if options.get("recall") is None:
        options.setdefault("rerank", None)  # said, not left to a default: codes alone unless asked otherwise
    codes = index.codes
    if id(thing) not in built:
        built[id(thing)] = (index, seconds, fingerprint(codes.data))
    return Searcher(
        name=name,
        kind=_kind(options),
        description=_description(codes.n_bits, options),
        index=index,
        data=data,
        options=_with_threads(options, threads),
        build_seconds=seconds,
        bytes_per_item=codes.nbytes / len(codes),
        hasher=index.hasher,
        codes=codes,
        codes_sha256=built[id(thing)][2],
    )


def _build_bucket_search(
    name: str, search: BucketSearch, options: dict[str, Any], data: Data, threads: int | None
) -> Searcher:
    seconds = float("nan")
    if len(search) == 0:
        begin = time.perf_counter()
        try:
            search = search.filled(data.database)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"searchers[{name!r}] cannot encode database: {error}") from error
        seconds = time.perf_counter() - begin
    codes = search.codes
    return Searcher(
        name=name,
        kind="bucket",
        description=f"buckets of {codes.n_bits}-bit codes, then {search.metric}",
        index=search,
        data=data,
        options=_with_threads(options, threads),
        build_seconds=seconds,
        bytes_per_item=codes.nbytes / len(codes),
        hasher=search.hasher,
        codes=codes,
        codes_sha256=fingerprint(codes.data),
    )


def _build_index(name: str, hasher: Any, data: Data) -> tuple[SimilarityIndex, float, str]:
    begin = time.perf_counter()
    try:
        index = SimilarityIndex(hasher, metric=data.metric)
        index.add(data.database)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"searchers[{name!r}] cannot encode database: {error}") from error
    seconds = time.perf_counter() - begin
    return index, seconds, fingerprint(index.codes.data)


def _kind(options: Mapping[str, Any]) -> str:
    if options.get("rerank") is not None or options.get("recall") is not None:
        return "reranked"
    return "asymmetric" if options.get("scoring") == "asymmetric" else "codes"


def _description(n_bits: int, options: Mapping[str, Any]) -> str:
    text = f"{n_bits}-bit codes"
    if options.get("scoring") == "asymmetric":
        text += ", asymmetric"
    if options.get("rerank") is not None:
        text += f" + rerank x{options['rerank']}"
    elif options.get("recall") is not None:
        text += f" + rerank for recall {options['recall']}"
    return text


def _with_threads(options: dict[str, Any], threads: int | None) -> dict[str, Any]:
    return options if threads is None or "threads" in options else {**options, "threads": threads}
