"""Models of timm and torchvision by their names."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..extras import require
from .image_embedder import ImageEmbedder
from .model_metadata import settings_of_transforms, timm_settings
from .model_name import joined
from .preprocessing import Preprocessing, plain_settings
from .torch_model import import_torch, state_fingerprint, torch_embedder

__all__ = ["timm_embedder", "torchvision_embedder"]


def timm_embedder(name: str, *, weights: str | os.PathLike[str] | None = None, **options: Any) -> ImageEmbedder:
    """A model of timm (PyTorch Image Models) without its classifier: ``simskip.embedding.images("timm:NAME")``.

    Preprocessing is the model's own (``timm.data.resolve_model_data_config``) unless options overrule it.

    Parameters
    ----------
    name : str
        As for ``timm.create_model``: ``"resnet18"``, ``"vit_small_patch16_224.dino"``, ``"hf-hub:OWNER/MODEL"``, ...
    weights : path, optional
        A local checkpoint (``.safetensors``, or a ``.pth`` that holds tensors only). Without it timm looks in its
        cache and downloads what is not there.
    **options
        As for ``torchscript_embedder``.

    Raises
    ------
    ImportError
        If timm, torchvision (which it needs) or PyTorch cannot be imported; the message says which and why.
    ValueError
        For a name that timm does not know, weights of another model, and options out of range.
    OSError
        If the weights cannot be had.
    FormatError
        If the file of weights is damaged.
    """
    timm = _imported("timm", f"timm:{name}", needs="torchvision")
    hosted = ":" in name  # "hf-hub:OWNER/MODEL"
    if not hosted and not timm.is_model(name):
        raise ValueError(f"name must be a model of timm, got {name!r}{_similar(timm.list_models(f'*{name}*'))}")
    try:
        model = timm.create_model(name, pretrained=weights is None, num_classes=0)
    except Exception as error:  # of the hub's client, of urllib, RuntimeError for models without weights
        if weights is None or hosted:
            raise _no_weights(f"timm:{name}", error) from error
        raise
    if weights is not None:
        heads = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
        _load_weights(model, weights, f"timm:{name}", (heads,) if isinstance(heads, str) else tuple(heads))
    found = timm_settings(timm.data.resolve_model_data_config(model), f"timm's configuration of {name}")
    return _embedder("timm", name, model, weights, found, options)


def torchvision_embedder(name: str, *, weights: str | os.PathLike[str] | None = None, **options: Any) -> ImageEmbedder:
    """A classifier of torchvision without its last layer: ``simskip.embedding.images("torchvision:NAME")``.

    Preprocessing is that of the default weights unless options overrule it.

    Parameters
    ----------
    name : str
        ``"resnet18"``, ``"resnet50"``, ``"vgg16"``, ...: a model of ``torchvision.models`` whose last layer is linear.
    weights : path, optional
        A local checkpoint with the classifier, as torchvision publishes them. Without it torchvision looks in its
        cache and downloads what is not there.
    **options
        As for ``torchscript_embedder``.

    Raises
    ------
    ImportError
        If torchvision or PyTorch cannot be imported; the message says which and why.
    ValueError
        For a name that torchvision does not know, weights of another model, and options out of range.
    OSError
        If the weights cannot be had.
    FormatError
        If the file of weights is damaged.
    """
    models = _imported("torchvision", f"torchvision:{name}").models
    if name not in models.list_models(module=models):
        similar = _similar(models.list_models(module=models, include=f"*{name}*"))
        raise ValueError(f"name must be a classifier of torchvision.models, got {name!r}{similar}")
    default = models.get_model_weights(name).DEFAULT
    model = models.get_model(name, weights=None)
    if weights is not None:
        _load_weights(model, weights, f"torchvision:{name}", ())
    else:
        try:
            model.load_state_dict(default.get_state_dict(progress=False, check_hash=True))
        except Exception as error:  # of urllib, or RuntimeError for a wrong hash
            raise _no_weights(f"torchvision:{name}", error) from error
    found = settings_of_transforms(default.transforms(), f"torchvision's configuration of {name}")
    return _embedder("torchvision", name, without_classifier(model, name), weights, found, options)


def without_classifier(model: Any, name: str) -> Any:
    """The model with its last linear layer replaced by what goes in."""
    torch = import_torch("Embedding images")
    linear = [path for path, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    if not linear:
        raise ValueError(f"name must be a model that ends in a linear layer, got {name!r}")
    parent, _, last = linear[-1].rpartition(".")
    setattr(model.get_submodule(parent), last, torch.nn.Identity())
    return model


def _embedder(
    family: str,
    name: str,
    model: Any,
    weights: str | os.PathLike[str] | None,
    found: Mapping[str, Any],
    options: dict[str, Any],
) -> ImageEmbedder:
    keys = ("size", "framing", "crop", "interpolation", "mean", "std", "channels")
    given = {key: options.pop(key, None) for key in keys}
    file = None if weights is None else str(Path(weights).expanduser().resolve())
    own = {"weights": file, **given, **{key: options.get(key) for key in ("output", "pooling", "engine")}}
    module = model.eval()
    return torch_embedder(
        lambda: module,
        name=joined(f"{family}:{name}", own),
        identity=f"{family} {name} state={state_fingerprint(module)}",
        preprocessing=Preprocessing.of(plain_settings(given), found),
        **options,
    )


def _imported(library: str, wanted: str, needs: str | None = None) -> Any:
    """The library; torchvision fails with RuntimeError beside a PyTorch that it was not built for."""
    torch = import_torch(wanted)
    for each in (needs, library):
        if each is None:
            continue
        try:
            found = importlib.import_module(each)
        except Exception as error:
            raise ImportError(
                f"{wanted} needs {each}, and {each} could not be imported ({str(error).strip()}): it must be installed"
                f' (pip install "simskip[zoo]") in the build for PyTorch {torch.__version__}. A model exported to ONNX'
                " elsewhere needs neither: onnx:PATH"
            ) from error
    return found


def _similar(names: Sequence[str]) -> str:
    return f"; similar: {', '.join(map(repr, names[:5]))}" if names else ""


def _no_weights(wanted: str, error: Exception) -> OSError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return OSError(f"the weights of {wanted} could not be had ({reason}); give a local file: weights=PATH")


def _load_weights(model: Any, path: str | os.PathLike[str], wanted: str, heads: Sequence[str]) -> None:
    """Load a checkpoint; what belongs to a classifier that was taken off (``heads``) is left out."""
    state = _state(Path(path).expanduser())
    known = model.state_dict()
    state = {
        key: value for key, value in state.items() if key in known or not key.startswith(tuple(f"{h}." for h in heads))
    }
    missing, unknown = sorted(known.keys() - state.keys()), sorted(state.keys() - known.keys())
    wrong = [key for key in known if key in state and known[key].shape != state[key].shape]
    for problem, keys in (("lacks", missing), ("has, unknown to the model,", unknown), ("has in another shape", wrong)):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise ValueError(f"weights must be of {wanted}, but {path} {problem} {keys[0]!r}{more}")
    model.load_state_dict(state)


def _state(path: Path) -> dict[str, Any]:
    torch = import_torch("Reading weights")
    state: Any
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            state = require("safetensors.torch", "zoo", "Reading .safetensors").load_file(str(path))
        else:
            state = torch.load(str(path), map_location="cpu", weights_only=True)
    except ImportError:
        raise
    except Exception as error:  # of pickle, of zipfile, of safetensors
        raise FormatError(f"{path} holds no readable weights: {str(error).strip().partition(chr(10))[0]}") from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise FormatError(f"{path} must hold a dict of tensors")
    return {key.removeprefix("module."): value for key, value in state.items()}
