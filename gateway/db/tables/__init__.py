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
from gateway.db.tables.training_runs import TrainingHardwareRow, TrainingSpeedRow

__all__ = [
    "ApiKeyRow",
    "ChangeRow",
    "CheckpointPermissionRow",
    "ExchangeRow",
    "FileRow",
    "FineTuningCheckpointRow",
    "FineTuningEventRow",
    "FineTuningJobRow",
    "ModelRow",
    "ProjectRow",
    "ServiceAccountRow",
    "TrainingHardwareRow",
    "TrainingSpeedRow",
    "UploadPartRow",
    "UploadRow",
]
