"""[alerts]: what is told as not as it should be."""

from gateway.kit.section import Section, refuse_less_than_one


class AlertSettings(Section, frozen=True):
    error_rate: float = 0.01
    """GET /v1/organization/alerts tells of projects of which more than this share of the calls of the last hour failed (5xx, or a model that was asked)."""
    p95_ms: float = 5000.0
    """And of those where more than one answer in twenty took longer."""
    min_calls: int = 20
    """Of fewer calls in that hour neither is told."""
    budget_percent: float = 80.0
    """And of budgets of which so much is spent."""
    uptime: float = 0.999
    """And of those of which a smaller share of the calls of the last 24 hours was answered without such a failure, from so many calls on that a single one is not too many (1000). 0: never."""
    spool_mb: float = 64.0
    """And of a gateway process with more finished calls on its disk that are not in the database yet."""

    def __post_init__(self) -> None:
        refuse_less_than_one(self, ("min_calls",))
        if not 0 <= self.uptime < 1:
            raise ValueError(f"uptime: {self.uptime} is no share from 0 to less than 1, as 0.999 is")
