"""A part that dies on command: `python fake_part.py KIND [--port N ...]`. It stands for every program of the stack.

KIND names it, and says what it does:
    migrate    writes its environment to ENVIRONMENT_FILE and ends; with FAIL=migrate it ends with status 3
    others     answer any request on --port if there is one, and run until SIGTERM, which they note in ORDER_FILE; with
               SLOW=KIND they do not answer
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

KIND = sys.argv[1]


def main() -> None:
    if os.environ.get("FAIL") == KIND:
        sys.exit(os.environ.get("REASON", f"{KIND} was told to fail")) if KIND != "migrate" else _end(3)
    _write_environment()
    if KIND == "migrate":
        return
    signal.signal(signal.SIGTERM, _deaf if os.environ.get("DEAF") == KIND else _stop)
    if os.environ.get("GROUP") == KIND:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if "--port" in sys.argv and os.environ.get("SLOW") != KIND:
        _serve(int(sys.argv[sys.argv.index("--port") + 1]))
    while True:
        time.sleep(600)


def _serve(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _write_environment() -> None:
    if folder := os.environ.get("ENVIRONMENTS"):
        Path(folder, f"{KIND}.json").write_text(json.dumps({"argv": sys.argv[1:], **os.environ}))


def _stop(*_: object) -> None:
    if order := os.environ.get("ORDER_FILE"):
        with open(order, "a") as file:
            file.write(f"{KIND}\n")
    _end(0)


def _deaf(*_: object) -> None:
    sys.stdout.write("not listening\n")
    sys.stdout.flush()


def _end(status: int) -> None:
    sys.stdout.write(f"{KIND} ends with status {status}\n")
    sys.stdout.flush()
    os._exit(status)


main()
