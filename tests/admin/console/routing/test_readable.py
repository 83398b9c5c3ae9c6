"""Routes in words, and what changed."""

from admin.console.routing.readable import changes, lines

SPEC = {
    "targets": [{"model": "a", "weight": 1}, {"model": "b", "weight": 3}],
    "fallbacks": [{"model": "c", "on": ["rate_limit", "timeout"]}],
    "sticky": "user",
    "balance": "weight",
    "retries": {"count": 2},
    "timeouts": {"first_token": 5.0, "idle": None},
    "checks": [{"name": "json", "rules": [{"type": "json"}], "mode": "block"}],
    "few_shot": {"count": 3, "tags": ["good"]},
    "hedge": {"after_ms": 500},
    "cache": {"mode": "temperature_0", "ttl_seconds": 60},
}


def test_every_part_is_told() -> None:
    assert lines(SPEC) == [
        "25% of the calls: a",
        "75% of the calls: b",
        "else: c (after rate limit, timeout)",
        "a client stays at its target, by user",
        "retries of a target: 2",
        "time limit, first token: 5 s",
        "a second target is asked after 500 ms",
        "check json: an answer that fails (json) is withheld",
        "up to 3 similar examples tagged good are shown to the model",
        "calls with temperature 0 that ask the very same get the same answer for 60 s",
    ]


def test_what_changed_is_removed_and_added() -> None:
    after = SPEC | {"targets": [{"model": "a", "weight": 1}, {"model": "b", "weight": 1}]}
    told = changes(SPEC, after)
    assert told[:4] == [
        ("removed", "25% of the calls: a"),
        ("removed", "75% of the calls: b"),
        ("added", "50% of the calls: a"),
        ("added", "50% of the calls: b"),
    ]
    assert {kind for kind, _ in told[4:]} == {"same"}
