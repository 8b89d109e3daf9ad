"""Embedders: pictures and text to vectors."""

from __future__ import annotations

from typing import Any

from .embedder import Embedder
from .registry import images, load, names, text

__all__ = [
    "EmbeddedBatch",
    "EmbeddedFiles",
    "EmbeddedTexts",
    "Embedder",
    "ImageEmbedder",
    "MiniLMEmbedder",
    "SentenceTransformersEmbedder",
    "SkippedFile",
    "SkippedText",
    "TextEmbedder",
    "WordEmbedder",
    "images",
    "load",
    "names",
    "text",
]

# Loaded when first asked for. Name -> module.
_LATER = {
    "EmbeddedTexts": "text_embedder",
    "MiniLMEmbedder": "minilm_embedder",
    "SentenceTransformersEmbedder": "sentence_transformers_embedder",
    "SkippedText": "text_embedder",
    "TextEmbedder": "text_embedder",
    "WordEmbedder": "word_embedder",
}


def __getattr__(name: str) -> Any:
    if name in ("EmbeddedBatch", "EmbeddedFiles", "ImageEmbedder", "SkippedFile"):
        from . import image_embedder

        return getattr(image_embedder, name)
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
