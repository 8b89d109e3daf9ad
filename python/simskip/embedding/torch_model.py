"""PyTorch modules as embedders: exported to ONNX where that works, run by PyTorch where it does not."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import cache
from ..errors import FormatError
from ..extras import require
from ..validation import choice
from .image_embedder import ImageEmbedder
from .onnx_model import OnnxEngine
from .onnx_session import OnnxSession
from .ordered_work import Cancellation
from .picture import Geometry
from .pooling import POOLINGS
from .preprocessing import Preprocessing

__all__ = ["ENGINES", "TorchEngine", "import_torch", "quiet", "state_fingerprint", "torch_embedder"]

ENGINES = ("auto", "onnx", "torch")
# Part of the exported file's identity: raise it when the same module gives another graph.
_EXPORT_VERSION = 1
_OPSET = 17
# The exported graph must agree with the module up to this part of the largest number.
_TOLERANCE = 1e-3

_threads = threading.local()
_thread_setup = threading.Lock()


class _NotExportedError(Exception):
    """The module cannot be had as an ONNX graph; the message says why."""


def import_torch(purpose: str) -> Any:
    """PyTorch, or the ImportError that says how to get it."""
    return require("torch", "train", purpose)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without PyTorch's notices that TorchScript is no longer developed, and without its tracer's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def state_fingerprint(module: Any) -> str:
    """SHA-256 over names, shapes and elements of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)};".encode())
        digest.update(array.reshape(-1).view(import_torch("Embedding images").uint8).numpy())
    return digest.hexdigest()


class TorchEngine:
    """A module run by PyTorch: channels last, without gradients, one thread per call.

    Parameters
    ----------
    model : Module
        float32 (n, 3, h, w) -> (n, d); see ``_picture_model``.
    name, fingerprint : str
    preprocessing : Preprocessing
    cache_dir : path, optional
        For making it again from its name, which is how it is pickled.
    """

    concurrent = True

    def __init__(self, model: Any, name: str, fingerprint: str, preprocessing: Preprocessing, cache_dir: Any) -> None:
        self.name, self.fingerprint, self.preprocessing = name, fingerprint, preprocessing
        self._torch = torch = import_torch("Embedding images")
        self._model = model.to(memory_format=torch.channels_last)
        self._cache_dir = cache_dir
        blank = np.zeros((*self.geometry.size, 3), np.uint8)
        self.dim = self.run([blank], Cancellation()).shape[1]

    @property
    def geometry(self) -> Geometry:
        """How images become its input."""
        return self.preprocessing.geometry

    def run(self, pixels: list[npt.NDArray[np.uint8]], cancellation: Cancellation) -> npt.NDArray[np.float32]:
        """See ``ImageEngine``; a call that runs cannot be ended early."""
        if threading.current_thread() is not threading.main_thread():
            _one_thread(self._torch)
        batch = self._torch.from_numpy(self.preprocessing.tensor(pixels, "nchw"))
        with self._torch.inference_mode():
            vectors = self._model(batch.contiguous(memory_format=self._torch.channels_last))
        return np.ascontiguousarray(vectors.float().numpy())

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self.name, self._cache_dir)


def _remade(name: str, cache_dir: Any) -> Any:
    from .registry import images

    return images(name, cache_dir=cache_dir).engine


def _one_thread(torch: Any) -> None:
    """Let PyTorch use one thread in this thread, as the callers are parallel already, and nowhere else.

    ``set_num_threads`` sets the caller's number and that of threads to come; the latter is set back by a thread
    that ends.
    """
    if getattr(_threads, "single", False):
        return
    with _thread_setup:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        restore = threading.Thread(target=torch.set_num_threads, args=(before,))
        restore.start()
        restore.join()
    _threads.single = True


def torch_embedder(
    load: Callable[[], Any],
    *,
    name: str,
    identity: str,
    preprocessing: Preprocessing,
    output: str | int | None = None,
    pooling: str | None = None,
    engine: str = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> ImageEmbedder:
    """An embedder from a PyTorch module: what ``torchscript:``, ``timm:`` and ``torchvision:`` have in common.

    Parameters
    ----------
    load : callable
        Returns the module, in evaluation mode: float32 (n, 3, h, w) -> tensor, or a tuple or dict of them. Not
        called when an exported graph is in the cache.
    name, identity : str
        What ``load`` of the registry makes it from, and what stands for its weights and code in the fingerprint.
    preprocessing : Preprocessing
    output : int or str, optional
        Which of a tuple or dict; the first or only one by default.
    pooling : {"mean", "first"}, optional
        For outputs (n, tokens, d). Feature maps of rank 4 are averaged.
    engine : {"auto", "onnx", "torch"}
        ``"auto"`` exports the module to ONNX, checks on noise that both agree, keeps the graph in the cache and runs
        it with ONNX Runtime (about four times as fast as PyTorch on a processor: 196 against 45 images a second on
        two cores for EfficientNet-Lite0); if the export fails, PyTorch runs it. The fingerprint is the same.
    cache_dir : path, optional
        See ``simskip.cache.cache_dir``.
    **options
        ``threads`` and ``batch_size`` of ``ImageEmbedder``.

    Raises
    ------
    ValueError
        If the module's output cannot be one vector per picture; with ``engine="onnx"`` also if it cannot be exported.
    """
    choice(engine, "engine", ENGINES)
    if pooling is not None:
        choice(pooling, "pooling", POOLINGS)
    fingerprint = f"torch {identity} output={output} pooling={pooling} {preprocessing.fingerprint}"
    geometry = preprocessing.geometry
    model: list[Any] = []

    def made() -> Any:
        if not model:
            model.append(_picture_model(load(), output, pooling))
        return model[0]

    if engine != "torch":
        try:
            path = cache.cached_bytes(
                "torch-model",
                cache.fingerprint(
                    "torch export", str(_EXPORT_VERSION), identity, f"{output} {pooling} {geometry.size}"
                ),
                "onnx",
                lambda: [_exported(made(), geometry.size)],
                cache_dir,
            )
        except _NotExportedError as error:
            if engine == "onnx":
                raise ValueError(f"engine must be 'torch' for {name}, which has no ONNX form: {error}") from error
        else:
            settings = {
                "size": geometry.size, "framing": geometry.framing, "crop": geometry.crop,
                "interpolation": geometry.interpolation, "mean": preprocessing.mean, "std": preprocessing.std,
                "channels": preprocessing.channels,
            }  # fmt: skip
            graph = OnnxEngine(path, name, identity, [settings], fingerprint=fingerprint)
            return ImageEmbedder(graph, **options)
    return ImageEmbedder(TorchEngine(made(), name, fingerprint, preprocessing, cache_dir), **options)


def _picture_model(module: Any, output: str | int | None, pooling: str | None) -> Any:
    """The module with its output chosen and pooled to (n, d) float32."""
    torch = import_torch("Embedding images")

    class PictureModel(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, pictures: Any) -> Any:
            features = _chosen(self.module(pictures), output, torch)
            if features.ndim == 4:
                features = features.mean((2, 3))
            elif features.ndim == 3 and pooling is not None:
                features = features.mean(1) if pooling == "mean" else features[:, 0]
            elif features.ndim == 3:
                raise ValueError(
                    f"pooling must be 'mean' or 'first' for an output of shape {tuple(features.shape)} (n, tokens, d)"
                )
            elif features.ndim != 2:
                raise ValueError(
                    f"output must have shape (n, d), (n, tokens, d) or a feature map's, got {tuple(features.shape)}"
                )
            return features

    return PictureModel().eval()


def _chosen(result: Any, output: str | int | None, torch: Any) -> Any:
    if isinstance(result, torch.Tensor):
        if output not in (None, 0):
            raise ValueError(f"output must be left out where the model puts out one tensor, got {output!r}")
        return result
    parts = dict(result) if isinstance(result, dict) else dict(enumerate(result))
    key = next(iter(parts), None) if output is None else output
    if not isinstance(parts.get(key), torch.Tensor):
        raise ValueError(f"output must be one of {', '.join(map(repr, parts))}, got {key!r}")
    return parts[key]


@contextlib.contextmanager
def _exporting(torch: Any) -> Iterator[None]:
    """Without notices, without the graph that a failed export prints, without fused attention (which has no ONNX)."""
    fused, log = torch.backends.mha.get_fastpath_enabled(), torch._C._jit_onnx_log
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._jit_onnx_log = lambda *_: None  # it has a switch, which the exporter of 2.13 turns on every time
    try:
        with quiet(), torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        torch._C._jit_onnx_log = log


def _exported(model: Any, size: tuple[int, int]) -> bytes:
    """The model as ONNX, of any batch size, if both agree on noise.

    PyTorch's older exporter, by tracing: the newer one needs ``onnxscript``.
    """
    torch = import_torch("Embedding images")
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((3, 3, *size), generator=generator)
    with torch.inference_mode():
        expected = model(noise).float().numpy()
    file = io.BytesIO()
    try:
        with _exporting(torch):
            if isinstance(model.module, torch.jit.ScriptModule):  # the exporter's own tracer stops at such parts
                model = torch.jit.trace(model, noise[:2].clone(), check_trace=False)
            torch.onnx.export(
                model, (noise[:2].clone(),), file, input_names=["pictures"], output_names=["vectors"],
                dynamic_axes={"pictures": {0: "n"}, "vectors": {0: "n"}}, opset_version=_OPSET, dynamo=False,
            )  # fmt: skip
    # Operators without a counterpart, missing packages, tracer errors: each raises something of its own.
    except Exception as error:
        raise _NotExportedError(str(error).strip().partition("\n")[0] or type(error).__name__) from error
    content = file.getvalue()
    try:
        found = OnnxSession(content).run("vectors", {"pictures": noise.numpy()}, Cancellation())
    except FormatError as error:
        raise _NotExportedError(str(error)) from error
    if found.shape != expected.shape or not np.allclose(found, expected, atol=_TOLERANCE * np.abs(expected).max()):
        raise _NotExportedError("its results differ from PyTorch's")
    return content
