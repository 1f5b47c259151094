"""Logits of answers: of one that is asked about beside all others, in a text or among choices."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from safr.data.marks import FIRST_ASKED, LAST_ASKED
from safr.data.targets import IGNORED
from safr.errors import InputError

IMPOSSIBLE = -1e9
"""Logit of what is no answer; not infinite, so that gradients stay numbers."""


def find_asked(asked: Int[Tensor, "batch token"]) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Positions of every text's first and last token that is asked about; see `label_asked`."""
    first, last = ((asked > 0) & (asked & what > 0) for what in (FIRST_ASKED, LAST_ASKED))
    return first.int().argmax(dim=-1), last.int().argmax(dim=-1)


def compare_answers(
    logits: Float[Tensor, "batch token 2"], asked: Int[Tensor, "batch token"]
) -> Float[Tensor, "batch 3"]:
    """Logits of the likeliest other answer, of the one that is asked about, and of all others together.

    Where no other answer is left, as where words are deleted, the log-odds would be infinite. The first token as start
    and end stands for the others then, as for no answer in SQuAD 2.0; the likeliest is half as likely as the answer at
    most, so that the answer stays the prediction.
    """
    scores = score_spans(logits, asked != IGNORED)  # (batch, token, token)
    texts = torch.arange(len(scores), device=scores.device)
    answer = scores[texts, *find_asked(asked)]
    others = scores.index_put((texts, *find_asked(asked)), scores.new_tensor(IMPOSSIBLE)).flatten(1)
    best = others.argmax(dim=-1, keepdim=True)
    rest = others.scatter(1, best, IMPOSSIBLE).logsumexp(dim=-1)
    is_alone, none = (asked != IGNORED).sum(dim=-1) == 1, logits[:, 0].float().sum(dim=-1)
    another = torch.where(is_alone, none.minimum(answer - math.log(2)), others.gather(1, best)[:, 0])
    return torch.stack([another, answer, torch.where(is_alone, none, rest)], dim=-1)


def compare_choices(
    logits: Float[Tensor, "batch 1"], rivals: Float[Tensor, "batch rival"] | None
) -> Float[Tensor, "batch 3"]:
    """Logits of the likeliest other choice, of the one that is asked about, and of all others together.

    Args:
        logits: Of the choices that are asked about.
        rivals: Of the others of each question.

    Raises:
        InputError: There are none, as where texts are no questions.
    """
    if rivals is None:
        raise InputError("expected questions with choices, got texts; write the choices with ' | ' between")
    best = rivals.argmax(dim=-1, keepdim=True)
    rest = rivals.scatter(1, best, IMPOSSIBLE).logsumexp(dim=-1)
    return torch.stack([rivals.gather(1, best)[:, 0], logits[:, 0].float(), rest], dim=-1)


def choose_spans(
    logits: Float[Tensor, "batch token 2"], possible: Bool[Tensor, "batch token"]
) -> Int[Tensor, "batch 2"]:
    """First and last token of the answer with the highest logit; arguments are those of `score_spans`."""
    best = score_spans(logits, possible).flatten(1).argmax(dim=-1)
    return torch.stack([best // possible.shape[1], best % possible.shape[1]], dim=-1)


def score_spans(
    logits: Float[Tensor, "batch token 2"], possible: Bool[Tensor, "batch token"]
) -> Float[Tensor, "batch token token"]:
    """Logit of every answer, by its first and its last token: the sum of theirs.

    Args:
        logits: Of every token as an answer's first and as its last.
        possible: True where a token may be in an answer. Others, and last tokens before the first, get -1e9.
    """
    first, last = logits.float().unbind(dim=-1)
    is_span = (possible[:, :, None] & possible[:, None, :]).triu()
    return torch.where(is_span, first[:, :, None] + last[:, None, :], IMPOSSIBLE)
