"""[vllm]: the vLLM that `tuneway serve --engine vllm` runs."""

from typing import Literal

from gateway.kit.section import Section, refuse_less_than_one

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values of vLLM's --max-lora-rank (vllm/config/lora.py, 0.32)."""
_LOCAL = "it listens on a free port of this machine, which must not be reachable from elsewhere"
VLLM_OPTIONS_OF_OURS = {
    "--host": _LOCAL,
    "--port": _LOCAL,
    "--uds": _LOCAL,
    "--model": "`tuneway serve --model` names it",
    "--served-model-name": "`tuneway serve --model` names it",
    "--api-key": "set [engine] api_key",
    "--api-server-count": "vLLM loads no adapters at run time into several API servers",
    "--no-enable-lora": "fine-tuned models need it; use `tuneway serve --engine none` and [[upstreams]] without them",
}
VLLM_VARIABLES_OF_OURS = {
    "VLLM_API_KEY": "set [engine] api_key",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "it is always set",
    "VLLM_SKIP_MODEL_NAME_VALIDATION": "the base would answer in the name of an adapter that is not loaded",
}


class VllmSettings(Section, frozen=True):
    """The vLLM that `tuneway serve --engine vllm` runs. What is left out keeps vLLM's own default."""

    python: str = ""
    """Python of the environment that vLLM is installed in; empty means the one that runs Tuneway."""
    max_loras: int = 4
    """Fine-tuned models that answer in the same moment; calls of others wait."""
    max_cpu_loras: int | None = None
    """Fine-tuned models kept in memory, max_loras or more; others are read from disk when they are called."""
    max_lora_rank: int = 64
    """Largest rank of an adapter that is served: 1, 8, 16, 32, 64, 128, 256, 320 or 512. Memory is set aside for it."""
    max_model_len: int | None = None
    """Tokens of prompt and answer together."""
    dtype: Literal["auto", "half", "float16", "bfloat16", "float", "float32"] | None = None
    """What it computes in. float32 is what training on a CPU computes in."""
    gpu_memory_utilization: float | None = None
    """The part of the GPU's memory that it takes, 0 to 1."""
    tensor_parallel_size: int | None = None
    """GPUs that share the model."""
    max_num_seqs: int | None = None
    """Calls that are answered at the same time."""
    enable_sleep_mode: bool | None = None
    """Lets it give its memory away and take it back; on by itself with [engine] sharing = "sleep"."""
    extra_args: tuple[str, ...] = ()
    """More of its options, as in ["--quantization", "fp8", "--enable-auto-tool-choice", "--tool-call-parser", "hermes"]."""
    environment: dict[str, str] = {}
    """Variables of its environment. { "HF_HUB_OFFLINE" = "0" } lets it download; VLLM_CPU_KVCACHE_SPACE (GiB) and OMP_NUM_THREADS count on a CPU."""

    def __post_init__(self) -> None:
        refuse_less_than_one(self, ("max_loras", "max_model_len", "tensor_parallel_size", "max_num_seqs"))
        if self.max_lora_rank not in LORA_RANKS:
            raise ValueError(f"max_lora_rank: {self.max_lora_rank} is none of {', '.join(map(str, LORA_RANKS))}")
        if self.max_cpu_loras is not None and self.max_cpu_loras < self.max_loras:
            raise ValueError(f"max_cpu_loras: {self.max_cpu_loras} is less than max_loras ({self.max_loras})")
        if self.gpu_memory_utilization is not None and not 0 < self.gpu_memory_utilization <= 1:
            raise ValueError(f"gpu_memory_utilization: {self.gpu_memory_utilization} is not more than 0 and at most 1")
        for option in self.extra_args:
            if (instead := VLLM_OPTIONS_OF_OURS.get(option.split("=")[0].replace("_", "-"))) is not None:
                raise ValueError(f"extra_args: {option} is not for here: {instead}")
        for variable in self.environment:
            if (instead := VLLM_VARIABLES_OF_OURS.get(variable)) is not None:
                raise ValueError(f"environment: {variable} is not for here: {instead}")
