"""A worker of the gateway that answers each connection with its process id, and fails where a file beside its log says so.

Called with a folder and the file descriptor of the listening socket. In the folder: `fails` (it ends at its start, with
status 3), `deaf` (it ignores SIGTERM). Each start is a line in `starts`.
"""

import os
import signal
import socket
import sys
from pathlib import Path

folder, listener = Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
with (folder / "starts").open("a") as starts:
    starts.write(f"{os.getpid()}\n")
if (folder / "fails").exists():
    sys.exit("the database is away")
if (folder / "deaf").exists():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener.listen()
while True:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(str(os.getpid()).encode())
