"""The embedded inference engine: transformers + PEFT behind the part of vLLM's HTTP API that the gateway uses.

    __main__     arguments, then lifecycle      server      every URL             scheduler   who decodes when
    lifecycle    listen, drain, stop            protocol    request types         prefill     reading a prompt
    loading      model, device, threads         messages    chat -> template      batch       one decode step of many rows
    vocabulary   text <-> token ids             replies     bodies and chunks     choice      one answer being written
    adapters     LoRA adapters on one base      refusals    every error           sampling, detokenize

Two threads matter: the event loop (HTTP only) and the model thread (everything that touches torch).
"""
