from collections.abc import Callable
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
    def needs_labels(self) -> bool: ...
    @property
    def needs_neighbors(self) -> bool: ...
    @property
    def options(self) -> dict[str, float]: ...

class Outcome(TypedDict):
    layers: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
    residual: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None
    best_epoch: int
    epochs_done: int
    interrupted: bool
    stopped_early: bool

def objectives() -> list[ObjectiveInfo]: ...
def torch_version() -> str: ...
def train(
    settings: Settings,
    inputs: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int32],
    on_epoch: Callable[[dict[str, Any], npt.NDArray[np.float32]], tuple[float | None, bool]],
    *,
    evaluation_rows: npt.NDArray[np.int32] | None = None,
    row_scale: npt.NDArray[np.float32] | None = None,
    row_bias: npt.NDArray[np.float32] | None = None,
    centre: npt.NDArray[np.float32] | None = None,
    gain: npt.NDArray[np.float32] | None = None,
    noise: npt.NDArray[np.float32] | None = None,
    labels: npt.NDArray[np.int32] | None = None,
    n_classes: int = 0,
    anchors: npt.NDArray[np.int32] | None = None,
    neighbors: npt.NDArray[np.int32] | None = None,
    residual_weight: npt.NDArray[np.float32] | None = None,
    residual_bias: npt.NDArray[np.float32] | None = None,
) -> Outcome: ...
