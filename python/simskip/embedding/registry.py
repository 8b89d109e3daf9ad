"""Embedders by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .embedder import Embedder

__all__ = ["images", "load", "names"]


def _efficientnet_lite0(**options: Any) -> Embedder:
    from .image_embedder import ImageEmbedder

    return ImageEmbedder(**options)


# Kind of data -> name -> maker. Makers import what they need, so listing names imports nothing.
_EMBEDDERS: dict[str, dict[str, Callable[..., Embedder]]] = {
    "images": {"efficientnet-lite0": _efficientnet_lite0},
}


def names(kind: str | None = None) -> tuple[str, ...]:
    """The known embedders' names, all or those of one kind (``"images"``)."""
    kinds = tuple(_EMBEDDERS) if kind is None else (kind,)
    return tuple(name for each in kinds for name in _EMBEDDERS[each])


def _make(name: Any, kinds: tuple[str, ...], options: dict[str, Any]) -> Embedder:
    for kind in kinds:
        if isinstance(name, str) and name in _EMBEDDERS[kind]:
            return _EMBEDDERS[kind][name](**options)
    known = ", ".join(repr(name) for kind in kinds for name in names(kind))
    raise ValueError(f"name must be one of {known}, got {name!r}")


def images(
    name: str = "efficientnet-lite0",
    *,
    threads: int | None = None,
    batch_size: int = 4,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Any:
    """An embedder of images.

    Parameters
    ----------
    name : str
        ``"efficientnet-lite0"``: 1280 numbers per image; 224 x 224 pixels; weights from the package index.
    threads, batch_size, cache_dir
        See ``simskip.embedding.ImageEmbedder``; further options too.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones.
    ImportError
        If the extra ``images`` is missing.

    Examples
    --------
    >>> import simskip.embedding
    >>> simskip.embedding.images("efficientnet-lite0", threads=1)
    ImageEmbedder('efficientnet-lite0', dim=1280, framing='whole')
    """
    return _make(name, ("images",), {"threads": threads, "batch_size": batch_size, "cache_dir": cache_dir, **options})


def load(name_or_path: str, **options: Any) -> Embedder:
    """An embedder of any kind by its registered name, as a configuration file or the command line gives it.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones.
    """
    return _make(name_or_path, tuple(_EMBEDDERS), options)
