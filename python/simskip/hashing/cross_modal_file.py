"""A CrossModalHash on disk: one weights file with both sides' tensors, named first.* and second.*."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from . import weights
from .hasher import _build
from .pair_recipe import pair_recipe
from .paired import SIDES, PairedHash
from .recipes import widths

if TYPE_CHECKING:
    from .cross_modal import CrossModalHash

__all__ = ["from_bytes", "read", "to_bytes"]

FORMAT = "simskip-cross-modal"
FORMAT_VERSION = 1


def to_bytes(model: CrossModalHash) -> bytes:
    """The content of the file of a fitted model."""
    from .. import __version__

    params = {k: v.item() if isinstance(v, np.generic) else v for k, v in model.get_params().items()}
    del params["threads"]  # of this machine, not of the hasher
    params["hidden"] = list(widths(model.hidden))
    params["metric"] = model.metric if isinstance(model.metric, str) else list(model.metric)
    if model.objective_options is not None:
        params["objective_options"] = {k: float(v) for k, v in model.objective_options.items()}
    # Seconds are left out: the same training must give the same file.
    history = [{k: v for k, v in record.items() if k != "seconds"} for record in model.history_]
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "simskip_version": __version__,
        "parameters": json.dumps(params, sort_keys=True, allow_nan=False),
        "history": json.dumps(history, allow_nan=False),
        "best_epoch": str(model.best_epoch_),
    }
    tensors: dict[str, npt.NDArray[Any]] = {}
    for side, hasher in zip(SIDES, (model.first_, model.second_), strict=True):
        own, described = hasher._parts()
        tensors.update({f"{side}.{name}": tensor for name, tensor in own.items()})
        metadata[side] = json.dumps(described)
    return weights.to_bytes(tensors, metadata)


def read(cls: type[CrossModalHash], path: str | os.PathLike[str]) -> CrossModalHash:
    """The model of a file; see ``CrossModalHash.load``."""
    return _model(cls, *weights.read_weights(path), os.fspath(path))


def from_bytes(cls: type[CrossModalHash], content: bytes, where: str = "CrossModalHash") -> CrossModalHash:
    """The inverse of ``to_bytes``; ``where`` names the content in errors."""
    return _model(cls, *weights.from_bytes(content, where), where)


def _model(
    cls: type[CrossModalHash], tensors: dict[str, npt.NDArray[Any]], metadata: Mapping[str, str], where: str
) -> CrossModalHash:
    if metadata.get("format") != FORMAT:
        raise FormatError(f"{where}: not a CrossModalHash: its metadata say format {metadata.get('format')!r}")
    if metadata.get("format_version") != str(FORMAT_VERSION):
        raise FormatError(
            f"{where}: CrossModalHash format version {metadata.get('format_version')!r} (written by simskip "
            f"{metadata.get('simskip_version')}), this simskip reads version {FORMAT_VERSION}"
        )
    try:
        params = json.loads(metadata["parameters"])
        params["hidden"] = tuple(params["hidden"])
        if not isinstance(params["metric"], str):
            params["metric"] = tuple(params["metric"])
        model = cls(**params)
        pair_recipe(model)
        sides: list[PairedHash] = []
        for side in SIDES:
            own = {name[len(side) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(side + ".")}
            hasher = _build(own, json.loads(metadata[side]), f"{where}, the {side} side")
            if not isinstance(hasher, PairedHash) or hasher.side != side or hasher.n_bits != model.n_bits:
                raise ValueError(f"the {side} side does not belong to it")
            sides.append(hasher)
        model._take(sides[0], sides[1], json.loads(metadata["history"]), int(metadata["best_epoch"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{where}: parameters or tensors do not make a CrossModalHash: {error!r}") from error
    return model
