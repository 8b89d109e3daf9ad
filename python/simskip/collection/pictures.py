"""The image files behind items, for pages that show them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..extras import require

if TYPE_CHECKING:
    from . import Collection

__all__ = ["Pictures"]

_GONE = np.full((1, 1), 128, np.uint8)  # a grey square
_SAMPLE = 20


class Pictures:
    """Pictures of items by id.

    Parameters
    ----------
    collection : Collection
    ids : (n,) int64 array
        The items that may be asked for.

    Attributes
    ----------
    any : bool
        Whether there are any: items that were synced from image files that are still there. A sample tells.
    """

    def __init__(self, collection: Collection, ids: npt.NDArray[np.int64]) -> None:
        self._collection = collection
        some = np.asarray(ids, np.int64)[:: max(1, len(ids) // _SAMPLE)]
        self.any = any(self.path(id) is not None and self._opened(id) is not None for id in some.tolist())

    def path(self, id: int) -> Path | None:
        """An item's file, if it is there."""
        path = self._collection.files_of([id])[0]
        return path if path is not None and path.is_file() else None

    def of(self, id: int) -> Any:
        """An item's picture; a grey square where the file is gone or is no picture."""
        picture = self._opened(int(id))
        return _GONE if picture is None else picture

    def _opened(self, id: int) -> Any:
        path = self.path(id)
        if path is None:
            return None
        pil = require("PIL.Image", "report", "Showing pictures")
        try:
            with pil.open(path) as file:
                return file.convert("RGB")
        except Exception:  # Pillow's decoders raise nearly anything on damaged files
            return None
