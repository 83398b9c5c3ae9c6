"""What is told of a version: what was taken, what was left out and why, and what its owner should know."""

from collections.abc import Iterator, Mapping

from gateway.datasets.building.caps import LONGER_SHARE
from gateway.datasets.building.selection import Ground
from gateway.datasets.building.tally import dropped_of
from gateway.datasets.building.workplace import Workplace
from gateway.datasets.building.writing import SplitFile, Written
from gateway.datasets.findings import MIN_EXAMPLES
from gateway.datasets.tokens import TokenCounter
from gateway.datasets.versions import SPLITS
from gateway.protocol.dataset_versions import DatasetReport, JudgeCounted, Origin, PairLengths, SplitReport
from gateway.protocol.datasets import Finding
from judges.statistics.intervals import wilson

MOST_ORIGINS = 50
OWN_SHARE = 0.3
"""Of rows by models that were trained here, above which it is said."""
USER_SHARE = 0.2


def report_of(ground: Ground, written: Written, counter: TokenCounter, redacted: Mapping[str, int]) -> DatasetReport:
    """Of a version whose files are written."""
    work, tally = ground.work, ground.tally
    rows = work.count()
    origins = _origins(work, rows)
    depths = _counts(work, "depth")
    own = sum(count for depth, count in depths.items() if depth != "0")
    lengths = _lengths(work, written, counter, rows) if written.characters[1] else None
    users, largest = _users(work)
    training, validation = (_split(written.files[split]) for split in SPLITS)
    return DatasetReport(
        format=written.files["training"].reader.format,
        considered=tally.considered,
        rows=rows,
        by_signal=_counts(work, "signal"),
        dropped=dropped_of(tally),
        training=training,
        validation=validation,
        clusters=int(work.scalar("SELECT count(DISTINCT cluster) FROM kept")),
        users=users,
        largest_user_share=round(largest / rows, 4) if rows else 0.0,
        redacted=dict(sorted(redacted.items())),
        origins=origins,
        own_share=round(own / rows, 4) if rows else 0.0,
        depths=depths,
        lengths=lengths,
        judges=[JudgeCounted(judge_version_id=each, trusted=each in ground.trusted) for each in sorted(ground.judges)],
        warnings=list(_warnings(training, own, rows, largest, lengths)),
    )


def _split(file: SplitFile) -> SplitReport:
    """Nothing is found wrong with a file that was not asked for."""
    report = file.report()
    found = (report.findings, report.score) if file.lines else ([], 100)
    return SplitReport(rows=file.lines, bytes=file.bytes, tokens=report.tokens, findings=found[0], score=found[1])


def _counts(work: Workplace, column: str) -> dict[str, int]:
    query = f"SELECT {column}, count(*) FROM kept GROUP BY 1 ORDER BY 1"  # noqa: S608
    return {str(value): count for value, count in work.db.execute(query)}


def _origins(work: Workplace, rows: int) -> list[Origin]:
    query = "SELECT origin_model, max(depth), count(*) FROM kept GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT ?"
    found = work.db.execute(query, (MOST_ORIGINS,))
    return [Origin(model=model, rows=n, share=round(n / rows, 4), depth=depth) for model, depth, n in found]


def _users(work: Workplace) -> tuple[int, int]:
    """How many, and the rows of the one with the most."""
    count, largest = work.db.execute(
        "SELECT count(*), coalesce(max(n), 0) FROM"
        " (SELECT count(*) AS n FROM kept WHERE end_user IS NOT NULL GROUP BY end_user)"
    ).fetchone()
    return int(count), int(largest)


def _lengths(work: Workplace, written: Written, counter: TokenCounter, rows: int) -> PairLengths:
    """In tokens, by a sample of the pairs where there are many."""
    sample = written.answers.examples
    tokens = sum(counter.count([each.given for each in sample])) + sum(counter.count([each.learnt for each in sample]))
    characters = sum(len(each.given) + len(each.learnt) for each in sample)
    scale = tokens / characters if characters else 0.0
    longer = work.count("longer > 0")
    interval = wilson(longer, rows)
    return PairLengths(
        mean_chosen_tokens=round(written.characters[0] * scale / max(rows, 1), 1),
        mean_rejected_tokens=round(written.characters[1] * scale / max(rows, 1), 1),
        chosen_longer=round(longer / rows, 4) if rows else None,
        chosen_longer_low=round(interval.low, 4),
        chosen_longer_high=round(interval.high, 4),
        pairs=rows,
    )


def _warnings(
    training: SplitReport, own: int, rows: int, largest: int, lengths: PairLengths | None
) -> Iterator[Finding]:
    if training.rows < MIN_EXAMPLES:
        message = f"The training file has {training.rows} rows; a fine-tuning job wants at least {MIN_EXAMPLES}"
        yield _warning("few_rows", message, "Widen the filters, or collect more feedback.", training.rows, 1.0)
    if lengths and lengths.chosen_longer is not None and lengths.chosen_longer > LONGER_SHARE:
        share = lengths.chosen_longer
        message = f"The longer answer is chosen in {share:.0%} of the pairs: a model learns that longer is better"
        fix = "Set pairs.balance_length, or train with a loss that weighs lengths (arXiv 2403.19159)."
        yield _warning("length_bias", message, fix, round(share * rows), share)
    if rows and own / rows > OWN_SHARE:
        message = f"{own / rows:.0%} of the rows were answered by models that were trained here"
        fix = "Lower self_training.max_share, or add answers that people wrote or checked."
        yield _warning("self_training", message, fix, own, own / rows)
    if rows and largest / rows > USER_SHARE and largest > 1:
        message = f"One user is behind {largest / rows:.0%} of the rows"
        yield _warning("one_user", message, "Set caps.per_user.", largest, largest / rows)


def _warning(code: str, message: str, suggestion: str, count: int, share: float) -> Finding:
    return Finding(code=code, level="warn", message=message, suggestion=suggestion, count=count, share=round(share, 4))
