"""The settings of how long things are kept: a part of gateway/settings.py."""

from gateway.kit.section import Section
from gateway.protocol.retention import MOST_DAYS


class RetentionSettings(Section, frozen=True):
    """How many days things are kept; 0: until somebody deletes them. A project may have other periods (docs/retention.md).
    Usage, costs and sums of traffic stay."""

    body_days: int = 0
    """What was asked and answered in exchanges, and what was said of them in words; then only figures of them are kept."""
    exchange_days: int = 0
    """Exchanges, with their judgments and stored completions."""
    whole_months: bool = True
    """Exchanges of the projects that keep them longest go a month at a time, once all of it is old enough: at most 31 days later, for next to nothing. false: each on its day."""
    training_log_days: int = 90
    """Events, curves and log files of fine-tuning jobs that ended."""
    audit_log_days: int = 0
    """Entries of the audit log."""

    def __post_init__(self) -> None:
        for name in ("body_days", "exchange_days", "training_log_days", "audit_log_days"):
            if not 0 <= (days := getattr(self, name)) <= MOST_DAYS:
                raise ValueError(f"{name}: {days} is no number of days from 0 (for ever) to {MOST_DAYS}")
