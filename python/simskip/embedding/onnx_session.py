"""Runs an ONNX graph: one thread per call, so that the caller's threads are the only ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..extras import require
from .ordered_work import Cancellation

__all__ = ["OnnxSession"]


class OnnxSession:
    """A graph loaded by ONNX Runtime; safe to run from several threads, picklable while its file is there.

    Parameters
    ----------
    path : path
        An ``.onnx`` file.

    Raises
    ------
    ImportError
        If the extra ``images`` is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._runtime = runtime = require("onnxruntime", "images", "Embedding images")
        options = runtime.SessionOptions()
        # Parallel over batches, in our threads: no spinning pool beside OpenMP's, and the sums do not depend on
        # the count.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])

    def run(self, output: str, inputs: dict[str, Any], cancellation: Cancellation) -> Any:
        """The output of that name; ends between two nodes of the graph once it is cancelled."""
        options = self._runtime.RunOptions()
        with cancellation.during(lambda: setattr(options, "terminate", True)):
            try:
                return self._session.run([output], inputs, options)[0]
            except Exception as error:
                cancellation.check()  # "Exiting due to terminate flag" is no failure
                raise error

    def __reduce__(self) -> tuple[Any, ...]:
        return OnnxSession, (self.path,)
