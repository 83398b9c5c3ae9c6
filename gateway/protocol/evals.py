"""OpenAI's evals (contract section 6), fields in OpenAI's order. Graders are judges/graders.py.

Extensions: `metrics` of an eval, `repeats` and `metrics` of a run, `cost_usd` of its models, `repeat`, `metrics`, `errors`,
`exchange_id`, `reference`, `duration_ms` and `cost_usd` of an output item, the criterion's `name` and `errored`, and
everything in eval_reports.py.
"""

from typing import Annotated, Any

import msgspec

MAX_REPEATS = 20
MAX_CRITERIA = 50

Name = Annotated[str, msgspec.Meta(max_length=512)]


class CustomConfig(
    msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="custom"
):
    """Items of one's own; each fits the schema."""

    item_schema: dict[str, Any]
    include_sample_schema: bool = False


class _Stored(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    metadata: dict[str, str] | None = None


class LogsConfig(_Stored, tag_field="type", tag="logs"):
    """Stored chat completions."""


class StoredCompletionsConfig(_Stored, tag_field="type", tag="stored_completions"):
    """The deprecated name of logs."""


DataSourceConfig = CustomConfig | LogsConfig | StoredCompletionsConfig


class Metrics(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Extension: what is measured beside the criteria."""

    reference: str | None = None
    """A template of the right answer: `{{ item.answer }}`. When left out, the reference of the first criterion that
    compares the answer with something of the item."""
    cluster: str | None = None
    """A template that is alike for items that belong together, as turns of one conversation do: `{{ item.thread }}`. They
    count as one in intervals."""
    primary: str | None = None
    """Name of the criterion that decides a comparison; when left out, passing all of them does."""
    log_probabilities: bool = False
    """Ask models for them, so that there is a perplexity. Not every model gives them."""


class EvalCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """POST /evals."""

    name: Name | None = None
    metadata: dict[str, str] | None = None
    data_source_config: DataSourceConfig
    testing_criteria: Annotated[list[Any], msgspec.Meta(max_length=MAX_CRITERIA)]
    metrics: Metrics | None = None


class EvalUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """POST /evals/{id}: what is given is changed; null takes the metadata away."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, str] | msgspec.UnsetType | None = msgspec.UNSET


class Eval(msgspec.Struct, kw_only=True):
    id: str
    object: str = "eval"
    name: str
    data_source_config: dict[str, Any]
    testing_criteria: list[Any]
    created_at: int
    metadata: dict[str, Any] | None
    metrics: dict[str, Any]


class DeletedEval(msgspec.Struct, kw_only=True):
    object: str = "eval.deleted"
    deleted: bool = True
    eval_id: str


class DeletedRun(msgspec.Struct, kw_only=True):
    object: str = "eval.run.deleted"
    deleted: bool = True
    run_id: str


# What a run reads, and what it asks.


class Line(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of the data."""

    item: dict[str, Any]
    sample: dict[str, Any] | None = None
    """An answer that is there already."""


class FileContent(
    msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="file_content"
):
    content: list[Line]


class FileId(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="file_id"):
    id: str


class StoredCompletions(
    msgspec.Struct,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="type",
    tag="stored_completions",
):
    metadata: dict[str, str] | None = None
    model: str | None = None
    created_after: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)] | None = None
    created_before: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None


class ResponsesFilter(msgspec.Struct, kw_only=True, tag_field="type", tag="responses"):
    """Read only to refuse it by name: no responses are stored here."""


Source = FileContent | FileId | StoredCompletions | ResponsesFilter


class Template(
    msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="template"
):
    template: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=1000)]
    """Messages, `{{ item.x }}` in their texts."""


class ItemReference(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="item_reference"):
    item_reference: str
    """`item.x`, where the item has a list of messages."""


class TextParams(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`text` of the Responses API."""

    format: dict[str, Any] | None = None


class Sampling(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`sampling_params`; null is left out."""

    reasoning_effort: str | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)] | None = None
    response_format: dict[str, Any] | None = None
    tools: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=128)] | None = None
    text: TextParams | None = None
    """Of a data source of type responses, instead of `response_format`."""


class JsonlSource(
    msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="jsonl"
):
    """Answers that came with the data, or none: items are graded as they are."""

    source: Source


class _Asking(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    input_messages: Template | ItemReference | None = None
    sampling_params: Sampling | None = None
    model: str | None = None
    source: Source


class CompletionsSource(_Asking, tag_field="type", tag="completions"):
    """A model answers; without one, stored completions are graded as they are."""


class ResponsesSource(_Asking, tag_field="type", tag="responses"):
    """The same in the words of the Responses API; asked as a chat completion."""


DataSource = JsonlSource | CompletionsSource | ResponsesSource


class RunCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """POST /evals/{id}/runs."""

    name: Name | None = None
    metadata: dict[str, str] | None = None
    data_source: DataSource
    repeats: Annotated[int, msgspec.Meta(ge=1, le=MAX_REPEATS)] = 1
    """Extension: how often each item is answered."""


# What came out.


class ResultCounts(msgspec.Struct, kw_only=True):
    total: int
    errored: int
    failed: int
    passed: int


class ModelUsage(msgspec.Struct, kw_only=True):
    model_name: str
    invocation_count: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int
    cost_usd: float | None
    """Null where not every call had a price."""


class CriterionResult(msgspec.Struct, kw_only=True):
    testing_criteria: str
    """Its id."""
    passed: int
    failed: int
    name: str
    errored: int
    """Answers that it could not grade: neither passed nor failed."""


class ApiError(msgspec.Struct, kw_only=True):
    """openai-python has no null in its place: both are empty where nothing went wrong."""

    code: str = ""
    message: str = ""


class EvalRun(msgspec.Struct, kw_only=True):
    object: str = "eval.run"
    id: str
    eval_id: str
    status: str
    model: str
    """Empty where the answers came with the data."""
    name: str
    created_at: int
    report_url: str
    result_counts: ResultCounts
    per_model_usage: list[ModelUsage]
    per_testing_criteria_results: list[CriterionResult]
    data_source: dict[str, Any]
    metadata: dict[str, Any] | None
    error: ApiError
    repeats: int
    finished_at: int | None
    metrics: dict[str, Any] | None
    """Of a run that completed (eval_reports.py, RunMetrics)."""


class OutputItem(msgspec.Struct, kw_only=True):
    object: str = "eval.run.output_item"
    id: str
    run_id: str
    eval_id: str
    created_at: int
    status: str
    """pass, fail or error."""
    datasource_item_id: int
    datasource_item: dict[str, Any]
    results: list[Any]
    """One for each criterion that could grade."""
    sample: dict[str, Any]
    repeat: int
    metrics: dict[str, Any]
    errors: list[Any]
    """One for each criterion that could not: {"name", "type", "code", "message"}, with the "exchange_id" of a model's call."""
    exchange_id: str | None
    """The call that made the sample, in the exchange log."""
    reference: str | None
    """The right answer, where the eval says which that is."""
    duration_ms: float | None
    """Of that call, to its last byte."""
    cost_usd: float | None
    """Of every call for the item, graders' too; null where not every one had a price, or none was made."""
