"""Are these codes alive? How items spread over codes, how much each bit says, whether classes stay apart.

Coverage alone is a trap: it is 1 when every item has the same code. It must be read with the computation
ratio and the number of distinct class codes, which is what ``CodeHealth.collapsed`` and
``CodeHealth.diagnosis`` do.
"""

from __future__ import annotations

import dataclasses
import html
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import validation
from ..codes import Codes, require_codes

__all__ = ["CodeHealth", "code_health", "computation_ratio", "coverage"]

# Fewer items than this can share codes by chance: they say nothing about a collapse.
_MIN_ITEMS = 8
_ROW_BLOCK = 1 << 16


@dataclasses.dataclass(frozen=True, repr=False)
class CodeHealth:
    """What ``code_health`` measured: plain numbers; those that need labels are None without them.

    Attributes
    ----------
    n_items, n_bits : int
        Codes looked at and bits of each.
    n_codes : int
        Different codes among them (buckets that hold something).
    largest_bucket : float
        Share of the items in the most common code, (0, 1].
    computation : float
        Sum over codes of (bucket size / n_items)**2: the share of all items that a search of one's own bucket
        reads, expected over items. 1 / n_items if all codes differ, 1 if all are equal.
    bit_balance, worst_bit_balance : float
        Share of the rarer value of a bit: mean over bits, and the least. 0.5 is ideal, 0 is a constant bit.
    constant_bits : int
        Bits that have the same value in every item.
    bit_entropy : float
        Mean entropy of a bit, in bits: 1 is ideal.
    bit_correlation : float
        Mean absolute correlation between pairs of bits that vary, from at most 8,192 evenly spaced items; 0
        is ideal. Independent bits give about sqrt(2 / (pi * items)). NaN if fewer than two bits vary.
    coverage : float or None
        Mean over classes of the share of the class in its most common code.
    computation_ratio : float or None
        Sum over codes of (bucket size)**2 over sum over classes of (class size)**2: 1 is ideal for supervised
        codes, the number of (balanced) classes means that everything has fallen into one bucket.
    n_classes, distinct_class_codes : int or None
        Classes, and different codes among the classes' most common codes.
    """

    n_items: int
    n_bits: int
    n_codes: int
    largest_bucket: float
    computation: float
    bit_balance: float
    worst_bit_balance: float
    constant_bits: int
    bit_entropy: float
    bit_correlation: float
    coverage: float | None = None
    computation_ratio: float | None = None
    n_classes: int | None = None
    distinct_class_codes: int | None = None

    @property
    def collapsed(self) -> bool:
        """Whether items that should differ have fallen together.

        True if one of these holds (never for fewer than 8 items):

        * *Buckets.* ``computation`` lies more than a quarter of the way from its floor to 1. The floor is
          what cannot be avoided: ``2**-n_bits``, or with labels the computation of perfect class codes if
          that is larger. Without labels and with many bits: the items are spread like fewer than 4 equal
          buckets.
        * *Classes.* ``2 * distinct_class_codes < expected + 1``, where ``expected`` is the number of distinct
          codes that the classes would have if each drew one of the ``2**n_bits`` codes at random (nearly the
          number of classes unless bits are few). For 10 classes and 16 bits: 5 or fewer distinct class codes.
          Not judged for classes of fewer than 8 items on average.
        """
        return self._buckets_collapsed or self._classes_collapsed

    @property
    def _buckets_collapsed(self) -> bool:
        floor = 0.5**self.n_bits
        if self.computation_ratio is not None:
            floor = max(floor, self.computation / self.computation_ratio)
        return self.n_items >= _MIN_ITEMS and self.computation > floor + (1 - floor) / 4 + 1e-12

    @property
    def _classes_collapsed(self) -> bool:
        if self.n_classes is None or self.distinct_class_codes is None:
            return False
        if self.n_items < _MIN_ITEMS * self.n_classes:
            return False
        # cells * (1 - (1 - 1/cells)**classes) without cancellation; 1,000 bits are as good as more.
        cells = 2.0 ** min(self.n_bits, 1000)
        expected = -cells * math.expm1(self.n_classes * math.log1p(-1 / cells))
        return 2 * self.distinct_class_codes < expected + 1 - 1e-9

    @property
    def diagnosis(self) -> str:
        """One sentence: the symptom and, if there is one, the remedy."""
        spread = f"{self.n_items:,} items have {self.n_codes:,} different {self.n_bits}-bit codes"
        if self._buckets_collapsed:
            return (
                f"collapsed: {spread} and {self.largest_bucket:.1%} of them share one; check that the "
                "vectors differ, then train with less dropout, smaller steps or batch normalisation, "
                "or start from PCAHash"
            )
        if self._classes_collapsed:
            return (
                f"collapsed: {self.n_classes} classes have only {self.distinct_class_codes} different most "
                "common codes; use an objective with one centre per class (csq), batch normalisation, less "
                "dropout, or more bits"
            )
        if self.n_items < _MIN_ITEMS:
            return f"{spread}: too few items to judge (at least {_MIN_ITEMS})"
        if self.constant_bits and self.n_classes is None:
            return (
                f"{spread}, but {self.constant_bits} bits are the same in every item and say nothing: "
                "centre the vectors (PCAHash does) or use fewer bits"
            )
        if self.worst_bit_balance < 0.05 and self.n_classes is None:
            return (
                f"{spread}, but at least one bit has the same value in {1 - self.worst_bit_balance:.1%} of "
                "them: centre the vectors (PCAHash does) or train with a balance term"
            )
        return f"healthy: {spread}, the most common one has {self.largest_bucket:.2%} of the items"

    def as_dict(self) -> dict[str, int | float | bool | str | None]:
        """All fields, ``collapsed`` and ``diagnosis``, as plain values (JSON-ready but for NaN)."""
        return {**dataclasses.asdict(self), "collapsed": self.collapsed, "diagnosis": self.diagnosis}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CodeHealth:
        """The inverse of ``as_dict``; names that are no fields are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})

    def _rows(self) -> list[tuple[str, str]]:
        rows = [
            ("items x bits", f"{self.n_items:,} x {self.n_bits}"),
            ("different codes", f"{self.n_codes:,}"),
            ("largest bucket", f"{self.largest_bucket:.2%}"),
            ("computation", f"{self.computation:.3g}"),
            (
                "bit balance, mean / worst",
                f"{self.bit_balance:.3f} / {self.worst_bit_balance:.3f} (ideal 0.5)",
            ),
            ("constant bits", str(self.constant_bits)),
            ("bit entropy", f"{self.bit_entropy:.3f} (ideal 1)"),
            ("bit correlation", f"{self.bit_correlation:.3f} (ideal 0)"),
        ]
        if self.n_classes is not None:
            rows += [
                ("coverage", f"{self.coverage:.3f}"),
                ("computation ratio", f"{self.computation_ratio:.3g} (ideal 1, worst {self.n_classes})"),
                ("distinct class codes", f"{self.distinct_class_codes} of {self.n_classes} classes"),
            ]
        return rows

    def __repr__(self) -> str:
        lines = [f"  {name:<26} {value}" for name, value in self._rows()]
        return "\n".join([f"CodeHealth: {self.diagnosis}", *lines])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in self._rows()
        )
        return f"<table><caption>{html.escape(self.diagnosis)}</caption>{cells}</table>"


def code_health(codes: Codes, labels: npt.ArrayLike | None = None) -> CodeHealth:
    """Measure how well codes use their bits and, with labels, how well they keep classes together and apart.

    Parameters
    ----------
    codes : Codes
        At least one.
    labels : (n,) array of int or str, optional
        A class for each code.

    Returns
    -------
    CodeHealth

    Raises
    ------
    ValueError
        If ``codes`` are not ``Codes`` or there are none, or ``labels`` do not fit.

    Examples
    --------
    >>> import numpy as np, simskip
    >>> codes = simskip.pack(np.repeat(np.eye(4), 5, axis=0))
    >>> health = code_health(codes, labels=np.repeat([0, 1, 2, 3], 5))
    >>> health.n_codes, health.coverage, health.computation_ratio, health.collapsed
    (4, 1.0, 1.0, False)
    """
    require_codes(codes, "codes")
    n = len(codes)
    if n == 0:
        raise ValueError("codes must hold at least one code, got 0")
    classes = None if labels is None else _class_numbers(labels, n)
    buckets, counts = _buckets(codes)
    ones = _ones(codes) / n
    rarer = np.minimum(ones, 1 - ones)
    labelled: dict[str, Any] = {}
    if classes is not None:
        common, shares = _most_common(buckets, classes)
        labelled = {
            "coverage": float(shares.mean()),
            "computation_ratio": _ratio(counts, np.bincount(classes)),
            "n_classes": len(common),
            "distinct_class_codes": len(np.unique(common)),
        }
    return CodeHealth(
        n_items=n,
        n_bits=codes.n_bits,
        n_codes=len(counts),
        largest_bucket=float(counts.max() / n),
        computation=float(np.square(counts / n).sum()),
        bit_balance=float(rarer.mean()),
        worst_bit_balance=float(rarer.min()),
        constant_bits=int((rarer == 0).sum()),
        bit_entropy=float(_entropy(ones).mean()),
        bit_correlation=_correlation(codes),
        **labelled,
    )


def coverage(codes: Codes, labels: npt.ArrayLike) -> float:
    """Mean over classes of (items of the class in its most common code) / (items of the class).

    1 when every class has one code of its own, but also when all items share one: read it with
    ``computation_ratio``.

    Parameters
    ----------
    codes : Codes
    labels : (n,) array of int or str

    Returns
    -------
    float
        In (0, 1].
    """
    buckets, _, classes = _labelled(codes, labels)
    return float(_most_common(buckets, classes)[1].mean())


def computation_ratio(codes: Codes, labels: npt.ArrayLike) -> float:
    """Sum over codes of (bucket size)**2, over sum over classes of (class size)**2.

    What a search inside each item's bucket reads, relative to ideal class codes: 1 is ideal, less means that
    classes are spread over several codes, and with C balanced classes the worst is C (one bucket for
    everything).

    Parameters
    ----------
    codes : Codes
    labels : (n,) array of int or str

    Returns
    -------
    float
    """
    _, counts, classes = _labelled(codes, labels)
    return _ratio(counts, np.bincount(classes))


def _labelled(codes: Codes, labels: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    require_codes(codes, "codes")
    if len(codes) == 0:
        raise ValueError("codes must hold at least one code, got 0")
    classes = _class_numbers(labels, len(codes))
    return (*_buckets(codes), classes)


def _class_numbers(labels: npt.ArrayLike, n: int) -> npt.NDArray[np.int64]:
    array = validation.labels(labels, "labels", n)
    try:
        return np.unique(array, return_inverse=True)[1].reshape(-1)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in array.tolist()})
        raise ValueError(f"labels must be all integers or all strings, got {', '.join(kinds)}") from None


def _buckets(codes: Codes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(bucket number of each item, size of each bucket)."""
    rows = codes.data
    if rows.shape[1] <= 8:  # as integers: several times faster to sort than byte strings
        words = np.zeros((len(rows), 8), np.uint8)
        words[:, : rows.shape[1]] = rows
        keys: npt.NDArray[Any] = words.view(np.uint64)[:, 0]
    else:
        keys = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1])))[:, 0]
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return inverse.reshape(-1), counts


def _most_common(
    buckets: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """For each class its most common bucket (the lowest among ties) and that bucket's share of the class."""
    n_buckets = int(buckets.max()) + 1
    pairs, counts = np.unique(classes * n_buckets + buckets, return_counts=True)
    order = np.lexsort((pairs, -counts, pairs // n_buckets))
    _, first = np.unique(pairs[order] // n_buckets, return_index=True)
    best = order[first]
    return pairs[best] % n_buckets, counts[best] / np.bincount(classes)


def _ratio(bucket_sizes: npt.NDArray[np.int64], class_sizes: npt.NDArray[np.int64]) -> float:
    return float(np.square(bucket_sizes, dtype=np.float64).sum() / np.square(class_sizes, dtype=np.float64).sum())


def _ones(codes: Codes) -> npt.NDArray[np.int64]:
    total = np.zeros(codes.n_bits, np.int64)
    for start in range(0, len(codes), _ROW_BLOCK):
        block = codes.data[start : start + _ROW_BLOCK]
        total += np.unpackbits(block, axis=1, count=codes.n_bits, bitorder="little").sum(axis=0, dtype=np.int64)
    return total


def _entropy(ones: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    result = np.zeros_like(ones)
    for share in (ones, 1 - ones):
        inside = share > 0
        result[inside] -= share[inside] * np.log2(share[inside])
    return result


def _correlation(codes: Codes) -> float:
    # At most 2**29 multiplications per bit-pair table: half a second for 4,096 bits, nothing for 64.
    n = max(1024, min(8192, 2**29 // codes.n_bits**2))
    rows = np.unique(np.linspace(0, len(codes) - 1, min(n, len(codes)), dtype=np.int64))
    bits = np.unpackbits(codes.data[rows], axis=1, count=codes.n_bits, bitorder="little").astype(np.float32)
    bits -= bits.mean(axis=0)
    norms = np.linalg.norm(bits, axis=0)
    bits = bits[:, norms > 0] / norms[norms > 0]
    width = bits.shape[1]
    if width < 2:
        return math.nan
    gram = np.abs(bits.T @ bits)
    return float((gram.sum(dtype=np.float64) - np.trace(gram)) / (width * (width - 1)))
