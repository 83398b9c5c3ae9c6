"""Every table, one noun a file. Importing this package fills Base.metadata."""

from gateway.db.tables.alerts import AlertRow
from gateway.db.tables.api_keys import ApiKeyRow
from gateway.db.tables.audit_logs import AuditLogRow
from gateway.db.tables.budgets import (
    BudgetEventRow,
    BudgetHolderRow,
    BudgetLeaseRow,
    BudgetRow,
    BudgetWindowRow,
)
from gateway.db.tables.changes import ChangeRow
from gateway.db.tables.console import (
    ConsoleKeyRow,
    ReviewDecisionRow,
    ReviewItemRow,
    ReviewQueueRow,
    SavedViewRow,
)
from gateway.db.tables.datasets import DatasetItemRow, DatasetRow, DatasetVersionRow
from gateway.db.tables.evals import EvalComparisonRow, EvalOutputItemRow, EvalRow, EvalRunRow
from gateway.db.tables.examples import TrainingExampleRow
from gateway.db.tables.exchange_blobs import ExchangeBlobRow
from gateway.db.tables.exchanges import ExchangeRow, ExchangeTextRow, UnreadExchangeRow
from gateway.db.tables.files import FileRow, UploadPartRow, UploadRow
from gateway.db.tables.fine_tuning import (
    CheckpointPermissionRow,
    FineTuningCheckpointRow,
    FineTuningEventRow,
    FineTuningJobRow,
    ModelRow,
)
from gateway.db.tables.guidance import GuidanceReportRow
from gateway.db.tables.judging import CalibrationRow, JudgeRow, JudgeVersionRow, JudgingTaskRow, WorkingKeyRow
from gateway.db.tables.judgments import CriterionRow, JudgmentRow
from gateway.db.tables.ledger import LedgerRow, ProjectDayRow, ProjectHourRow, UsageDayRow, UsageHourRow
from gateway.db.tables.prices import PriceRow
from gateway.db.tables.projects import ProjectRow, ServiceAccountRow
from gateway.db.tables.rate_limits import RateLimitRow
from gateway.db.tables.reply_cache import ReplyGenerationRow
from gateway.db.tables.retention import ProjectRetentionRow, RetentionMarkRow
from gateway.db.tables.routes import RouteRevisionRow, RouteRow
from gateway.db.tables.serving import DeploymentEventRow, LoadedModelRow, ReplicaRow
from gateway.db.tables.stored_completions import ExchangeDeletionRow, StoredCompletionRow
from gateway.db.tables.traffic import AnswerTimesDayRow, AnswerTimesHourRow, TrafficDayRow, TrafficHourRow
from gateway.db.tables.training_runs import TrainingHardwareRow, TrainingSpeedRow
from gateway.db.tables.upstreams import UpstreamRow
from gateway.db.tables.users import InviteRow, ProjectUserRow, SessionRow, SignInFailureRow, UserRow
from gateway.db.tables.webhooks import WebhookDeliveryRow, WebhookRow

__all__ = [
    "AlertRow",
    "AnswerTimesDayRow",
    "AnswerTimesHourRow",
    "ApiKeyRow",
    "AuditLogRow",
    "BudgetEventRow",
    "BudgetHolderRow",
    "BudgetLeaseRow",
    "BudgetRow",
    "BudgetWindowRow",
    "CalibrationRow",
    "ChangeRow",
    "CheckpointPermissionRow",
    "ConsoleKeyRow",
    "CriterionRow",
    "DatasetItemRow",
    "DatasetRow",
    "DatasetVersionRow",
    "DeploymentEventRow",
    "EvalComparisonRow",
    "EvalOutputItemRow",
    "EvalRow",
    "EvalRunRow",
    "ExchangeBlobRow",
    "ExchangeDeletionRow",
    "ExchangeRow",
    "ExchangeTextRow",
    "FileRow",
    "FineTuningCheckpointRow",
    "FineTuningEventRow",
    "FineTuningJobRow",
    "GuidanceReportRow",
    "InviteRow",
    "JudgeRow",
    "JudgeVersionRow",
    "JudgingTaskRow",
    "JudgmentRow",
    "LedgerRow",
    "LoadedModelRow",
    "ModelRow",
    "PriceRow",
    "ProjectDayRow",
    "ProjectHourRow",
    "ProjectRetentionRow",
    "ProjectRow",
    "ProjectUserRow",
    "RateLimitRow",
    "ReplicaRow",
    "ReplyGenerationRow",
    "RetentionMarkRow",
    "ReviewDecisionRow",
    "ReviewItemRow",
    "ReviewQueueRow",
    "RouteRevisionRow",
    "RouteRow",
    "SavedViewRow",
    "ServiceAccountRow",
    "SessionRow",
    "SignInFailureRow",
    "StoredCompletionRow",
    "TrafficDayRow",
    "TrafficHourRow",
    "TrainingExampleRow",
    "TrainingHardwareRow",
    "TrainingSpeedRow",
    "UnreadExchangeRow",
    "UploadPartRow",
    "UploadRow",
    "UpstreamRow",
    "UsageDayRow",
    "UsageHourRow",
    "UserRow",
    "WebhookDeliveryRow",
    "WebhookRow",
    "WorkingKeyRow",
]
