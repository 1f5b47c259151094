"""`explain_output`, which explains every token that a language model writes after a text: one map per output token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explain import describe_no_words
from safr.attribution.explanation import json_values, load_view, output_names
from safr.attribution.registry import compute_scores, get_method
from safr.data.encoding import EncodedText, describe_left_out
from safr.errors import InputError, describe_value
from safr.inference import check_model, encode_texts, iter_logits, probabilities
from safr.model.families import continuing_output

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class OutputExplanation:
    """Which words of the text each token of a model's output depends on."""

    words: tuple[str, ...]
    """The words of the text; of a causal model also the tokens of the output, which later tokens see."""

    tokens: tuple[str, ...]
    """The tokens of the output, in the order in which they were written."""

    output: str
    """The output as text."""

    probabilities: Float[np.ndarray, " token"]
    """Probability in [0, 1] of every token, after the text and the tokens before it."""

    scores: Float[np.ndarray, "token word"]
    """Score of every word for every token; NaN for what a token does not see, and for white space."""

    method: str
    """Name of the attribution method that gave the scores."""

    left_out_note: str = ""
    """What of the text was left out and where, as a sentence; empty where nothing was."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, with None for a word that a token does not see."""
        return {
            "words": list(self.words),
            "tokens": list(self.tokens),
            "output": self.output,
            "probabilities": self.probabilities.tolist(),
            "scores": json_values(self.scores),
            "method": self.method,
            "left_out_note": self.left_out_note,
        }

    def to_json(self) -> str:
        """As one line of JSON in ASCII."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def to_pandas(self) -> pandas.DataFrame:
        """One row per token and word that it sees.

        Returns:
            The columns `token` (number of the output's token, from 0), `written` (the token), `probability` (of the
            token), `position` (of the word, from 0), `word` and `score`.
        """
        import pandas

        tokens, positions = np.nonzero(np.isfinite(self.scores))
        return pandas.DataFrame(
            {
                "token": tokens,
                "written": [self.tokens[token] for token in tokens],
                "probability": self.probabilities[tokens],
                "position": positions,
                "word": [self.words[position] for position in positions],
                "score": self.scores[tokens, positions],
            }
        )

    def rank_words(self, token: int, count: int = 5) -> list[tuple[str, float]]:
        """The words with the highest scores for one token, and their scores, the highest first.

        Args:
            token: Number of the output's token, from 0.
            count: How many words.
        """
        scores = self.scores[token]
        seen = np.flatnonzero(np.isfinite(scores))
        ranking = seen[np.argsort(-scores[seen], kind="stable")]
        return [(self.words[word], float(scores[word])) for word in ranking[:count]]

    def _repr_html_(self) -> str:
        """How a notebook shows it: for every token the words, shaded by how much they speak for it."""
        return load_view("safr.attribution.views", "output_html")(self)


def explain_output(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    *,
    method: str = "occlusion",
    max_new_tokens: int = 20,
    max_tokens: int | None = None,
) -> OutputExplanation:
    """Let a language model continue a text, and explain every token that it writes.

    The output is decoded greedily: each step takes the token with the highest logit, up to the end-of-text token, which
    is not explained. Generation settings such as a repetition penalty are ignored. A token is explained by the words of
    the text and, in a causal model, by the tokens before it.

    Args:
        model: A causal language model, or an encoder-decoder that writes text. It runs in evaluation mode.
        tokenizer: Its tokenizer.
        text: Any text with a word in it.
        method: Name of an attribution method, as for `safr.benchmark`. By default `occlusion`: by how much the token's
            log-odds fall when a word is deleted. `capacity` and `keep` know no output: for an encoder-decoder they give
            every token the same scores.
        max_new_tokens: Tokens that are written at most, at least 1.
        max_tokens: Tokens read of the text. Default: all.

    Returns:
        An `OutputExplanation` with as many tokens as were written, at least one.

    Raises:
        InputError: The model writes no text, the text has no word or is longer with its output than the model can read,
            the end of text comes first, no method has this name, or the model does not allow it.
    """
    check_model(model)
    if not model.can_generate():
        raise InputError(
            f"expected a model that writes text, got {type(model).__name__}; `safr.explain` explains its prediction"
        )
    if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise InputError(f"max_new_tokens must be a whole number of at least 1, got {describe_value(max_new_tokens)}")
    if not isinstance(text, str):
        raise InputError(f"expected one text, got {describe_value(text)}")
    get_method(method)  # before anything is written
    encoded = encode_texts(model, tokenizer, [text], max_tokens)[0]
    if not encoded.words:
        raise InputError(describe_no_words(max_tokens, encoded.truncated))
    written, shares = _write_greedily(model, encoded, _find_ends(model, tokenizer), max_new_tokens)
    distinct = list(dict.fromkeys(written))  # a token that is written again looks like itself, and needs no number
    name_of_token = dict(zip(distinct, output_names(model, tokenizer, distinct), strict=True))
    names = [name_of_token[token] for token in written]
    rows: list[NDArray[np.float64]] = []
    if model.config.is_encoder_decoder:
        columns = encoded.words
        for count in range(len(written)):
            with continuing_output(written[:count]):
                rows += compute_scores(method, model, [encoded], written[count])
    else:
        columns = (*encoded.words, *names)
        begun = [_append_tokens(encoded, written[:count], names) for count in range(len(written))]
        rows = compute_scores(method, model, begun, written)
    are_words = [True] * len(encoded.words) + [bool(name.strip()) for name in names]
    word_columns = np.flatnonzero(are_words)
    scores = np.full((len(written), len(columns)), np.nan)
    for token, row in enumerate(rows):
        scores[token, word_columns[: len(row)]] = row
    return OutputExplanation(
        words=columns,
        tokens=tuple(names),
        output=str(tokenizer.decode(written)),
        probabilities=np.array(shares),
        scores=scores,
        method=method,
        left_out_note=describe_left_out(tokenizer, text, encoded)[1],
    )


def _write_greedily(
    model: PreTrainedModel, text: EncodedText, ends: frozenset[int], most: int
) -> tuple[list[int], list[float]]:
    """The likeliest tokens one after the other, up to one that ends the text, and their probabilities.

    By the same passes that the methods make, without a cache of keys, so that both see the same likeliest token.
    """
    written: list[int] = []
    shares: list[float] = []
    while len(written) < most:
        after = text if model.config.is_encoder_decoder else _append_tokens(text, written, [""] * len(written))
        with continuing_output(written):
            ((_, logits),) = iter_logits(model, [after])
        token = int(logits[0].argmax())
        if token in ends:
            break
        written.append(token)
        shares.append(float(probabilities(model, logits)[0, token]))
    if not written:
        raise InputError("the model ends its output before the first token, so that there is nothing to explain")
    return written, shares


def _append_tokens(text: EncodedText, tokens: Sequence[int], names: Sequence[str]) -> EncodedText:
    """The text with an output's tokens behind it, each a word of its own unless its name is white space."""
    words = list(text.words)
    word_of_token: list[int | None] = list(text.word_of_token)
    for name in names[: len(tokens)]:
        word_of_token.append(len(words) if name.strip() else None)
        words += [name] * bool(name.strip())
    return replace(
        text,
        ids=(*text.ids, *tokens),
        words=tuple(words),
        word_of_token=tuple(word_of_token),
        token_types=(*text.token_types, *text.token_types[-1:] * len(tokens)),
    )


def _find_ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end a text, by the model's generation settings, its config or the tokenizer, the first that says."""
    for part in (getattr(model, "generation_config", None), model.config, tokenizer):
        ends = getattr(part, "eos_token_id", None)
        if ends is not None:
            return frozenset([ends] if isinstance(ends, int) else ends)
    return frozenset()
