"""`tuneway serve` with real servers and fake programs of ours: `python fake_stack.py OPTIONS_AS_JSON`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from deploy.stack import Programs, StackOptions, serve
from deploy.vllm import options_of
from gateway.settings import load

FAKE = (sys.executable, str(Path(__file__).with_name("fake_part.py")))


def main() -> int:
    raw: dict[str, Any] = json.loads(sys.argv[1])
    needs = tuple(raw.pop("engine_needs", ()))
    config = Path(raw.pop("config")) if "config" in raw else None
    vllm = options_of(load(config, {}))
    options = StackOptions(data_dir=Path(raw.pop("data_dir")), config=config, vllm=vllm, **raw)
    programs = Programs(
        migrate=(*FAKE, "migrate"),
        worker=(*FAKE, "worker"),
        gateway=(*FAKE, "gateway"),
        engine=(*FAKE, "engine"),
        leash=(*FAKE, "engine"),
        engine_needs=needs,
    )
    return asyncio.run(serve(options, programs))


sys.exit(main())
