"""`python -m trainer.export BASE ADAPTER OUTPUT`: merges a LoRA adapter into its base model.

    BASE      directory of the base model (or its id in the local Hugging Face cache)
    ADAPTER   directory of the adapter, in PEFT's format; one that was trained on a 4-bit base (QLoRA) as well
    OUTPUT    directory to make: weights as safetensors in the base's own dtype, configuration, generation settings and
              tokenizer, ready for transformers and vLLM

The sum is made in 32-bit floats on the unquantized base: adding a small difference to 16-bit or 4-bit weights would round
it away. Exit status 0, or 1 with the reason in one sentence as the last line of standard error.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from trainer.engine.parent import exit_with_parent

ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "CUDA_VISIBLE_DEVICES": ""}


def main(arguments: list[str] | None = None) -> int:
    parent = os.getppid()
    parser = argparse.ArgumentParser(
        prog="python -m trainer.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when the starting process has died")
    parser.add_argument("base", metavar="BASE")
    parser.add_argument("adapter", type=Path, metavar="ADAPTER")
    parser.add_argument("output", type=Path, metavar="OUTPUT")
    chosen = parser.parse_args(arguments)
    if chosen.exit_with_parent:
        exit_with_parent(parent)
    os.environ.update(ENVIRONMENT)
    try:
        merge(chosen.base, chosen.adapter, chosen.output)
    except MemoryError:
        return _fail("There is not enough memory for the base model in 32-bit floats (4 bytes a parameter).")
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        return _fail(" ".join(str(error).split()) or type(error).__name__)
    return 0


def merge(base: str, adapter: Path, output: Path) -> None:
    """Raises OSError where something is not there or cannot be written, ValueError or RuntimeError where base and
    adapter do not fit, or where the sum is not finite.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    from trainer.model import write_model

    disable_progress_bar()
    dtype = getattr(AutoConfig.from_pretrained(base, local_files_only=True), "dtype", None) or torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    adapted: Any = PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=True)
    merged = adapted.merge_and_unload(safe_merge=True)
    write_model(merged.to(dtype), output)
    AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(output)


def _fail(reason: str) -> int:
    sys.stderr.write(reason + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
