"""python -m gateway.datasets: the same checks for people, and what gateway/datasets/isolated.py runs.

    python -m gateway.datasets report FILE [--method supervised|dpo] [--model DIR] [--context-length N]
    python -m gateway.datasets import FILE [--options JSON] [--training FILE] [--validation FILE] [--model DIR]
    python -m gateway.datasets export FILE --format openai|trl|sharegpt|alpaca|parquet|csv --output FILE
    python -m gateway.datasets fit FILE --schema FILE [--max-lines N]
    python -m gateway.datasets items FILE [--limit N] [--output FILE]

Prints one JSON object. Exits 3 when the memory does not suffice (with `--bound BYTES`, a limit that it sets itself).
"""

import argparse
import os
import sys
from pathlib import Path

import msgspec

from gateway.datasets.bounds import bind
from gateway.datasets.cleaning.exports import export
from gateway.datasets.eval_items import import_items
from gateway.datasets.fitting import fit
from gateway.datasets.importing import import_file
from gateway.datasets.tokens import TokenCounter
from gateway.datasets.unusable import OUT_OF_MEMORY, Refused, Unusable
from gateway.datasets.validation import validate_path
from gateway.protocol.dataset_versions import EXPORT_FORMATS
from gateway.protocol.datasets import ImportOptions


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.bound:
        bind(arguments.bound)
    try:
        answer = _answer(arguments)
    except Unusable as reason:
        answer = msgspec.json.encode(Refused(str(reason), reason.param))
    except MemoryError:
        sys.stderr.write("out of memory\n")
        sys.stderr.flush()
        os._exit(OUT_OF_MEMORY)  # what frees memory on the way out may need some
    sys.stdout.buffer.write(answer + b"\n")
    return 0


def _answer(arguments: argparse.Namespace) -> bytes:
    if arguments.command == "fit":
        return msgspec.json.encode(fit(arguments.schema, arguments.file, max_lines=arguments.max_lines))
    if arguments.command == "items":
        return msgspec.json.encode(import_items(arguments.file, arguments.output, limit=arguments.limit))
    if arguments.command == "export":
        return msgspec.json.encode(export(arguments.file, arguments.output, arguments.format))
    counter = TokenCounter(arguments.model)
    if arguments.command == "report":
        found = validate_path(
            arguments.file, arguments.method, counter=counter, context_length=arguments.context_length
        )
        return msgspec.json.encode(found)
    options = msgspec.json.decode(arguments.options, type=ImportOptions)
    outputs = (arguments.training, arguments.validation)
    return msgspec.json.encode(import_file(arguments.file, options, counter=counter, outputs=outputs))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.datasets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bound", type=int, default=0, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="check a training file")
    report.add_argument("--method", choices=("supervised", "dpo"), help="by default the one that the file is for")
    report.add_argument("--context-length", type=int)
    imports = commands.add_parser("import", help="turn a table or conversations into a training file")
    imports.add_argument("--options", default="{}", help="as in POST /v1/datasets/import")
    imports.add_argument("--training", type=Path, help="where the examples go")
    imports.add_argument("--validation", type=Path, help="where the share that `split` names goes")
    exports = commands.add_parser("export", help="write a training file as other trainers read it")
    exports.add_argument("file", type=Path)
    exports.add_argument("--format", choices=EXPORT_FORMATS, required=True)
    exports.add_argument("--output", type=Path, required=True)
    fits = commands.add_parser("fit", help="check the data of an eval's run")
    fits.add_argument("file", type=Path)
    fits.add_argument("--schema", type=Path, required=True, help="JSON Schema of an item")
    fits.add_argument("--max-lines", type=int, default=sys.maxsize)
    items = commands.add_parser("items", help="turn a table or training examples into the items of an eval")
    items.add_argument("file", type=Path)
    items.add_argument("--limit", type=int, help="the first so many")
    items.add_argument("--output", type=Path, help="where the items go")
    for command in (report, imports):
        command.add_argument("file", type=Path)
        command.add_argument("--model", type=Path, help="directory of the base model, for its tokenizer")
    return parser


if __name__ == "__main__":
    sys.exit(main())
