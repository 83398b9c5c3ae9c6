"""What of a call is written down: the logging policy of its key. Applied before the spool, so nothing else is on disk."""

import msgspec

from gateway.errors import ErrorObject
from gateway.exchanges.checked import without_words
from gateway.exchanges.record import Record

NOT_KEPT = "(not kept: the logging policy of the key)"


def kept(each: Record) -> Record:
    """The record without what its policy leaves out.

    full      everything
    metadata  no bodies; of an error not its message, which may repeat what was sent; of verdicts not their words
    off       neither that nor anything that the client or the upstream chose: what the bill needs, out of /v1/exchanges

    Usage, cost and times are always kept: the ledger and the metrics count every call.
    """
    if each.logging == "full":
        return each
    bare = msgspec.structs.replace(
        each,
        request=b"",
        reply=None,
        error=_without_message(each.error),
        stored=False,
        verdicts=without_words(each.verdicts) if each.verdicts else None,
    )
    if each.logging == "metadata":
        return bare
    return msgspec.structs.replace(bare, error=None, reply_id=None, request_metadata=None, end_user=None, verdicts=None)


def erased(each: Record) -> Record:
    """The record of an exchange that was deleted before it came to the database: what the bill needs, and no more."""
    bare = kept(msgspec.structs.replace(each, logging="metadata" if each.logging == "full" else each.logging))
    return msgspec.structs.replace(bare, request_metadata=None, verdicts=None)


def _without_message(error: bytes | None) -> bytes | None:
    if error is None:
        return None
    shown = msgspec.json.decode(error, type=ErrorObject)
    shown.message = NOT_KEPT
    return msgspec.json.encode(shown)
