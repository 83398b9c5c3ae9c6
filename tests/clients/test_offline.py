import subprocess
import sys

import pytest

from tests.clients.libraries import APPLICATIONS


class TestOffline:
    @pytest.mark.parametrize(
        "attempt",
        ["socket.create_connection(('192.0.2.1', 9), 0.1)", "socket.getaddrinfo('tokenizers.example', 443)"],
        ids=["connection", "name"],
    )
    def test_ends_an_application_that_reaches_out(self, attempt: str) -> None:
        script = f"import offline, socket\ntry:\n    {attempt}\nexcept BaseException:\n    pass"
        done = subprocess.run([sys.executable, "-c", script], cwd=APPLICATIONS, capture_output=True, text=True)
        assert (done.returncode, "wants to reach" in done.stderr) == (3, True)

    def test_lets_it_reach_this_machine(self) -> None:
        script = "import offline, socket\nwith socket.create_server(('127.0.0.1', 0)) as server:\n"
        script += "    socket.create_connection(server.getsockname()).close()"
        subprocess.run([sys.executable, "-c", script], cwd=APPLICATIONS, check=True)
