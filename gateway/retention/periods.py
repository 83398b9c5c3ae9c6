"""How long a project keeps what: its own periods, else those of the settings."""

from datetime import datetime, timedelta

from gateway.db.tables import ProjectRetentionRow
from gateway.protocol.retention import Periods
from gateway.retention_settings import RetentionSettings

NAMES = Periods.__struct_fields__


def in_force(own: ProjectRetentionRow | None, settings: RetentionSettings) -> Periods:
    chosen = {name: getattr(own, name) for name in NAMES if getattr(own, name, None) is not None}
    return Periods(**{name: chosen.get(name, getattr(settings, name)) for name in NAMES})


def cut(days: int, moment: datetime) -> datetime:
    """What is older than that has to go: a midnight (UTC), so that sums of days are of all their calls or of none."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)
