"""A run on disk: its configuration, metrics, checkpoints and status. Imports no JAX: looking is quick."""

from tegu.runs import checkpoint
from tegu.runs.checkpoint import Checkpoint, CheckpointError, Chunk
from tegu.runs.export import ExportError, to_csv, to_tensorboard
from tegu.runs.metrics import MetricsError, MetricStore
from tegu.runs.run import Run, RunError, Status

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Chunk",
    "ExportError",
    "MetricStore",
    "MetricsError",
    "Run",
    "RunError",
    "Status",
    "checkpoint",
    "to_csv",
    "to_tensorboard",
]
