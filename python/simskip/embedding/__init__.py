"""Embedders: pictures and texts to vectors."""

from __future__ import annotations

import importlib
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
    "callable_embedder",
    "images",
    "load",
    "names",
    "text",
]

# Loaded when first asked for. Name -> module.
_LATER = {
    "EmbeddedBatch": "embedded_files",
    "EmbeddedFiles": "embedded_files",
    "EmbeddedTexts": "text_embedder",
    "ImageEmbedder": "image_embedder",
    "MiniLMEmbedder": "minilm_embedder",
    "SentenceTransformersEmbedder": "sentence_transformers_embedder",
    "SkippedFile": "embedded_files",
    "SkippedText": "text_embedder",
    "TextEmbedder": "text_embedder",
    "WordEmbedder": "word_embedder",
    "callable_embedder": "user_function",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
