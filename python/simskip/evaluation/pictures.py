"""Pictures of queries and of what was found, as data URIs: a report shows hits and misses."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extras import require

__all__ = ["Album", "Shown", "Strip", "data_uri"]

IntArray = npt.NDArray[np.int64]

# A side of a thumbnail in pixels; larger ones are scaled down. Sharp on dense displays at the page's 64 px.
_SIDE = 128
_PER_STRIP = 10
_STRIPS = 4


@dataclass(frozen=True)
class Strip:
    """One searcher's neighbours of one query: (row number, data URI, whether it is one of the exact k)."""

    name: str
    recall: float
    items: list[tuple[int, str, bool]]


@dataclass(frozen=True)
class Shown:
    """A query with its picture (None if there is none) and the strips of exact search and of searchers."""

    query: int
    picture: str | None
    strips: list[Strip]


class Album:
    """Gives pictures by row number."""

    def __init__(self, database: Callable[[int], Any], queries: Callable[[int], Any] | None) -> None:
        self._database, self._queries = database, queries

    @classmethod
    def of(cls, pictures: Any, query_pictures: Any, n: int, n_queries: int) -> Album | None:
        """Check what ``evaluate()`` was given, and that the first picture of each can be read.

        Raises
        ------
        ValueError
            If a sequence has the wrong length, something is neither callable nor a sequence, or the first
            picture is none.
        """
        if pictures is None:
            if query_pictures is not None:
                raise ValueError("pictures (of the database) must be given with query_pictures")
            return None
        database = _giver(pictures, "pictures", n)
        queries = None if query_pictures is None else _giver(query_pictures, "query_pictures", n_queries)
        data_uri(database(0), "pictures")
        if queries is not None:
            data_uri(queries(0), "query_pictures")
        return cls(database, queries)

    def page(
        self,
        found: Mapping[str, IntArray],
        recall: Mapping[str, npt.NDArray[np.float64]],
        best: str | None,
        k: int,
        count: int,
    ) -> list[Shown]:
        """Choose queries from the worst to the best recall of row ``best`` and collect their pictures."""
        names = list(recall)
        judge = best if best is not None and best in recall else names[0]
        chosen = [judge, *(name for name in names if name != judge)][: _STRIPS - 1]
        shown_names = ["exact", *(name for name in names if name in chosen)]
        ranked = np.argsort(recall[judge], kind="stable")
        picked = ranked[np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).astype(int))]
        cache: dict[int, str] = {}

        def picture(item: int) -> str:
            if item not in cache:
                cache[item] = data_uri(self._database(item), "pictures")
            return cache[item]

        page = []
        for query in picked.tolist():
            exact = set(found["exact"][query, :k].tolist())
            strips = [
                Strip(
                    name,
                    1.0 if name == "exact" else float(recall[name][query]),
                    [(i, picture(i), i in exact) for i in found[name][query, :_PER_STRIP].tolist() if i >= 0],
                )
                for name in shown_names
            ]
            own = None if self._queries is None else data_uri(self._queries(query), "query_pictures")
            page.append(Shown(query, own, strips))
        return page


def data_uri(picture: Any, name: str) -> str:
    """A picture as a ``data:`` URI: PNG where it is small, JPEG where it had to be scaled down.

    Parameters
    ----------
    picture : uint8 array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), PIL image, or path
    name : str
        The argument it came from, for messages.

    Raises
    ------
    ValueError
        If it is none of these or cannot be read.
    """
    image = _image(picture, name)
    small = max(image.size) <= _SIDE
    if not small:
        image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    if small or image.mode == "RGBA":
        image.save(buffer, "PNG", optimize=True)
        kind = "png"
    else:
        image.save(buffer, "JPEG", quality=82)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _image(picture: Any, name: str) -> Any:
    pil = require("PIL.Image", "report", "Showing pictures")
    if isinstance(picture, (str, os.PathLike)):
        try:
            with pil.open(picture) as file:
                image = file.convert("RGB")
        except OSError as error:
            raise ValueError(f"{name} gave a path that is no readable picture: {error}") from error
        return image
    if isinstance(picture, pil.Image):
        return picture.copy() if picture.mode in ("L", "RGB", "RGBA") else picture.convert("RGB")
    array = np.asarray(picture)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(
            f"{name} must give uint8 arrays (h, w) or (h, w, 3), PIL images or file paths,"
            f" got {array.dtype} {array.shape}"
        )
    if not array.size:
        raise ValueError(f"{name} must give pictures with at least one pixel, got shape {array.shape}")
    return pil.fromarray(np.ascontiguousarray(array))


def _giver(source: Any, name: str, n: int) -> Callable[[int], Any]:
    if callable(source):
        return source  # type: ignore[no-any-return]
    if not isinstance(source, (Sequence, np.ndarray)) or isinstance(source, (str, bytes)):
        raise ValueError(f"{name} must be a callable of a row number or a sequence, got {type(source).__name__}")
    if len(source) != n:
        raise ValueError(f"{name} must hold one picture for each of the {n} rows, got {len(source)}")
    return lambda i: source[i]
