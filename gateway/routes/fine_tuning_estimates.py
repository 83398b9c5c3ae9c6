"""/v1/fine_tuning/estimate: what a job will take, before it starts. An extension."""

import msgspec
from litestar import post
from litestar.params import RawBody

from gateway.files import repository as files
from gateway.fine_tuning import creation, estimates
from gateway.fine_tuning.specification import resolved_method, resolved_numbers
from gateway.keys.ring import ApiKey
from gateway.protocol.datasets import Report
from gateway.protocol.decode import decode
from gateway.protocol.fine_tuning import Estimate, JobCreate
from gateway.routes.callers import Caller, Sv
from gateway.routes.file_reports import report_of
from gateway.routes.fine_tuning_jobs import check_file, check_model, decode_job
from gateway.routes.training_funds import training_rates
from gateway.services import Services


@post("/v1/fine_tuning/estimate", status_code=200)
async def estimate_job(sv: Sv, caller: Caller, body: RawBody) -> Estimate:
    """The body is that of POST /v1/fine_tuning/jobs; nothing is stored."""
    wanted = decode(decode_job, body)
    await check_model(sv, caller, wanted.model)
    row = creation.draft(wanted, project_id=caller.project_id, api_key_id=caller.id)
    report = await _report(sv, caller, wanted, row.method["type"])
    async with sv.database.session() as session:
        call = await estimates.question(session, sv.settings, row, report)
    rates = training_rates(sv, wanted.model)
    call = estimates.priced(call, tokens_nano=rates.tokens, hour_nano=rates.hour)
    told = await estimates.estimate(call)
    return Estimate(
        model=wanted.model,
        training_file=wanted.training_file,
        method=resolved_method(row.method, told.hyperparameters),
        training=resolved_numbers(told.hyperparameters) | {"device": told.hardware.name},
        examples=told.examples,
        tokens=told.tokens,
        tokens_source=report.tokens.source,
        trained_tokens=told.trained_tokens,
        steps=told.steps,
        base_parameters=told.base_parameters,
        hardware=msgspec.to_builtins(told.hardware),
        options=[msgspec.to_builtins(option) for option in told.options],
        recommended=told.recommended,
    )


async def _report(sv: Services, caller: ApiKey, wanted: JobCreate, method: str) -> Report:
    """Of the training file. Raises InvalidRequest."""
    async with sv.database.session() as session:
        await check_file(session, caller, "training_file", wanted.training_file)
        await check_file(session, caller, "validation_file", wanted.validation_file)
        row = await files.find(session, caller.project_id, wanted.training_file)
    return await report_of(sv, row, "dpo" if method == "dpo" else "supervised")
