"""Runs an ONNX graph: one thread per call, so that the caller's threads are the only ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..extras import require
from .ordered_work import Cancellation

__all__ = ["OnnxSession"]


class OnnxSession:
    """A graph loaded by ONNX Runtime; safe to run from several threads, picklable while its file is there.

    Parameters
    ----------
    path : path or bytes
        An ``.onnx`` file or the content of one.
    extra : {"images", "text"}
        The extra of simskip that brings ONNX Runtime, for the error message.

    Raises
    ------
    ImportError
        If ONNX Runtime is missing.
    FileNotFoundError
        If there is no such file.
    FormatError
        If it is no model that ONNX Runtime can load.
    """

    def __init__(self, path: Path | bytes, extra: str = "images") -> None:
        self._source, self._extra = path, extra
        self.path = path if isinstance(path, Path) else "the ONNX graph"
        self._runtime = runtime = require("onnxruntime", extra, f"Embedding {extra}")
        options = runtime.SessionOptions()
        # Parallel over batches, in our threads: no spinning pool beside OpenMP's, and the sums do not depend on
        # the count.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        if isinstance(path, Path) and not path.is_file():
            raise FileNotFoundError(f"there is no ONNX model at {path}")
        try:
            # By its path, so that weights in a file beside it are found.
            self._session = runtime.InferenceSession(
                path if isinstance(path, bytes) else str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of a module of ONNX Runtime's own, one class per status code
            raise FormatError(f"{self.path} is no model that ONNX Runtime can load: {error}") from error

    @property
    def inputs(self) -> list[Any]:
        """Those that must be fed; each has a ``name``, a ``shape`` (numbers, names or None) and a ``type``."""
        return list(self._session.get_inputs())

    @property
    def outputs(self) -> list[Any]:
        """As ``inputs``."""
        return list(self._session.get_outputs())

    @property
    def metadata(self) -> dict[str, str]:
        """The model's ``metadata_props``."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, output: str, inputs: dict[str, Any], cancellation: Cancellation) -> Any:
        """The output of that name; ends between two nodes of the graph once it is cancelled.

        Raises ``FormatError`` if the graph fails on these inputs.
        """
        options = self._runtime.RunOptions()
        options.log_severity_level = 4
        with cancellation.during(lambda: setattr(options, "terminate", True)):
            try:
                return self._session.run([output], inputs, options)[0]
            except Exception as error:
                cancellation.check()  # "Exiting due to terminate flag" is no failure
                raise FormatError(f"{self.path} cannot be run: {error}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return OnnxSession, (self._source, self._extra)
