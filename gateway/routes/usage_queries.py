"""What every report over time is asked, and the page of buckets that it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec
from litestar.params import QueryParams

from gateway.errors import InvalidRequest, MissingParameter
from gateway.kit.clock import now, unix
from gateway.metering.time_buckets import SECONDS, Buckets, decode_page, encode_page
from gateway.metering.usage_report import Filters
from gateway.protocol.queries import array, choice, flag, integer, text, timestamp
from gateway.protocol.usage import Bucket, BucketPage

USAGE_LIMITS = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
"""Buckets a page by width: default and most."""
STORED = ("project_id", "user_id", "api_key_id", "model", "batch")
"""The groups that are columns of the rollups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQuery:
    """What is asked of a report."""

    groups: Sequence[str]
    stored_groups: Sequence[str]
    """Those that are columns of the rollups."""
    api_source: str | None
    """Nothing here is OpenAI's Agents API; what is not is "unlabeled" there when grouped by it."""
    filters: Filters
    line_items: list[str]
    buckets: Buckets
    next_page: str | None

    def page(self, results: Mapping[int, Sequence[Any]]) -> BucketPage:
        """Every bucket of the range, with its results (by the start of the uncut bucket) or none."""
        data = [
            Bucket(start_time=start, end_time=end, results=results.get(self.buckets.aligned(start), ()))
            for start, end in self.buckets
        ]
        return BucketPage(data=data, has_more=self.next_page is not None, next_page=self.next_page)


def read_query(
    query: QueryParams,
    groups: Sequence[str],
    *,
    limits: Mapping[str, tuple[int, int]] = USAGE_LIMITS,
    endpoints: Sequence[str] = (),
) -> ReportQuery:
    """Raises InvalidRequest."""
    width = choice(query, "bucket_width", tuple(limits), "1d")
    default, most = limits[width]
    limit = integer(query, "limit", default=default, highest=most)
    filters = _filters(query, endpoints)
    asked_groups, items = _groups(query, groups), array(query, "line_items")
    whole = _range(query, SECONDS[width])
    digest = _digest([width, str(whole.start), filters, asked_groups, items, text(query, "end_time")])
    rest = decode_page(cursor, whole, digest) if (cursor := text(query, "page")) else whole
    shown = rest.first(limit)
    following = encode_page(Buckets(shown.end, rest.end, rest.width), digest) if shown.end < rest.end else None
    return ReportQuery(
        groups=asked_groups,
        stored_groups=[name for name in asked_groups if name in STORED],
        api_source="unlabeled" if "api_source" in asked_groups else None,
        filters=filters,
        line_items=items,
        buckets=shown,
        next_page=following,
    )


def _filters(query: QueryParams, endpoints: Sequence[str]) -> Filters:
    return Filters(
        project_ids=array(query, "project_ids"),
        api_key_ids=array(query, "api_key_ids"),
        user_ids=array(query, "user_ids"),
        models=array(query, "models"),
        endpoints=endpoints,
        batch=flag(query, "batch") if text(query, "batch") else None,
    )


def _groups(query: QueryParams, allowed: Sequence[str]) -> list[str]:
    """`group_by`, each name once. Raises InvalidRequest naming the one that is not allowed."""
    names = list(dict.fromkeys(array(query, "group_by")))
    for name in names:
        if name not in allowed:
            raise InvalidRequest(
                f"Invalid 'group_by': '{name[:50]}' is not one of {', '.join(allowed)}.", param="group_by"
            )
    return names


def _range(query: QueryParams, width: int) -> Buckets:
    """From `start_time` to `end_time`; without one, to the end of the bucket that is now. Raises InvalidRequest."""
    start = timestamp(query, "start_time")
    if start is None:
        raise MissingParameter("start_time")
    present = unix(now())
    end = timestamp(query, "end_time") or present - present % width + width
    if start >= end:
        raise InvalidRequest("Invalid 'start_time': it must be before end_time (by default, now).", param="start_time")
    return Buckets(start, end, width)


def _digest(parts: Sequence[object]) -> str:
    """Tells one query from another; the page size is not part of it."""
    return blake2b(msgspec.json.encode(parts), digest_size=9).hexdigest()
