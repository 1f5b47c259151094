"""The transformer of the SAFR paper, without any SAFR in it.

An ordinary transformers model: it trains with the Trainer, loads with `AutoModelForSequenceClassification`, and is the
paper's baseline as it stands.
"""

from __future__ import annotations

import math
from typing import Any, no_type_check

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import (
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from safr.model.attention import safr_attention

_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


@no_type_check  # transformers gives configs an __init__ of its own, which takes more than the fields
class TransformerConfig(PretrainedConfig):
    """Size of the paper's transformer; the defaults are those of its Table 5 and of the published code."""

    model_type = "safr-transformer"

    vocab_size: int = 30522
    hidden_size: int = 256
    num_hidden_layers: int = 1
    num_attention_heads: int = 8
    intermediate_size: int = 1024
    dropout: float = 0.1
    pad_token_id: int | None = 0
    # As in the published code: padding takes part in the pooled mean and has positions of its own, and whoever makes
    # batches pads every text to this length. Attention never looks at padding. None: padding never counts.
    padded_length: int | None = None

    def __post_init__(self, **options: Any) -> None:
        """Refuse sizes that no model can have; what transformers' own configs check by their types."""
        super().__post_init__(**options)
        sizes = {name: getattr(self, name) for name in _SIZES}
        if self.padded_length is not None:
            sizes["padded_length"] = self.padded_length
        for name, size in sizes.items():
            if type(size) is not int or size < 1:
                raise ValueError(f"`{name}` must be a whole number of at least 1, got {size!r}")
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, int | float) or not 0 <= self.dropout <= 1:
            raise ValueError(f"`dropout` must be a number from 0 to 1, got {self.dropout!r}")
        if self.hidden_size % 2:
            raise ValueError(
                f"`hidden_size` must be even, for sines and cosines of the positions, got {self.hidden_size}"
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"`num_attention_heads` must divide `hidden_size`, got {self.num_attention_heads} and "
                f"{self.hidden_size}"
            )


class ScaledEmbedding(nn.Embedding):
    """Embeddings times sqrt(width), so that positions, whose entries are in [-1, 1], don't drown them."""

    def forward(self, input: Tensor) -> Tensor:
        """The scaled embeddings of some ids."""
        return super().forward(input) * math.sqrt(self.embedding_dim)


class SelfAttention(nn.Module):
    """Multi-head self-attention through transformers' attention interface."""

    is_causal = False

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.size = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Mix the tokens' vectors."""
        heads = (*hidden.shape[:-1], -1, self.size)
        query, key, value = (
            project(hidden).view(heads).transpose(1, 2) for project in (self.query, self.key, self.value)
        )  # (batch, head, token, size)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, safr_attention)
        mixed, _ = attend(self, query, key, value, attention_mask, dropout=0.0, scaling=self.size**-0.5)
        return self.out(mixed.reshape(hidden.shape))


class Layer(nn.Module):
    """Attention, then FC1, ReLU and FC2, each followed by dropout, the residual sum and a layer norm (post-norm)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """One layer's new vectors."""
        hidden = self.attention_norm(hidden + self.dropout(self.attention(hidden, attention_mask)))
        return self.feed_forward_norm(hidden + self.dropout(self.fc2(F.relu(self.fc1(hidden)))))


class _Transformer(PreTrainedModel):
    """What the paper's models have in common: scaled embeddings, sinusoidal positions, layers, and one linear head."""

    config_class = TransformerConfig
    base_model_prefix = ""
    _input_embed_layer = "embedding"
    _supports_sdpa = True
    accepts_loss_kwargs = False  # the loss is a batch's mean: the Trainer must divide it when it accumulates batches
    _supports_attention_backend = True
    _no_split_modules = ["Layer"]  # noqa: RUF012 - transformers reads it as a class attribute
    head_size: int | None = None
    """Outputs of the head, where they are not as many as the config's labels."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.embedding = ScaledEmbedding(config.vocab_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.classifier = nn.Linear(config.hidden_size, self.head_size or len(config.id2label or ()))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # The published code keeps torch's own initialisation: N(0, 1) embeddings, uniform linear layers.
        if isinstance(module, (nn.Linear, nn.Embedding, nn.LayerNorm)):
            module.reset_parameters()

    def _run_layers(
        self,
        input_ids: Int[Tensor, "batch token"] | None,
        attention_mask: Int[Tensor, "batch token"] | None,
        inputs_embeds: Float[Tensor, "batch token width"] | None,
    ) -> tuple[Float[Tensor, "batch token width"], Tensor]:
        """What the last layer gives, and 1 for tokens and 0 for padding."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("expected either `input_ids` or `inputs_embeds`, got both or neither")
        hidden = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        tokens = attention_mask if attention_mask is not None else hidden.new_ones(hidden.shape[:2])
        # A text without tokens would leave a softmax over nothing; its first padding stands in and is pooled away.
        visible = attention_mask if attention_mask is None else _at_least_one(attention_mask)
        mask = create_bidirectional_mask(self.config, hidden, visible)
        hidden = self.dropout(hidden + self._positions(tokens, hidden))
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden, tokens

    def _pool(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Mean over the tokens, or over padding too as in the published code; zeros for a text without tokens."""
        if self.config.padded_length:
            return hidden.mean(dim=1)
        weight = tokens[..., None].to(hidden.dtype)  # (batch, token, 1)
        return (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)

    def _positions(self, tokens: Tensor, like: Tensor) -> Tensor:
        """Sinusoidal positions (Vaswani et al. 2017, section 3.5), counted from the first token that is no padding."""
        width = self.config.hidden_size
        position = (tokens.cumsum(dim=-1) - 1).clamp_min(0).to(torch.float32)
        if self.config.padded_length:
            position = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.float32).expand(tokens.shape)
        rate = torch.exp(torch.arange(0, width, 2, device=tokens.device) * (-math.log(10000.0) / width))
        angle = position[..., None] * rate  # (batch, token, width / 2)
        return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(start_dim=-2).to(like.dtype)


class TransformerForSequenceClassification(_Transformer):
    """The paper's classifier: scaled embeddings, sinusoidal positions, layers, mean over tokens, one linear head."""

    def forward(
        self,
        input_ids: Int[Tensor, "batch token"] | None = None,
        attention_mask: Int[Tensor, "batch token"] | None = None,
        labels: Int[Tensor, " batch"] | Float[Tensor, " batch"] | Float[Tensor, "batch label"] | None = None,
        inputs_embeds: Float[Tensor, "batch token width"] | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Classify a batch of texts.

        Args:
            input_ids: Token ids.
            attention_mask: 1 for tokens, 0 for padding. Default: all tokens.
            labels: Class of each text; with them the output holds the mean cross-entropy. By the config's
                `problem_type`: a number of each, for the mean squared error, or 0 and 1 for each class, for the mean
                binary cross-entropy.
            inputs_embeds: Embeddings, already scaled, in place of ids.
        """
        logits = self.classifier(self._pool(*self._run_layers(input_ids, attention_mask, inputs_embeds)))
        loss = None if labels is None else self._compute_loss(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _compute_loss(self, logits: Float[Tensor, "batch label"], labels: Tensor) -> Tensor:
        """The loss of the config's task, as transformers' own classifiers have it."""
        match self.config.problem_type:
            case "regression":
                return F.mse_loss(logits, labels.to(logits.dtype).view_as(logits))
            case "multi_label_classification":
                return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return F.cross_entropy(logits, labels)


class TransformerForTokenClassification(_Transformer):
    """The same layers with the head on every token, which gives each a tag."""

    def forward(
        self,
        input_ids: Int[Tensor, "batch token"] | None = None,
        attention_mask: Int[Tensor, "batch token"] | None = None,
        labels: Int[Tensor, "batch token"] | None = None,
        inputs_embeds: Float[Tensor, "batch token width"] | None = None,
        **_: Any,
    ) -> TokenClassifierOutput:
        """Classify the tokens of a batch of texts.

        Args:
            input_ids: Token ids.
            attention_mask: 1 for tokens, 0 for padding. Default: all tokens.
            labels: Tag of each token, -100 for those that have none; with them the output holds the mean cross-entropy.
            inputs_embeds: Embeddings, already scaled, in place of ids.
        """
        hidden, _tokens = self._run_layers(input_ids, attention_mask, inputs_embeds)
        logits = self.classifier(hidden)  # (batch, token, label)
        loss = None if labels is None else F.cross_entropy(logits.mT, labels)
        return TokenClassifierOutput(loss=loss, logits=logits)


class TransformerForMultipleChoice(_Transformer):
    """The paper's classifier with one logit for each choice, which it reads with the question."""

    head_size = 1

    def forward(
        self,
        input_ids: Int[Tensor, "batch choice token"] | None = None,
        attention_mask: Int[Tensor, "batch choice token"] | None = None,
        labels: Int[Tensor, " batch"] | None = None,
        inputs_embeds: Float[Tensor, "batch choice token width"] | None = None,
        **_: Any,
    ) -> MultipleChoiceModelOutput:
        """Score the choices of a batch of questions.

        Args:
            input_ids: Token ids of each question with each of its choices.
            attention_mask: 1 for tokens, 0 for padding. Default: all tokens.
            labels: Number of each right choice; with them the output holds the mean cross-entropy.
            inputs_embeds: Embeddings, already scaled, in place of ids.
        """
        given = input_ids if input_ids is not None else inputs_embeds
        hidden = self._run_layers(
            None if input_ids is None else input_ids.flatten(0, 1),
            None if attention_mask is None else attention_mask.flatten(0, 1),
            None if inputs_embeds is None else inputs_embeds.flatten(0, 1),
        )
        assert given is not None  # or the layers would have refused
        logits = self.classifier(self._pool(*hidden)).view(given.shape[:2])  # (batch, choice)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return MultipleChoiceModelOutput(loss=loss, logits=logits)


class TransformerForQuestionAnswering(_Transformer):
    """The same layers with the head on every token, which says whether an answer begins there, and whether it ends."""

    head_size = 2

    def forward(
        self,
        input_ids: Int[Tensor, "batch token"] | None = None,
        attention_mask: Int[Tensor, "batch token"] | None = None,
        start_positions: Int[Tensor, " batch"] | None = None,
        end_positions: Int[Tensor, " batch"] | None = None,
        inputs_embeds: Float[Tensor, "batch token width"] | None = None,
        **_: Any,
    ) -> QuestionAnsweringModelOutput:
        """Find the answers in a batch of questions with their texts.

        Args:
            input_ids: Token ids.
            attention_mask: 1 for tokens, 0 for padding. Default: all tokens.
            start_positions: First token of each answer; with both ends the output holds the mean of their
                cross-entropies.
            end_positions: Last token of each answer.
            inputs_embeds: Embeddings, already scaled, in place of ids.
        """
        hidden, tokens = self._run_layers(input_ids, attention_mask, inputs_embeds)
        logits = self.classifier(hidden)  # (batch, token, 2)
        lowest = max(-1e9, torch.finfo(logits.dtype).min)  # float16 ends before
        logits = logits.masked_fill(tokens[..., None] == 0, lowest)
        start, end = logits.unbind(dim=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (F.cross_entropy(start, start_positions) + F.cross_entropy(end, end_positions)) / 2
        return QuestionAnsweringModelOutput(loss=loss, start_logits=start, end_logits=end)


def _at_least_one(attention_mask: Tensor) -> Tensor:
    empty = attention_mask.sum(dim=-1, keepdim=True) == 0
    first = torch.arange(attention_mask.shape[1], device=attention_mask.device) == 0
    return torch.where(empty & first, torch.ones_like(attention_mask), attention_mask)


AutoConfig.register(TransformerConfig.model_type, TransformerConfig)
AutoModelForSequenceClassification.register(TransformerConfig, TransformerForSequenceClassification)
AutoModelForTokenClassification.register(TransformerConfig, TransformerForTokenClassification)
AutoModelForMultipleChoice.register(TransformerConfig, TransformerForMultipleChoice)
AutoModelForQuestionAnswering.register(TransformerConfig, TransformerForQuestionAnswering)
