"""Embedders: pictures and text to vectors."""

from __future__ import annotations

from typing import Any

from .embedder import Embedder
from .registry import images, load, names, text

__all__ = [
    "EmbeddedBatch",
    "EmbeddedFiles",
    "Embedder",
    "ImageEmbedder",
    "SkippedFile",
    "callable_embedder",
    "images",
    "load",
    "names",
    "text",
]


def __getattr__(name: str) -> Any:
    if name in ("EmbeddedBatch", "EmbeddedFiles", "ImageEmbedder", "SkippedFile"):
        from . import image_embedder

        return getattr(image_embedder, name)
    if name == "callable_embedder":
        from .user_function import callable_embedder

        return callable_embedder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
