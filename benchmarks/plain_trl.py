"""The fine-tuning script that anyone would write with TRL: what benchmarks/training.py compares a job with.

usage: plain_trl.py SETTINGS.json     prints {"seconds": of trainer.train(), "loss": at the end} as its last line
"""

import json
import sys
import time
from pathlib import Path

import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

settings = json.loads(Path(sys.argv[1]).read_text())
on_gpu = torch.cuda.is_available()
tokenizer = AutoTokenizer.from_pretrained(settings["base_model"])
dtype = torch.bfloat16 if on_gpu else torch.float32
model = AutoModelForCausalLM.from_pretrained(settings["base_model"], dtype=dtype)
dataset = load_dataset("json", data_files=settings["training_file"], split="train", cache_dir=settings["cache"])
config = SFTConfig(
    output_dir=settings["output"], num_train_epochs=settings["n_epochs"], learning_rate=settings["learning_rate"],
    per_device_train_batch_size=settings["micro_batch"], gradient_accumulation_steps=settings["accumulation"],
    max_length=settings["context_length"], assistant_only_loss=True, packing=settings["packing"],
    gradient_checkpointing=False, use_cpu=not on_gpu, bf16=on_gpu, lr_scheduler_type="linear", warmup_steps=0.03,
    save_strategy="epoch", logging_steps=1, report_to="none", disable_tqdm=True, seed=settings["seed"],
)  # fmt: skip
lora = LoraConfig(r=settings["lora_rank"], lora_alpha=settings["lora_alpha"], target_modules="all-linear")
trainer = SFTTrainer(model, args=config, train_dataset=dataset, processing_class=tokenizer, peft_config=lora)
began = time.perf_counter()
trainer.train()
seconds = time.perf_counter() - began
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
print(json.dumps({"seconds": seconds, "loss": losses[-1]}))
