"""POST /v1/organization/projects/{project}/working_keys (an extension): the key that judges or evals ask models with."""

import msgspec
from litestar import post
from litestar.params import FromPath, RawBody

from gateway.errors import NoEncryptionKey
from gateway.kit.sealing import NoKey
from gateway.projects import repository as projects
from gateway.projects.owners import owners_of
from gateway.protocol.decode import decode
from gateway.protocol.organization import ProjectApiKey, WorkingKeyCreate
from gateway.routes.api_keys import api_key, write_key_created
from gateway.routes.callers import Admin, Sv
from gateway.working_keys import ACCOUNTS, WorkingKeys

decode_wanted = msgspec.json.Decoder(WorkingKeyCreate)


@post("/v1/organization/projects/{project_id:str}/working_keys", status_code=200)
async def create_working_key(sv: Sv, admin: Admin, project_id: FromPath[str], body: RawBody) -> ProjectApiKey:
    """Another one, after the one before was revoked or has expired; or the first one, to give it a budget before it is used.
    Nobody sees its secret.

    Raises:
        Conflict: the one that there is works.
        NoEncryptionKey: there is nothing to seal its secret with.
    """
    wanted = decode(decode_wanted, body)
    keys = WorkingKeys(sv.sealer, sv.settings.secret_key.reveal())
    async with sv.database.session() as session:
        await projects.active_project(session, project_id)
        try:
            row = await keys.another(session, project_id, wanted.purpose)
        except NoKey:
            raise NoEncryptionKey(f"the key that {ACCOUNTS[wanted.purpose].lower()} ask with") from None
        write_key_created(session, admin, row)
        shown = api_key(row, (await owners_of(session, [row]))[row.id])
    await sv.mirrors.catch_up()
    return shown
