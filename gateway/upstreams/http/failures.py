"""What goes wrong between a request and the end of its reply. Beside these, a TimeoutError."""


class Failure(ConnectionError):
    """The connection ended, or what came over it is not HTTP."""


class NothingRead(Failure):
    """The server had closed the connection before any byte of the request reached it: it cannot have acted on it."""


class Unreachable(Failure):
    """There is no connection: nobody listens, the name has no address, or the certificate is not trusted."""


class ProxyRefused(Unreachable):
    """The proxy on the way said no to its tunnel."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the proxy answered {status}")
        self.status = status
