"""Two processes, one training: torchrun --standalone --nproc-per-node 2 examples/6_two_processes.py

The Trainer wraps the model in DistributedDataParallel by itself; SAFR is attached as on one process.
"""

import os
import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import safr

torch.manual_seed(0)  # every process starts with the same weights
model = BertForSequenceClassification(BertConfig(vocab_size=100, hidden_size=32, num_attention_heads=2))
safr.attach(model, safr.Regularization(importance=1, interaction=0.1))

texts = [{"input_ids": torch.randint(1, 100, (12,)), "labels": n % 2} for n in range(64)]
# Without torchrun there is one process and nothing to exchange.
backend = "gloo" if "WORLD_SIZE" in os.environ else None
arguments = TrainingArguments(
    tempfile.mkdtemp(),
    per_device_train_batch_size=8,  # of each process
    num_train_epochs=2,
    use_cpu=True,
    ddp_backend=backend,
    report_to="none",
    save_strategy="no",
    disable_tqdm=True,
)
trainer = Trainer(model=model, args=arguments, train_dataset=texts)
trainer.train()
if trainer.is_world_process_zero():
    print(f"{arguments.world_size} process(es), {trainer.state.global_step} steps")
    print({name: round(float(value), 3) for name, value in model.safr.terms.items()})
