"""Fine-tuning jobs of one project whose training has a price, from the client's side and from the worker's."""

from dataclasses import dataclass
from typing import Any

import httpx

from gateway.db.database import Database
from gateway.db.tables import LedgerRow
from gateway.services import Services, WorkerServices
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from tests.fakes import fine_tuning, training_money
from tests.fakes.fine_tuning import QUICK, until

Job = dict[str, Any]


@dataclass
class PaidJobs:
    client: httpx.AsyncClient
    sv: Services
    wv: WorkerServices
    project_id: str

    @property
    def database(self) -> Database:
        return self.wv.database

    async def created(self) -> Job:
        """Not validated yet."""
        return await fine_tuning.create_job(self.client)

    async def queued(self) -> Job:
        return await fine_tuning.queued(self.client, self.wv)

    async def training(self, mode: str = "hold") -> Job:
        """Its trainer waits after its first step, until `go_on` or until it is stopped."""
        return await fine_tuning.training(self.client, self.wv, self.wv.settings, mode)

    async def ended(self, **fields: Any) -> Job:
        """Trained to its end, and charged."""
        job = await fine_tuning.ended(self.client, self.wv, **fields)
        await self.idle()
        return job

    def set_mode(self, mode: str) -> None:
        """What the fake trainer does from its next start on."""
        fine_tuning.set_mode(self.wv.settings, mode)

    async def ask(self, job: Job, verb: str) -> httpx.Response:
        """Args: verb: cancel, pause or resume."""
        return await self.client.post(f"/v1/fine_tuning/jobs/{job['id']}/{verb}")

    async def do(self, job: Job, verb: str) -> None:
        answer = await self.ask(job, verb)
        assert answer.status_code == 200, answer.text

    async def stop(self, job: Job, verb: str = "cancel") -> None:
        """Until the worker has tidied up."""
        await self.do(job, verb)
        await self.idle()

    async def train(self) -> None:
        """One round of the worker."""
        await train_fine_tuning_jobs(self.wv, QUICK)

    async def go_on(self, job: Job) -> Job:
        """Let a trainer that waits come to its end, which is a good one."""
        fine_tuning.go_on(self.wv.settings, job["id"])
        return await self.succeeded(job)

    async def succeeded(self, job: Job) -> Job:
        done = await self.wait(job)
        assert done["status"] == "succeeded"
        await self.idle()
        return done

    async def wait(self, job: Job, *statuses: str) -> Job:
        """For one of them, or for any end."""
        return await fine_tuning.wait(self.client, job["id"], *statuses)

    async def idle(self) -> None:
        await fine_tuning.idle(self.wv)

    async def shown(self, job: Job) -> Job:
        return await fine_tuning.job_of(self.client, job["id"])

    async def told(self, job: Job, words: str) -> list[str]:
        """Its events' messages that hold these."""
        return [each for each in await fine_tuning.messages_of(self.client, job["id"]) if words in each]

    async def until_told(self, job: Job, words: str) -> None:
        async def is_told() -> bool:
            return await self.told(job, words) != []

        await until(is_told)

    async def add_budget(self, limit: int, budget_id: str = "budget_1") -> None:
        """A hard one of the project, for each month; the gateway knows it."""
        await training_money.add_budget(self.database, self.project_id, limit, budget_id)
        await self.sv.mirrors.refresh()

    async def raise_budget(self, limit: int) -> None:
        await training_money.raise_budget(self.database, limit)

    async def charges(self, job: Job) -> list[LedgerRow]:
        """In their order."""
        return await training_money.charges(self.database, job)

    async def charge(self, job: Job) -> LedgerRow:
        """The only one."""
        (charge,) = await self.charges(job)
        return charge

    async def trained(self, job: Job) -> list[int]:
        """Tokens of each charge."""
        return [each.input_tokens for each in await self.charges(job)]

    async def spent(self) -> int:
        """Of all budgets."""
        return await training_money.spent(self.database)

    async def unspent(self, job: Job) -> int:
        """What is held for it and not spent."""
        return await training_money.unspent(self.database, job)

    async def unspent_in(self, job: Job) -> dict[str, int]:
        """The same by budget; without those in which nothing is held."""
        return await training_money.unspent_in(self.database, job)
