"""SAFR on a BERT: two lines, and a plain loop trains as before."""

import torch
from transformers import BertConfig, BertForSequenceClassification

import safr

torch.manual_seed(0)
model = BertForSequenceClassification(
    BertConfig(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
)
safr.attach(model, safr.Regularization(importance=1, interaction=0.1))

optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
batch = {"input_ids": torch.randint(1, 100, (8, 12)), "labels": torch.randint(0, 2, (8,))}
for step in range(20):
    loss = model(**batch).loss  # cross-entropy and both regularizers
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 5 == 0:
        print(step, {name: round(float(value), 3) for name, value in model.safr.terms.items()})

model.eval()
seen = safr.trace(model, batch, sites=["fc1"])
print("capacity of the first text's tokens at FC1:", safr.capacity(seen.site("fc1.0"))[0])
