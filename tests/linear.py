"""A classifier whose words' true effects are known: its log-odds are the sum of one weight for each word."""

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from safr.data.planted import WORDS
from tests import tiny

STRENGTH = 0.8
PLANTED = {word: -STRENGTH for words in WORDS["negative"].values() for word in words} | {
    word: STRENGTH for words in WORDS["positive"].values() for word in words
}
"""Weights that get every planted sentence without a negator right."""

WEIGHTS = {**dict.fromkeys(tiny.BAD.split(), -STRENGTH), **dict.fromkeys(tiny.GOOD.split(), STRENGTH)}


class LinearConfig(PretrainedConfig):
    model_type = "linear_for_tests"


class LinearForSequenceClassification(PreTrainedModel):
    config_class = LinearConfig

    def __init__(self, config, weights):
        super().__init__(config)
        self.words = nn.Embedding.from_pretrained(weights, freeze=False)
        self.post_init()

    def _init_weights(self, module):
        """The weights are given."""

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None):
        total = (self.words(input_ids) * attention_mask[..., None]).sum(dim=1)  # (batch, 2)
        return SequenceClassifierOutput(logits=total)


def model(weights=None, tokenizer=None):
    """The model, with other weights and words if some are given."""
    words = tokenizer or tiny.tokenizer()
    table = torch.zeros(len(words), 2)
    for word, weight in (weights or WEIGHTS).items():
        table[words.convert_tokens_to_ids(word)] = torch.tensor([-weight / 2, weight / 2])
    config = LinearConfig(pad_token_id=words.pad_token_id, num_labels=2, num_hidden_layers=1)
    return LinearForSequenceClassification(config, table).eval()


def effects(texts, classes, weights=None):
    """What each word adds to the log-odds of the class that is predicted."""
    weights = weights or WEIGHTS
    return [
        torch.tensor([weights.get(word, 0.0) * (1 if chosen else -1) for word in text.words]).double().numpy()
        for text, chosen in zip(texts, classes, strict=True)
    ]
