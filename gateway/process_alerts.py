"""What one gateway process alone knows of as not as it should be: its spool, and providers that fail."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.protocol.alerts import Alert
from gateway.settings import AlertSettings


@dataclass(frozen=True, slots=True)
class SpoolDepth:
    """What waits on a gateway process's disk for the database."""

    process: str
    """Its name."""
    size: int
    """Bytes."""
    max_bytes: int
    """From here on calls are refused."""
    trouble: str | None = None
    """Why the disk refuses."""


def in_process(settings: AlertSettings, spool: SpoolDepth, failing: Mapping[tuple[str, str], int]) -> list[Alert]:
    """Of one process.

    Args:
        failing: upstream and model -> how many addresses get no calls for now.
    """
    return [*_spool_depth(settings, spool), *_spool_full(spool), *_upstreams(failing)]


def _spool_depth(settings: AlertSettings, spool: SpoolDepth) -> list[Alert]:
    """It says how near it is to where calls are refused, long before that."""
    limit = settings.spool_mb * 1_000_000
    if spool.size <= limit:
        return []
    return [
        Alert(
            kind="spool_depth",
            severity="critical",
            message=f"{spool.size / 1e6:,.0f} MB of finished calls wait to be written to the database"
            f" ({spool.size / spool.max_bytes:.0%} of what may wait; calls are refused at 100%).",
            since=None,
            value=spool.size,
            limit=limit,
            unit="bytes",
            subject_type="gateway",
            subject_id=spool.process,
        )
    ]


def _spool_full(spool: SpoolDepth) -> list[Alert]:
    """What could not be recorded is not asked."""
    if spool.trouble is not None:
        message = f"Calls are refused: the disk refuses the exchange log ({spool.trouble})."
    elif spool.size >= spool.max_bytes:
        message = f"Calls are refused: {spool.size / 1e6:,.0f} MB of finished calls wait for the database."
    else:
        return []
    return [
        Alert(
            kind="spool_full",
            severity="critical",
            message=message,
            since=None,
            value=spool.size,
            limit=spool.max_bytes,
            unit="bytes",
            subject_type="gateway",
            subject_id=spool.process,
        )
    ]


def _upstreams(failing: Mapping[tuple[str, str], int]) -> list[Alert]:
    return [
        Alert(
            id=f"upstream_failing:{upstream}:{model}",
            kind="upstream_failing",
            severity="critical",
            message=f"{upstream} fails for {model} and gets no calls for now (on {count} of its addresses).",
            since=None,
            n=count,
            subject_type="upstream",
            subject_id=upstream,
        )
        for (upstream, model), count in sorted(failing.items())
    ]
