"""A report with what to do about each of its clusters."""

from collections.abc import Callable, Iterator

from gateway.guidance.clusters import report
from gateway.guidance.material import Material
from gateway.guidance.suggestions import examples, instructions, judges, output_rules, serving, token_limits, training
from gateway.protocol.guidance import Cluster, Report, Suggestion

MOST = 6
"""Of one cluster."""
FAMILIES: tuple[Callable[[Cluster, Material], Iterator[Suggestion]], ...] = (
    judges.suggestions,
    training.suggestions,
    examples.suggestions,
    instructions.suggestions,
    output_rules.suggestions,
    token_limits.suggestions,
    serving.suggestions,
)
"""In the order in which they are worth looking at: first whether it is a failure, then what made it one."""


def advised(material: Material) -> Report:
    found = report(material)
    for cluster in found.clusters:
        cluster.suggestions = [each for family in FAMILIES for each in family(cluster, material)][:MOST]
    return found
