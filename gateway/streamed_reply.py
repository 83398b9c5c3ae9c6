"""A reply that is sent piece by piece: how it ends, and the short way that most of its pieces take."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from gateway.streaming import END, Relay, Splitter, is_run
from gateway.upstreams.client import UpstreamReply


class Shortcut:
    """Pieces of text from the upstream's connection to the client's, in one step, while whoever passes a stream on waits for more.

    Nobody is woken for them, which is most of what passing one on costs. What is anything but whole events of text, or comes
    while the client is slow, wakes who waits and goes the usual way.
    """

    def __init__(self, splitter: Splitter, relay: Relay) -> None:
        self._splitter = splitter
        self._relay = relay
        self.send: Callable[[bytes], bool] | None = None
        """To the client; False: not now."""

    def take(self, piece: bytes) -> bool:
        """Pass it on; False: that is not for here."""
        run = piece[: -len(END)]
        if not (self._splitter.is_empty and piece.endswith(END) and is_run(run) and b"\r" not in run):
            return False
        shown = self._relay.straight(run)
        if shown is None or self.send is None or not self.send(piece if shown is run else shown + END):
            return False
        self._relay.note(run)
        return True


class StreamedReply:
    """A reply that is sent piece by piece.

    `frames` must be read to its end even after the client has left: that is where the exchange is recorded.
    """

    frames: AsyncGenerator[bytes]

    def __init__(self, headers: dict[str, str], upstream: UpstreamReply, drain: float) -> None:
        self.headers = headers
        self.shortcut: Shortcut | None = None
        self.left = False
        """The client closed its connection before the end."""
        self.late = False
        """It was cut because the call took longer than it may."""
        self.ended = asyncio.Event()
        self._upstream = upstream
        self._drain = drain
        self._timers: list[asyncio.TimerHandle] = []

    def limit(self, deadline: float) -> None:
        """Cut the stream at that time of the event loop's clock."""
        self._timers.append(asyncio.get_running_loop().call_at(deadline, self._too_late))

    def open_shortcut(self, send: Callable[[bytes], bool]) -> None:
        """Args: send: to the client, unless that has to wait."""
        if self.shortcut is not None:
            self.shortcut.send = send
            self._upstream.offer_first(self.shortcut.take)

    def client_left(self) -> None:
        """Stop sending. Our engine is told to stop at once; a provider, which goes on generating and billing whether
        we listen or not, is read on for `drain` seconds to learn its usage."""
        self.left = True
        if self._drain:
            self._timers.append(asyncio.get_running_loop().call_later(self._drain, self.hang_up))
        else:
            self.hang_up()

    def hang_up(self, *, finished: bool = False) -> None:
        """Once its last frame is sent, or when nothing more is wanted.

        Args:
            finished: the upstream has said its last word.
        """
        for timer in self._timers:
            timer.cancel()
        if finished:
            self._upstream.leave()
        else:
            self._upstream.close()

    def _too_late(self) -> None:
        self.late = True
        self.hang_up()
