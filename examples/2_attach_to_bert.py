"""SAFR on a BERT: two lines more, and training stays what it was."""

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import safr

torch.manual_seed(0)
# Or any pretrained model: AutoModelForSequenceClassification.from_pretrained(...), with tokenizer= below.
model = BertForSequenceClassification(BertConfig(vocab_size=100, hidden_size=32, num_attention_heads=2))
safr.attach(model, safr.Regularization(importance=1, interaction=0.1))

texts = [{"input_ids": torch.randint(1, 100, (12,)), "labels": n % 2} for n in range(64)]
arguments = TrainingArguments(tempfile.mkdtemp(), num_train_epochs=2, report_to="none", save_strategy="no")
trainer = Trainer(model, arguments, train_dataset=texts, eval_dataset=texts, callbacks=[safr.RegularizationCallback()])
trainer.train()
print(trainer.evaluate())
