"""Text to vectors with MiniLM, run by ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import cache
from ..extras import require
from ..validation import choice
from . import minilm
from .model_name import joined
from .onnx_session import OnnxSession
from .ordered_work import Cancellation
from .text_embedder import TextEmbedder, Unusable, Vectors

__all__ = ["MiniLMEmbedder"]

_NAME = "minilm"
# Tokens per call of the network. One core computes 8,400 tokens a second from 256 on, 7,000 at 64 and fewer again
# beyond 1,024, where the activations leave its cache; 256 take 30 ms, so Ctrl-C is answered soon.
_TOKENS = 256
_WINDOW = 512
_ENDS = 2  # tokens that mark begin and end
# The tokenizer takes no more than so many tokens from one word (longer ones are one unknown token).
_WORD_TOKENS = 100
_HEAD = 8192


class MiniLMEmbedder(TextEmbedder):
    """all-MiniLM-L6-v2 as a function from sentences and short paragraphs in English to 384 numbers each.

    Made by ``simskip.embedding.text("minilm")``. The network is exported to ONNX the first time and cached;
    afterwards embedding imports neither PyTorch nor ``onnx``.

    Parameters
    ----------
    threads : int, optional
        Threads that each embed batches of their own; default ``simskip.set_threads``'s.
    cache_dir : path, optional
        Where the exported network is kept; see ``simskip.cache.cache_dir``.
    on_long : {"cut", "error"}
        What becomes of texts with more than 254 tokens, about 190 English words: the network sees the beginning
        only (as in Sentence-Transformers), or they are an error in ``embed`` and skipped in ``embed_batches``.

    Raises
    ------
    ImportError
        If the extra ``text`` is missing.
    ValueError
        For parameters out of range.

    Notes
    -----
    Vectors have length 1; the cosine to the reference implementation's is above 0.99999. A text's vector does not
    depend on the texts beside it: batches hold texts of about the same length, each padded by a rule that knows
    its own length only, and the same bytes come out for any number of threads, order and company.

    Examples
    --------
    >>> import simskip.embedding
    >>> embedder = simskip.embedding.text("minilm", threads=1)
    >>> eating, meal, train = embedder.embed(["A man is eating.", "Somebody has a meal.", "The train is late."])
    >>> bool(eating @ meal > eating @ train)
    True
    """

    dim = minilm.DIM

    def __init__(
        self,
        *,
        threads: int | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        on_long: str = "cut",
    ) -> None:
        super().__init__(threads=threads, window=_WINDOW)
        self.cache_dir = cache_dir
        self.on_long = choice(on_long, "on_long", ("cut", "error"))
        self.name = joined(_NAME, {"on_long": None if on_long == "cut" else on_long})
        tokenizers = require("tokenizers", "text", "Embedding text with MiniLM")
        self._session = OnnxSession(_exported(cache_dir), "text")
        self._tokenizer = tokenizers.Tokenizer.from_buffer(minilm.read_tokenizer())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @property
    def fingerprint(self) -> str:
        """Identity of weights, graph and tokenizer."""
        weights, tokenizer = minilm.WEIGHTS_SHA256[:16], minilm.TOKENIZER_SHA256[:16]
        return f"{_NAME} weights={weights} graph={minilm.EXPORT_VERSION} tokenizer={tokenizer}"

    def _tokens(self, text: str) -> list[int]:
        """All tokens of a text, or more than the network takes if it is very long."""
        length = _HEAD
        while length < len(text):
            tokens: list[int] = self._tokenizer.encode(text[:length]).ids
            # Beyond what the word across the cut may have changed.
            if len(tokens) >= minilm.MAX_TOKENS + _WORD_TOKENS:
                return tokens
            length *= 2
        return self._tokenizer.encode(text).ids  # type: ignore[no-any-return]

    def _prepare(self, texts: list[str]) -> list[Any]:
        return [self._prepared(text) for text in texts]

    def _prepared(self, text: str) -> list[int] | Unusable:
        try:
            tokens = self._tokens(text)
        except TypeError:  # a lone surrogate cannot be written as UTF-8
            return Unusable("not valid Unicode")
        if len(tokens) == _ENDS:
            return Unusable("no word in it")
        if len(tokens) <= minilm.MAX_TOKENS:
            return tokens
        if self.on_long == "error":
            return Unusable(f"longer than {minilm.MAX_TOKENS - _ENDS} tokens")
        return [*tokens[: minilm.MAX_TOKENS - 1], tokens[-1]]

    def _batches(self, prepared: list[Any]) -> Iterator[Sequence[int]]:
        padded = np.array([_padded(len(tokens)) for tokens in prepared], np.int64)
        order = np.argsort(padded, kind="stable")
        starts = np.flatnonzero(np.diff(padded[order], prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            step = max(1, _TOKENS // int(padded[order[start]]))
            for first in range(start, end, step):
                yield order[first : min(first + step, end)].tolist()

    def _run(self, prepared: list[list[int]], cancellation: Cancellation) -> Vectors:
        tokens = np.zeros((len(prepared), _padded(len(prepared[0]))), np.int64)
        mask = np.zeros(tokens.shape, np.float32)
        for row, ids in enumerate(prepared):
            tokens[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        vectors: Vectors = self._session.run("vectors", {"tokens": tokens, "mask": mask}, cancellation)
        return vectors

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.threads, self.cache_dir, self.on_long)

    def __repr__(self) -> str:
        return f"MiniLMEmbedder({self.name!r}, dim={self.dim})"


def _rebuild(threads: int | None, cache_dir: Any, on_long: str) -> MiniLMEmbedder:
    return MiniLMEmbedder(threads=threads, cache_dir=cache_dir, on_long=on_long)


def _padded(length: int) -> int:
    """The next of 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, ... 256: a quarter longer at most."""
    step = max(2, 1 << max(0, (length - 1).bit_length() - 3))
    return max(8, -(-length // step) * step)


def _exported(directory: str | os.PathLike[str] | None) -> Path:
    """The network's ONNX file, exported if the cache has no intact one."""
    return cache.cached_bytes(
        _NAME,
        cache.fingerprint(minilm.WEIGHTS_SHA256, str(minilm.EXPORT_VERSION)),
        "onnx",
        lambda: [minilm.build_graph(minilm.read_weights())],
        directory,
    )
