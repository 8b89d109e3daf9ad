"""Any ONNX model of images as an embedder."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..extras import require
from ..validation import choice
from .image_embedder import ImageEmbedder
from .model_metadata import settings_beside, settings_of
from .model_name import joined
from .onnx_session import OnnxSession
from .ordered_work import Cancellation
from .picture import Geometry
from .pooling import POOLINGS, pooled
from .preprocessing import LAYOUTS, Preprocessing, plain_settings

__all__ = ["OnnxEngine", "onnx_embedder"]

_DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}
# Names of outputs that hold one vector per picture, best first, where a model has several.
_VECTORS = ("image_embeds", "embeddings", "embedding", "features", "pooler_output", "pooled")


class OnnxEngine:
    """An ONNX graph that takes pictures (see ``onnx_embedder``).

    Parameters
    ----------
    path : Path
        The model.
    name, identity : str
        What ``load`` finds it by, and what stands for its weights and graph in the fingerprint.
    settings : sequence of mappings
        Preprocessing, the most important first; see ``Preprocessing.of``.
    output, pooling, layout : str, optional
        See ``onnx_embedder``.
    fingerprint : str, optional
        Of what the graph was made from, where that counts instead.
    """

    concurrent = True

    def __init__(
        self,
        path: Path,
        name: str,
        identity: str,
        settings: Sequence[Mapping[str, Any]],
        output: str | None = None,
        pooling: str | None = None,
        layout: str | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self._arguments = path, name, identity, settings, output, pooling, layout, fingerprint
        self._session = OnnxSession(path)
        self.name = name
        self._input = _picture_input(self._session.inputs, path)
        self._dtype = _DTYPES[self._input.type]
        shape: list[Any] = list(self._input.shape)
        self.layout = layout or _layout(shape)
        channels, height, width = shape[1:] if self.layout == "nchw" else (shape[3], shape[1], shape[2])
        if isinstance(channels, int) and channels not in (1, 3):
            raise ValueError(
                f"layout must be one that gives 1 or 3 channels, got {self.layout!r} for the shape {shape} of the"
                f" input {self._input.name!r} of {path}"
            )
        self._grey = channels == 1
        self._rows = shape[0] if isinstance(shape[0], int) else None
        self.preprocessing = Preprocessing.of(*_with_size(settings, height, width, path))
        self._output = _output(self._session.outputs, output, path)
        self._pooling = pooling
        self.fingerprint = fingerprint or (
            f"onnx {identity} output={self._output} pooling={pooling} layout={self.layout}"
            f" {self.preprocessing.fingerprint}"
        )
        blank = np.zeros((*self.geometry.size, 3), np.uint8)
        self.dim = self.run([blank], Cancellation()).shape[1]

    @property
    def geometry(self) -> Geometry:
        """How images become its input."""
        return self.preprocessing.geometry

    def run(self, pixels: list[npt.NDArray[np.uint8]], cancellation: Cancellation) -> npt.NDArray[np.float32]:
        """See ``ImageEngine``; a graph of fixed batch size is fed in parts of that size, the last filled up."""
        batch = self.preprocessing.tensor(pixels, self.layout, self._dtype, self._grey)
        if self._rows is None:
            return self._vectors(batch, cancellation)
        parts = []
        for start in range(0, len(batch), self._rows):
            part = batch[start : start + self._rows]
            filled = np.concatenate([part, np.repeat(part[-1:], self._rows - len(part), axis=0)])
            parts.append(self._vectors(filled, cancellation)[: len(part)])
        return np.concatenate(parts)

    def _vectors(self, batch: npt.NDArray[Any], cancellation: Cancellation) -> npt.NDArray[np.float32]:
        features = self._session.run(self._output, {self._input.name: batch}, cancellation)
        if not isinstance(features, np.ndarray) or features.ndim == 0 or len(features) != len(batch):
            raise ValueError(
                f"output must have a row for each of {len(batch)} pictures, got {np.shape(features)} from"
                f" {self._output!r} of {self._session.path}"
            )
        return pooled(features, self._output, self.layout, self._pooling)

    def __reduce__(self) -> tuple[Any, ...]:
        return OnnxEngine, self._arguments


def onnx_embedder(
    path: str | os.PathLike[str],
    *,
    size: int | Sequence[int] | None = None,
    output: str | int | None = None,
    pooling: str | None = None,
    layout: str | None = None,
    framing: str | None = None,
    crop: float | None = None,
    interpolation: str | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    channels: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> ImageEmbedder:
    """An embedder of images from an ONNX file: ``simskip.embedding.images("onnx:PATH", **options)``.

    Preprocessing comes from these, the first that says something: the options; the file's ``metadata_props`` (keys
    as the options, or timm's ``pretrained_cfg``); ``preprocessor_config.json`` (Transformers) or ``config.json``
    (timm) beside it; what ImageNet models expect: see ``Preprocessing.of``. A fixed input size is the graph's.

    Parameters
    ----------
    path : path
        A model with one input of rank 4: (n, channels, h, w) or (n, h, w, channels), 1 or 3 channels, uint8
        (pixels as they are) or float. The layout is read off the shape and (n, c, h, w) if that says nothing.
    size : int or (int, int), optional
        Side or (height, width) in pixels, where the graph leaves it open.
    output : str, optional
        Name of the output; by default the only one, or the one that looks like one vector per picture. Feature maps
        of rank 4 are averaged.
    pooling : {"mean", "first"}, optional
        For an output (n, tokens, d): average of the tokens or the first of them.
    layout : {"nchw", "nhwc"}, optional
        Overrules what the shape says.
    framing, crop, interpolation
        See ``simskip.embedding.picture.Geometry``.
    mean, std : float or three, optional
        In RGB order: of pixels from 0 to 1 or, if any number is above 1, from 0 to 255.
    channels : {"rgb", "bgr"}, optional
        Their order in the input.
    cache_dir
        Not used: nothing is exported.
    **options
        ``threads`` and ``batch_size`` of ``ImageEmbedder``.

    Returns
    -------
    ImageEmbedder
        Its name holds the absolute path and the options, so ``load`` makes the same one from it. Its fingerprint is
        the SHA-256 of the file (and of files that hold its weights), the output and the preprocessing.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FormatError
        If it is no model that ONNX Runtime can load, or metadata are no JSON.
    ValueError
        For a model with other inputs or outputs, and for options that do not fit it.

    Examples
    --------
    >>> import numpy as np, onnx, onnx.helper as make, simskip.embedding
    >>> x = make.make_tensor_value_info("pictures", onnx.TensorProto.FLOAT, ["n", 3, 32, 32])
    >>> y = make.make_tensor_value_info("colour", onnx.TensorProto.FLOAT, ["n", 3, 1, 1])
    >>> node = make.make_node("GlobalAveragePool", ["pictures"], ["colour"])
    >>> graph = make.make_graph([node], "colour", [x], [y])
    >>> onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8), "colour.onnx")
    >>> embedder = simskip.embedding.images("onnx:colour.onnx", mean=0, std=1)
    >>> embedder.embed(np.full((1, 8, 8, 3), 51, np.uint8)).round(3)
    array([[0.2, 0.2, 0.2]], dtype=float32)
    """
    if pooling is not None:
        choice(pooling, "pooling", POOLINGS)
    if layout is not None:
        choice(layout, "layout", LAYOUTS)
    if output is not None:
        output = str(output)  # exporters number their outputs; "495" comes as a number from a name
    file = Path(path).expanduser().resolve()
    given = {
        "size": size, "framing": framing, "crop": crop, "interpolation": interpolation, "mean": mean, "std": std,
        "channels": channels,
    }  # fmt: skip
    settings = [plain_settings(given)]
    metadata = OnnxSession(file).metadata
    settings += [settings_of(metadata, f"the metadata of {file}") if metadata else {}, settings_beside(file)]
    name = joined(f"onnx:{file}", {**given, "output": output, "pooling": pooling, "layout": layout})
    return ImageEmbedder(
        OnnxEngine(file, name, f"sha256={_content(file)}", settings, output, pooling, layout), **options
    )


def _picture_input(inputs: list[Any], path: Path) -> Any:
    if len(inputs) == 1 and len(inputs[0].shape or ()) == 4 and inputs[0].type in _DTYPES:
        return inputs[0]
    listed = ", ".join(f"{each.name!r} {each.type} {each.shape}" for each in inputs)
    raise ValueError(f"{path} must have one input of rank 4 and type uint8, float or float16, got {listed or 'none'}")


def _layout(shape: list[Any]) -> str:
    if shape[1] in (1, 3):
        return "nchw"
    return "nhwc" if shape[3] in (1, 3) else "nchw"


def _with_size(settings: Sequence[Mapping[str, Any]], height: Any, width: Any, path: Path) -> list[Mapping[str, Any]]:
    """The settings, the graph's own size before all others; an option that contradicts it is an error."""
    asked = next((each["size"] for each in settings if "size" in each), (224, 224))
    fixed = tuple(
        own if isinstance(own, int) and own > 0 else side for own, side in zip((height, width), asked, strict=True)
    )
    wanted = settings[0].get("size", fixed) if settings else fixed
    if wanted != fixed:
        raise ValueError(f"size must be {fixed}, as {path} fixes it, got {wanted}")
    return [{"size": fixed}, *settings]


def _output(outputs: list[Any], wanted: str | None, path: Path) -> str:
    known = [str(each.name) for each in outputs]
    if wanted is not None:
        if wanted not in known:
            raise ValueError(f"output must be one of {', '.join(map(repr, known))} of {path}, got {wanted!r}")
        return wanted
    ranks = {str(each.name): len(each.shape or ()) for each in outputs}
    for name in (*(name for name in _VECTORS if ranks.get(name) in (2, 4)), *known):
        if len(known) == 1 or ranks[name] in (2, 4):
            return name
    raise ValueError(
        f"output must be chosen from {', '.join(map(repr, known))} of {path}: none holds a row per picture"
    )


def _content(path: Path) -> str:
    """SHA-256 of the model and of the files beside it that hold its weights."""
    data = path.read_bytes()
    digest = hashlib.sha256(data)
    # How protobuf writes the key "location" of an external tensor.
    if re.search(rb"\x0a\x08location\x12", data):
        onnx = require("onnx", "images", "Reading a model with its weights in another file")
        model = onnx.load(str(path), load_external_data=False)
        found = {
            entry.value
            for tensor in model.graph.initializer
            for entry in tensor.external_data
            if entry.key == "location"
        }
        for location in sorted(found):
            file = path.parent / location
            try:
                digest.update(file.read_bytes())
            except OSError as error:
                raise FormatError(f"{path} keeps weights in {file}, which cannot be read: {error}") from error
    return digest.hexdigest()
