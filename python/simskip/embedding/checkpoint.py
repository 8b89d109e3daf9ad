"""Reads the tensors of a PyTorch checkpoint without PyTorch.

Weights come in PyTorch's file format before version 1.6: a magic number, a protocol version and system facts
(three pickles), the state dict (a pickle whose tensors point at named storages), the storages' names (a
pickle), then the storages themselves, each an int64 length followed by its elements. Reading it here keeps
PyTorch out of what embedding needs, and runs no code from the file: the unpickler knows the four names below
and refuses all others.
"""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import FormatError

__all__ = ["read_checkpoint"]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype[Any]
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"a checkpoint of tensors must not name {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, length, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"unknown reference {pid!r}")
        return _Storage(key, dtype, length)


def _read_storage(file: BinaryIO, storage: _Storage, file_size: int) -> npt.NDArray[Any]:
    head = file.read(8)
    length = int.from_bytes(head, "little", signed=True)
    n_bytes = length * storage.dtype.itemsize
    if len(head) < 8 or length != storage.length or not 0 <= n_bytes <= file_size - file.tell():
        raise ValueError(f"storage {storage.key} has length {length}, expected {storage.length}")
    return np.frombuffer(file.read(n_bytes), storage.dtype)


def _tensor(tensor: _Tensor, storages: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    data = storages[tensor.storage.key]
    extent = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0 or (
        0 not in tensor.shape and tensor.offset + extent >= len(data)
    ):
        raise ValueError(f"a tensor of shape {tensor.shape} and strides {tensor.strides} leaves its storage")
    strides = [stride * data.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(data[tensor.offset :], tensor.shape, strides, writeable=False)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a state dict saved by PyTorch before 1.6 (or with the old format switched on).

    Parameters
    ----------
    path : path
        A ``.pth`` file that holds a dict of float32 and int64 tensors.

    Returns
    -------
    dict of str to array
        Read-only arrays by parameter name, in the file's order.

    Raises
    ------
    FormatError
        If the file is of another kind, cut short, or holds anything but tensors.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            if _Unpickler(file).load() != _MAGIC or _Unpickler(file).load() != _PROTOCOL:
                raise ValueError("another kind of file")
            if not _Unpickler(file).load().get("little_endian"):
                raise ValueError("big-endian numbers")
            tensors: dict[str, _Tensor] = _Unpickler(file).load()
            keys = _Unpickler(file).load()
            by_key = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
            storages = {key: _read_storage(file, by_key[key], size) for key in keys}
            return {name: _tensor(tensor, storages) for name, tensor in tensors.items()}
        # The pickle machine raises nearly anything on damaged input (KeyError, AttributeError, MemoryError,
        # ...).
        except Exception as error:
            raise FormatError(f"{path} is not a readable checkpoint: {error} (near byte {file.tell()})") from error
