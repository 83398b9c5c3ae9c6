"""/v1/lineage (an extension): what something was made of, and what was made of it."""

import msgspec


class Node(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str
    """exchange, judgment, judge_version, training_example, dataset, dataset_version, file, job, checkpoint, model,
    base_model or eval_run."""
    label: str
    created_at: int | None
    """None of a base model: nobody made it here."""
    deleted_at: int | None = None
    """It was deleted or erased, or another judgment took its place; its lineage stays."""


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """What `to` was made of or by."""

    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    type: str


class Omitted(msgspec.Struct, frozen=True, kw_only=True):
    """What is not in the graph, beside what is."""

    id: str
    """Whose."""
    type: str
    """Of the nodes that are left out."""
    direction: str
    """up or down."""
    count: int
    """Rows of a dataset, or things."""


class Lineage(msgspec.Struct, kw_only=True):
    object: str = "lineage"
    id: str
    nodes: list[Node]
    """The one that was asked for comes first, what is nearer before what is farther."""
    edges: list[Edge]
    omitted: list[Omitted]
    truncated: bool
    """The graph goes on beyond `depth` or `limit`."""


class DatasetOfUser(msgspec.Struct, frozen=True, kw_only=True):
    dataset_id: str
    name: str
    version_id: str
    version: int
    rows: int
    erased_rows: int
    """Of these: what they were made of was erased since; the files keep them until the dataset is built anew."""
    training_file: str | None
    validation_file: str | None
    files_deleted: bool
    """All of its files."""
    deleted_at: int | None
    """Of the dataset."""


class JobOfUser(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: str
    training_file: str
    model: str | None
    """That it made."""


class ModelOfUser(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    job_id: str
    live: bool
    """It can be called, or its weights are kept to be called again."""
    deleted_at: int | None
    inherited: bool
    """It was not trained on this person's rows itself, but from a model that was."""


class UserLineage(msgspec.Struct, kw_only=True):
    object: str = "lineage.user"
    exchanges: int
    """Calls in the name of this person that the log has."""
    erased_exchanges: int
    """Of these: without what was said."""
    judgments: int
    """Their own word on answers."""
    training_examples: int
    """Managed by hand, made of their calls, not deleted."""
    datasets: list[DatasetOfUser]
    jobs: list[JobOfUser]
    models: list[ModelOfUser]
