"""Every table, one noun a file. Importing this package fills Base.metadata."""

from gateway.db.tables.api_keys import ApiKeyRow
from gateway.db.tables.changes import ChangeRow
from gateway.db.tables.exchanges import ExchangeRow
from gateway.db.tables.files import FileRow
from gateway.db.tables.fine_tuning import FineTuningCheckpointRow, FineTuningEventRow, FineTuningJobRow, ModelRow
from gateway.db.tables.projects import ProjectRow, ServiceAccountRow

__all__ = [
    "ApiKeyRow",
    "ChangeRow",
    "ExchangeRow",
    "FileRow",
    "FineTuningCheckpointRow",
    "FineTuningEventRow",
    "FineTuningJobRow",
    "ModelRow",
    "ProjectRow",
    "ServiceAccountRow",
]
