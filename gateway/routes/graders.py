"""/v1/fine_tuning/alpha/graders"""

import time

import msgspec
from litestar import post
from litestar.params import RawBody

from gateway import inference
from gateway.errors import ModelNotFound, Unavailable, UpstreamFailed, UpstreamRefused
from gateway.exchanges.assemble import answer_text
from gateway.grading import chat, service
from gateway.keys.ring import ApiKey
from gateway.metering.usage import estimate_usage, read_usage
from gateway.protocol.decode import decode
from gateway.protocol.graders import GraderResult, GraderRun, GraderValidate, ValidatedGrader
from gateway.routes.callers import Caller, Sv
from gateway.services import Services
from judges import run
from judges.ask import Answer, Ask, AskFailed, Question
from judges.grade import Tokens
from judges.graders import Grader, LabelModel, ScoreModel
from judges.sample import Sample
from judges.validation import Problem, inner_paths, lint

decode_validate = msgspec.json.Decoder(GraderValidate)
decode_run = msgspec.json.Decoder(GraderRun)


@post("/v1/fine_tuning/alpha/graders/validate", status_code=200)
async def validate_grader(sv: Sv, caller: Caller, body: RawBody) -> ValidatedGrader:
    """The grader, its default name filled in, if it could grade."""
    grader = service.read(decode(decode_validate, body).grader, python=sv.python_sandbox is not None)
    if problems := lint(grader) + await unknown_models(sv, caller, grader):
        raise service.refusal(problems)
    return ValidatedGrader(grader=grader)


@post("/v1/fine_tuning/alpha/graders/run", status_code=200)
async def run_grader(sv: Sv, caller: Caller, body: RawBody) -> GraderResult:
    """What the grader finds. What only shows in grading (a formula, a template, a model's answer) is in its errors."""
    wanted = decode(decode_run, body)
    grader = service.read(wanted.grader, python=sv.python_sandbox is not None)
    if problems := await unknown_models(sv, caller, grader):
        raise service.refusal(problems)
    began = time.perf_counter()
    sample = Sample.of_text(wanted.model_sample)
    grade = await run.grade(grader, sample, wanted.item, _ask(sv, caller), sv.python_sandbox)
    return service.result(grader, grade, time.perf_counter() - began)


async def unknown_models(sv: Services, caller: ApiKey, grader: Grader, path: str = "grader") -> list[Problem]:
    """Models that a grader, which stands at `path`, names and that the caller may not call, or that are not there."""
    problems: list[Problem] = []
    for at, each in inner_paths(grader, path):
        if isinstance(each, ScoreModel | LabelModel):
            try:
                caller.require_model(each.model)
                await sv.names.plan(each.model, caller.project_id)
            except ModelNotFound as error:
                problems.append(Problem(f"{at}.model", str(error).rstrip(".")))
    return problems


def _ask(sv: Services, caller: ApiKey) -> Ask:
    """Asks as the caller would: the call is routed, metered and recorded under the caller's key.

    An upstream that fails has graded nothing, and that is a result; a refusal of ours (a budget, a limit) is the reply.
    """

    async def ask(question: Question) -> Answer:
        try:
            try:
                return await _asked(sv, caller, question, structured=True)
            except UpstreamRefused as refusal:
                if not chat.is_about_structure(refusal):
                    raise
                return await _asked(sv, caller, question, structured=False)
        except (UpstreamRefused, UpstreamFailed, Unavailable) as failure:
            raise AskFailed(str(failure)) from failure

    return ask


async def _asked(sv: Services, caller: ApiKey, question: Question, *, structured: bool) -> Answer:
    body = chat.request_body(question, structured=structured)
    reply = await inference.complete(sv, caller, body)
    usage = read_usage(reply)[1] or estimate_usage(body, answer_text(reply))
    tokens = Tokens(usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)
    return chat.answer(reply, question, tokens)
