from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

class NetworkSettings:
    n_bits: int
    hidden: list[int]
    activation: str
    dropout: float
    input_dropout: float
    batch_norm: bool
    output: str
    def __init__(self) -> None: ...

class Settings:
    network: NetworkSettings
    objective: str
    objective_options: dict[str, float]
    epochs: int
    steps_per_epoch: int
    batch_size: int
    anchors: int
    neighbors_per_anchor: int
    rows_per_class: int
    prefixes: list[int]
    optimizer: str
    schedule: str
    learning_rate: float
    weight_decay: float
    patience: int
    seed: int
    threads: int
    def __init__(self) -> None: ...

class ObjectiveInfo:
    @property
    def name(self) -> str: ...
    @property
    def formula(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def supervision(self) -> str: ...
    @property
    def towers(self) -> int: ...
    @property
    def options(self) -> dict[str, float]: ...

_Layer = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

class Start(TypedDict):
    layers: Sequence[_Layer]
    residual: _Layer | None

class Tower(TypedDict, total=False):
    inputs: npt.NDArray[np.float32] | npt.NDArray[np.float16]
    row_scale: npt.NDArray[np.float32] | None
    centre: npt.NDArray[np.float32] | None
    gain: npt.NDArray[np.float32] | None
    noise: npt.NDArray[np.float32] | None
    residual_weight: npt.NDArray[np.float32] | None
    residual_bias: npt.NDArray[np.float32] | None
    start: Start | None

class Checkpoint(TypedDict):
    epoch: int
    best_epoch: int
    best: float | None
    tensors: list[npt.NDArray[np.float32]]

class Outcome(TypedDict):
    networks: list[tuple[list[_Layer], _Layer | None]]
    centres: list[npt.NDArray[np.float32]]
    best_epoch: int
    epochs_done: int
    interrupted: bool
    stopped_early: bool

def objectives() -> list[ObjectiveInfo]: ...
def torch_version() -> str: ...
def train(
    settings: Settings,
    towers: Sequence[Tower],
    rows: npt.NDArray[np.int32],
    on_epoch: Callable[[dict[str, Any], npt.NDArray[np.float32]], tuple[float | None, bool]],
    *,
    evaluation_rows: npt.NDArray[np.int32] | None = None,
    row_bias: npt.NDArray[np.float32] | None = None,
    labels: npt.NDArray[np.int32] | None = None,
    targets: npt.NDArray[np.float32] | None = None,
    n_classes: int = 0,
    anchors: npt.NDArray[np.int32] | None = None,
    neighbors: npt.NDArray[np.int32] | None = None,
    custom_loss: Callable[
        [npt.NDArray[np.float32], npt.NDArray[np.int32], float], tuple[float, npt.NDArray[np.float32]]
    ]
    | None = None,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
    resume: Checkpoint | None = None,
) -> Outcome: ...
