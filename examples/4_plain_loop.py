"""A loop of one's own, with a loss of one's own: class weights and label smoothing beside SAFR's regularizers."""

import torch
from torch.nn.functional import cross_entropy
from transformers import DistilBertConfig, DistilBertForSequenceClassification

import safr

torch.manual_seed(0)
model = DistilBertForSequenceClassification(
    DistilBertConfig(vocab_size=100, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
)
safr.attach(model, safr.Regularization(importance=1, interaction=0.1, warmup_steps=10))

# The mask starts from random weights, so it may learn faster than the rest.
optimizer = torch.optim.AdamW(safr.parameter_groups(model, learning_rate=1e-3, vmask_learning_rate=1e-2))
ids, labels = torch.randint(1, 100, (8, 12)), torch.randint(0, 2, (8,))
for step in range(20):
    outputs = model(input_ids=ids)
    loss = cross_entropy(outputs.logits, labels, weight=torch.tensor([1.0, 2.0]), label_smoothing=0.1)
    loss = loss + outputs.regularization  # left out, the next forward pass would refuse to go on
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 5 == 0:
        print(step, round(loss.item(), 3), {name: round(float(value), 3) for name, value in model.safr.terms.items()})

model.eval()
seen = safr.trace(model, {"input_ids": ids}, sites=["fc1"])
for layer in range(2):
    print(f"capacity of the first text's tokens at FC1 of layer {layer}:", safr.capacity(seen.site(f"fc1.{layer}"))[0])
