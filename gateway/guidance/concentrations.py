"""Where failures concentrate: values in the metadata of calls whose answers fail more often than all others."""

from collections import Counter
from collections.abc import Iterator, Sequence

from gateway.guidance.populations import Sighting
from gateway.guidance.shares import among, change, proportion
from gateway.protocol.guidance import Concentration

LEAST = 5
"""Failures with the value."""
MOST_TESTED = 50
"""Values, those with the most failures first."""
MOST = 5
LONGEST = 100
"""Characters of a value: longer ones are texts, not groups."""


def concentrations(sightings: Sequence[Sighting]) -> list[Concentration]:
    """Those whose share of failures is surely above that of everything else, the surest first. As many looks as there are
    values make each of them less sure (shares.among)."""
    every, failed = _counts(sightings), _counts([each for each in sightings if each.failed])
    frequent = [pair for pair, n in failed.most_common(MOST_TESTED) if n >= LEAST]
    failures = sum(each.failed for each in sightings)
    found: list[tuple[float, Concentration]] = []
    for pair in frequent:
        n, of = failed[pair], every[pair]
        rest = (failures - n, len(sightings) - of)
        if not rest[1]:
            continue
        difference = change(0, rest, (n, of), among(len(frequent)))
        if difference.low > 0:
            told = Concentration(
                key=pair[0],
                value=pair[1],
                failing=difference.after,
                elsewhere=difference.before,
                share_of_failures=proportion(n, failures),
            )
            found.append((difference.low, told))
    return [each for _, each in sorted(found, key=lambda each: (-each[0], each[1].key, each[1].value))[:MOST]]


def _counts(sightings: Sequence[Sighting]) -> Counter[tuple[str, str]]:
    return Counter(pair for each in sightings for pair in _pairs(each))


def _pairs(each: Sighting) -> Iterator[tuple[str, str]]:
    for key, value in (each.metadata or {}).items():
        if isinstance(value, str) and 0 < len(value) <= LONGEST:
            yield key, value
