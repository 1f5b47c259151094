"""Trains a few steps with the Trainer and writes the weights; run alone, and by torchrun as several processes."""

import os
import sys

import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from safr.config import Regularization
from safr.model.attach import attach
from safr.model.trainer_callback import RegularizationCallback
from safr.model.vmask import VMASK
from tests.model.families import tiny

TEXTS = 8
LOGGED = ["loss", "task_loss", "importance", "interaction", "information", "eval_task_loss", "eval_interaction"]


class Expected(VMASK):
    """A mask that multiplies by the keep probability also while the model trains."""

    def train(self, mode=True):
        return super().train(False)


def main(folder, processes, smoothing):
    torch.manual_seed(0)
    model = attach(tiny("bert"), Regularization(importance=0.5, interaction=0.25, information=0.125))
    model.safr.vmask.__class__ = Expected
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    data = [{"input_ids": torch.randint(3, 40, (3 + n % 3,)), "labels": n % 2} for n in range(TEXTS)]
    arguments = TrainingArguments(
        folder,
        per_device_train_batch_size=TEXTS // processes,
        max_steps=3,
        learning_rate=0.1,
        optim="sgd",
        max_grad_norm=0,
        use_cpu=True,
        ddp_backend="gloo" if processes > 1 else None,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        logging_steps=1,
        per_device_eval_batch_size=TEXTS // processes,
        label_smoothing_factor=smoothing,
    )
    callback = RegularizationCallback()
    trainer = Trainer(model, arguments, _padded, train_dataset=data, eval_dataset=data, callbacks=[callback])
    trainer.train()
    trainer.evaluate()
    assert arguments.world_size == processes
    if trainer.is_world_process_zero():
        losses = [line[name] for line in trainer.state.log_history for name in LOGGED if name in line]
        torch.save({"weights": dict(model.named_parameters()), "losses": losses}, f"{folder}/{smoothing}.pt")


def _padded(texts):
    ids = nn.utils.rnn.pad_sequence([each["input_ids"] for each in texts], batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.tensor([e["labels"] for e in texts])}


if __name__ == "__main__":
    for smoothing in sys.argv[3:]:
        main(sys.argv[1], int(sys.argv[2]), float(smoothing))
    os._exit(0)  # gloo's threads, which are left at the end, sometimes abort a process that ends in the usual way
