"""Sending below spans: each try tells its upstream whose trace it belongs to."""

import time
from collections.abc import Sequence

from gateway.routing.deployment import Deployment
from gateway.sending import Answer, Sending
from gateway.tracing import Trace, type_of


class TracedSending:
    """Sends as Sending does, each try below a span of its own."""

    def __init__(self, sending: Sending, trace: Trace) -> None:
        self._sending = sending
        self._trace = trace

    def replicas(self, deployment: Deployment) -> Sequence[str] | None:
        return self._sending.replicas(deployment)

    async def loaded(self, deployment: Deployment) -> Sequence[str]:
        return await self._sending.loaded(deployment)

    async def send(self, deployment: Deployment, replica: str) -> Answer:
        begun = self._trace.begin(deployment, replica)
        try:
            answer = await self._sending.send(deployment, replica, self._trace.headers(begun.span_id))
        except BaseException as error:
            begun.ended, begun.error = time.perf_counter(), type_of(error)
            raise
        if isinstance(answer, bytes):
            begun.ended = time.perf_counter()
        return answer

    def hang_up(self, answer: Answer) -> None:
        self._sending.hang_up(answer)
