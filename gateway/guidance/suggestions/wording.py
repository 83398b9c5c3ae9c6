"""Figures in sentences."""

from gateway.protocol.guidance import Change, Proportion


def share(found: Proportion) -> str:
    return f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%}, n = {found.of:,})"


def rise(change: Change) -> str:
    return f"{change.before.value:.0%} before (n = {change.before.of:,}), {change.after.value:.0%} since (n = {change.after.of:,})"
