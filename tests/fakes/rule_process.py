"""In the place of gateway/rule_process.py: loads in no time, and does what the rules say it should.

{"type": "pass"}    passes
{"type": "slow"}    takes as long as `seconds` says
{"type": "die"}     ends in the middle of its answer
{"type": "babble"}  answers with something else
"""

import json
import os
import sys
import time

import msgspec


def main() -> None:
    read, write = sys.stdin.buffer, sys.stdout.buffer
    write.write((0).to_bytes(4))
    write.flush()
    while len(head := read.read(4)) == 4:
        rules, *_ = msgspec.msgpack.decode(read.read(int.from_bytes(head)))
        rule = json.loads(rules)[0]
        answer = msgspec.msgpack.encode([[0, True, 1.0, str(os.getpid()), [], None]])
        if rule["type"] == "slow":
            time.sleep(rule["seconds"])
        if rule["type"] == "babble":
            answer = b"{}"
        write.write(len(answer).to_bytes(4) + answer[: 2 if rule["type"] == "die" else None])
        write.flush()
        if rule["type"] == "die":
            return


if __name__ == "__main__":
    main()
