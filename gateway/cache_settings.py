"""[cache]: answers that are given again (docs/caching.md)."""

from typing import Literal

from gateway.kit.section import Section, refuse_less_than_one
from gateway.protocol.route_rules import cache_fault
from gateway.protocol.routes import RouteCache


class CacheSettings(Section, frozen=True):
    enabled: bool = False
    """Calls of models without a route that ask the very same get the same answer (docs/caching.md). A route has a `cache` of its own."""
    mode: Literal["temperature_0", "opt_in"] = "temperature_0"
    """temperature_0: calls with temperature 0, and others that say `x-tuneway-cache: on`. opt_in: only these."""
    ttl_seconds: int = 3600
    """How long an answer is given again."""
    memory_bytes: int = 32 * 1024 * 1024
    """Kept replies in the memory of one gateway process, those of routes included."""
    redis: bool = True
    """Share kept replies among processes, sealed, in the Redis of [redis]."""
    redis_bytes: int = 256 * 1024 * 1024
    """Kept replies in Redis, of all projects together."""
    max_entry_bytes: int = 256 * 1024
    """No call with a larger request or reply is kept."""
    answer_seconds: float = 0.1
    """A Redis that does not answer for so long counts as away for some seconds: each process then has only what it keeps itself."""

    def __post_init__(self) -> None:
        refuse_less_than_one(self, ("max_entry_bytes",))
        if self.memory_bytes < 0 or self.redis_bytes < 0:
            raise ValueError("memory_bytes and redis_bytes are not negative")
        if self.answer_seconds <= 0:
            raise ValueError(f"answer_seconds: {self.answer_seconds} is not more than 0")
        if rule := cache_fault(self.of_models):
            raise ValueError(f"ttl_seconds: {rule}")

    @property
    def of_models(self) -> RouteCache:
        """As a route has it."""
        return RouteCache(mode=self.mode, ttl_seconds=self.ttl_seconds)
