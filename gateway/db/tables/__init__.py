"""Every table, one noun a file. Importing this package fills Base.metadata."""

from gateway.db.tables.api_keys import ApiKeyRow
from gateway.db.tables.changes import ChangeRow
from gateway.db.tables.exchanges import ExchangeRow
from gateway.db.tables.files import FileRow, UploadPartRow, UploadRow
from gateway.db.tables.fine_tuning import (
    CheckpointPermissionRow,
    FineTuningCheckpointRow,
    FineTuningEventRow,
    FineTuningJobRow,
    ModelRow,
)
from gateway.db.tables.projects import ProjectRow, ServiceAccountRow
from gateway.db.tables.routes import RouteRevisionRow, RouteRow
from gateway.db.tables.serving import DeploymentEventRow, LoadedModelRow, ReplicaRow
from gateway.db.tables.training_runs import TrainingHardwareRow, TrainingSpeedRow
from gateway.db.tables.upstreams import UpstreamRow

__all__ = [
    "ApiKeyRow",
    "ChangeRow",
    "CheckpointPermissionRow",
    "DeploymentEventRow",
    "ExchangeRow",
    "FileRow",
    "FineTuningCheckpointRow",
    "FineTuningEventRow",
    "FineTuningJobRow",
    "LoadedModelRow",
    "ModelRow",
    "ProjectRow",
    "ReplicaRow",
    "RouteRevisionRow",
    "RouteRow",
    "ServiceAccountRow",
    "TrainingHardwareRow",
    "TrainingSpeedRow",
    "UploadPartRow",
    "UploadRow",
    "UpstreamRow",
]
