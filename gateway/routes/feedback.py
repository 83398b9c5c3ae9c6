"""POST /v1/feedback (an extension): what people say of answers, also from a web page (gateway/routes/cross_origin.py)."""

import msgspec
from litestar import post
from litestar.params import RawBody

from gateway.errors import InvalidRequest
from gateway.judgments import repository
from gateway.judgments.words import Answers, Speaker, check_feedback, feedback_verdicts
from gateway.keys.ring import ApiKey
from gateway.kit.keyed_hash import end_user_hash
from gateway.protocol.decode import decode
from gateway.protocol.feedback import Feedback, FeedbackCreate
from gateway.routes.callers import Caller, Sv
from gateway.routes.judgment_objects import judgments_with
from gateway.routes.new_exchanges import exchanges_named, not_in_the_log
from gateway.services import Services

decode_create = msgspec.json.Decoder(FeedbackCreate)


@post("/v1/feedback", status_code=200)
async def create_feedback(sv: Sv, caller: Caller, body: RawBody) -> Feedback:
    """One judgment for each thing that is said. At any time after the answer, and at once after it, too: an exchange that
    is not in the log yet is looked for again. The same sent again changes nothing; another word replaces the first."""
    wanted = decode(decode_create, body)
    check_feedback(wanted)
    answers = await _answers(sv, caller, wanted)
    speaker = speaker_of(sv, caller, wanted.user)
    async with sv.database.session() as session:
        verdicts = await feedback_verdicts(session, wanted, speaker, answers)
        ids = await repository.add(session, verdicts)
        shown = await judgments_with(session, ids)
    return Feedback(exchange_id=answers.exchange_id, judgments=shown)


async def _answers(sv: Services, caller: ApiKey, wanted: FeedbackCreate) -> Answers:
    """Raises NotFound, InvalidRequest."""
    named = {"completion_id": wanted.completion_id}
    if wanted.other_id is not None:
        named["other_id"] = wanted.other_id
    found = await exchanges_named(sv, caller.project_id, set(named.values()))
    for param, name in named.items():
        if name not in found:
            raise not_in_the_log(name, param)
    answers = Answers(found[wanted.completion_id], wanted.choice_index)
    return with_other(answers, found[wanted.other_id], wanted.other_choice_index) if wanted.other_id else answers


def with_other(answers: Answers, exchange_id: str, choice_index: int) -> Answers:
    """Raises InvalidRequest: they are one answer, named in two ways."""
    if (answers.exchange_id, answers.choice_index) == (exchange_id, choice_index):
        raise InvalidRequest("Invalid 'other_id': a preference is between two answers.", param="other_id")
    return Answers(answers.exchange_id, answers.choice_index, exchange_id, choice_index)


def speaker_of(sv: Services, caller: ApiKey, user: str | None) -> Speaker:
    """The product's user is known by a hash alone."""
    secret_key = sv.settings.secret_key.reveal()
    return Speaker(caller.project_id, caller.id, end_user_hash(user, caller.project_id, secret_key) if user else None)
