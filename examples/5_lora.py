"""LoRA and SAFR: train adapters and the word mask only, save one plain model. Needs `pip install peft`."""

import tempfile

import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

import safr

torch.manual_seed(0)
model = BertForSequenceClassification(BertConfig(vocab_size=100, hidden_size=32, num_attention_heads=2))
adapted = get_peft_model(model, LoraConfig(target_modules=["query", "value"], modules_to_save=["classifier"]))
safr.attach(adapted, safr.Regularization(importance=1, interaction=0.1))  # before LoRA, the mask would be frozen

optimizer = torch.optim.AdamW([weight for weight in adapted.parameters() if weight.requires_grad], lr=1e-3)
batch = {"input_ids": torch.randint(1, 100, (8, 12)), "labels": torch.randint(0, 2, (8,))}
for _ in range(10):
    loss = adapted(**batch).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", round(loss.item(), 3))

with tempfile.TemporaryDirectory() as folder:
    safr.save(adapted, folder)  # the adapters are merged: loading needs no peft
    loaded = safr.load(folder)
with torch.no_grad():
    print(
        "largest difference of the logits:",
        float((loaded(**batch).logits - adapted.eval()(**batch).logits).abs().max()),
    )
