"""/v1/organization/usage: what was used, by time, project, person, key and model

A call is here as soon as it is in the exchange log. Nothing runs with a service tier, so `service_tier` is null also
when grouped by, and so is `user_id` where a key belongs to a service account. What nothing here produces (images,
audio, vector stores, tools) is asked for and paged as at OpenAI, and every bucket is empty.
"""

from collections.abc import Callable
from typing import Any

from litestar import Request, get
from litestar.params import QueryParams

from gateway.kit.money import usd_from_nano
from gateway.metering.usage_report import (
    COMPLETION_ENDPOINTS,
    EMBEDDING_ENDPOINTS,
    MODERATION_ENDPOINTS,
    TRAINING_ENDPOINTS,
    Sum,
    TrainingSum,
    training_sums,
    usage_sums,
)
from gateway.protocol.usage import BucketPage, CompletionsUsage, EmbeddingsUsage, ModerationsUsage, TrainingsUsage
from gateway.routes.callers import Admin, Sv
from gateway.routes.usage_queries import ReportQuery, read_query
from gateway.services import Services

USAGE = "/v1/organization/usage"
COMPLETION_GROUPS = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source")
MODEL_GROUPS = ("project_id", "user_id", "api_key_id", "model")
NOT_PRODUCED = {
    "decisions": COMPLETION_GROUPS,
    "images": (*MODEL_GROUPS, "size", "source"),
    "audio_speeches": MODEL_GROUPS,
    "audio_transcriptions": MODEL_GROUPS,
    "vector_stores": ("project_id",),
    "code_interpreter_sessions": ("project_id",),
    "file_search_calls": ("project_id", "user_id", "api_key_id", "vector_store_id"),
    "web_search_calls": (*MODEL_GROUPS, "context_level", "api_source"),
}
"""What OpenAI reports and nothing here uses, and what it is grouped by there."""

Result = Callable[[Sum, ReportQuery], Any]


@get(f"{USAGE}/completions")
async def completions_usage(sv: Sv, admin: Admin, query: QueryParams) -> BucketPage:
    """Chats and text completions."""
    return await _report(sv, read_query(query, COMPLETION_GROUPS, endpoints=COMPLETION_ENDPOINTS), completions_result)


@get(f"{USAGE}/embeddings")
async def embeddings_usage(sv: Sv, admin: Admin, query: QueryParams) -> BucketPage:
    return await _report(sv, read_query(query, MODEL_GROUPS, endpoints=EMBEDDING_ENDPOINTS), embeddings_result)


@get(f"{USAGE}/moderations")
async def moderations_usage(sv: Sv, admin: Admin, query: QueryParams) -> BucketPage:
    return await _report(sv, read_query(query, MODEL_GROUPS, endpoints=MODERATION_ENDPOINTS), moderations_result)


@get(f"{USAGE}/trainings")
async def trainings_usage(sv: Sv, admin: Admin, query: QueryParams) -> BucketPage:
    """An extension."""
    asked = read_query(query, MODEL_GROUPS, endpoints=TRAINING_ENDPOINTS)
    async with sv.database.session() as session:
        sums = await training_sums(session, asked.buckets, asked.stored_groups, asked.filters)
    results: dict[int, list[Any]] = {}
    for each in sums:
        results.setdefault(each.bucket, []).append(_trainings_result(each, asked))
    return asked.page(results)


@get([f"{USAGE}/{name}" for name in NOT_PRODUCED])
async def usage_not_produced(admin: Admin, query: QueryParams, request: Request[Any, Any, Any]) -> BucketPage:
    """What it is asked is checked all the same."""
    return read_query(query, NOT_PRODUCED[request.url.path.rpartition("/")[2]]).page({})


async def _report(sv: Services, asked: ReportQuery, result: Result) -> BucketPage:
    async with sv.database.session() as session:
        sums = await usage_sums(session, asked.buckets, asked.stored_groups, asked.filters)
    results: dict[int, list[Any]] = {}
    for each in sums:
        results.setdefault(each.bucket, []).append(result(each, asked))
    return asked.page(results)


def completions_result(each: Sum, asked: ReportQuery) -> CompletionsUsage:
    fresh = each.input_tokens - each.cached_input_tokens
    return CompletionsUsage(
        input_tokens=each.input_tokens,
        input_cached_tokens=each.cached_input_tokens,
        input_uncached_tokens=fresh,
        output_tokens=each.output_tokens,
        input_text_tokens=fresh,
        output_text_tokens=each.output_tokens,
        input_cached_text_tokens=each.cached_input_tokens,
        num_model_requests=each.requests,
        api_source=asked.api_source,
        **_group(each, asked),
    )


def embeddings_result(each: Sum, asked: ReportQuery) -> EmbeddingsUsage:
    return EmbeddingsUsage(input_tokens=each.input_tokens, num_model_requests=each.requests, **_group(each, asked))


def moderations_result(each: Sum, asked: ReportQuery) -> ModerationsUsage:
    return ModerationsUsage(input_tokens=each.input_tokens, num_model_requests=each.requests, **_group(each, asked))


def _trainings_result(each: TrainingSum, asked: ReportQuery) -> TrainingsUsage:
    return TrainingsUsage(
        num_trainings=each.requests,
        trained_tokens=each.input_tokens,
        device_seconds=each.device_ms / 1000,
        cost_usd=usd_from_nano(each.cost_nano),
        **_group(each, asked),
    )


def _group(each: Sum | TrainingSum, asked: ReportQuery) -> dict[str, Any]:
    """Nobody's key is null, not an empty name."""
    return {name: None if value == "" else value for name, value in zip(asked.stored_groups, each.group, strict=True)}
