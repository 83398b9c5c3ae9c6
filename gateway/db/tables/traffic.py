"""Traffic: sums of the exchange log by hour and day, and how the times of its answers are distributed.

Each call is in several rows: of everything, of its project, and of each key, model, provider and purpose, of the project
and overall. So whatever is asked by one of them is a few rows, however many of the others there are.
"""

from datetime import datetime

from sqlalchemy import ARRAY, BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class _Cell:
    """What is counted together; the time comes behind the dimension, so that a range of it is read in one go."""

    project_id: Mapped[str] = mapped_column(primary_key=True, sort_order=-4)
    """Empty: the whole organisation."""
    dimension: Mapped[str] = mapped_column(primary_key=True, sort_order=-3)
    """total, project_id, api_key_id, model, upstream or purpose."""
    value: Mapped[str] = mapped_column(primary_key=True, sort_order=-1)
    """Of the dimension; empty where nobody was asked, and for the total."""


class _ByHour(_Cell):
    hour: Mapped[datetime] = mapped_column(primary_key=True, sort_order=-2)


class _ByDay(_Cell):
    day: Mapped[datetime] = mapped_column(primary_key=True, sort_order=-2)


class _Counts:
    requests: Mapped[int]
    client_errors: Mapped[int]
    """Answered with 4xx."""
    server_errors: Mapped[int]
    """Refused with 5xx: nobody could be asked."""
    upstream_errors: Mapped[int]
    """Somebody was asked and failed, also in the middle of a stream."""
    client_left: Mapped[int]
    fallbacks: Mapped[int]
    """Calls for which more than one attempt was made."""
    input_tokens: Mapped[int]
    cached_input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    cost_nano: Mapped[int]
    unpriced: Mapped[int]


class _Times:
    """A histogram: how many answers took how long."""

    measure: Mapped[str] = mapped_column(primary_key=True, sort_order=-1)
    """latency, or first_token (of streams); of completed calls."""
    buckets: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    """Ascending; bucket b is from 1.1^b to 1.1^(b+1) ms (gateway/metering/traffic_rollups.py)."""
    counts: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    """Of each of them."""


class TrafficHourRow(_ByHour, _Counts, Base):
    __tablename__ = "traffic_hours"


class TrafficDayRow(_ByDay, _Counts, Base):
    __tablename__ = "traffic_days"


class AnswerTimesHourRow(_ByHour, _Times, Base):
    __tablename__ = "answer_times_hours"


class AnswerTimesDayRow(_ByDay, _Times, Base):
    __tablename__ = "answer_times_days"
