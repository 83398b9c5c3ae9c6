"""The embedded inference engine: transformers + PEFT behind the part of vLLM's HTTP API that the gateway uses.

    __main__     arguments                          lifecycle    load, listen, drain, stop
    server       every URL                          protocol     request types and their checks
    messages     chat messages -> chat template     answers      pieces -> a body or a stream
    replies      bodies and chunks                  refusals     every error
    engine       models by name, without HTTP       scheduler    the model thread: who is read, who decodes, who waits
    prefill      reading a prompt                   batch        one decode step of many rows
    choice       one answer being written           sampling     logits -> a token
    sleeping     weights out of memory for a while  prompt_scores  how probable a prompt's tokens are
    detokenize   tokens -> whole characters         vocabulary   the tokenizer and the chat template
    adapters     LoRA adapters on one base          attention    decoding with grouped queries
    loading      model, device, threads             parent       not outliving the starting process

Two threads matter: the event loop (HTTP only) and the model thread (everything that touches torch).
"""
