"""How well answers are found in texts: exact match and F1, as SQuAD measures them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.data import Split
from safr.data.answers import encode_answers, list_answer_texts, read_questions
from safr.evaluation.statistics import SHARE, bootstrap_mean, format_percent
from safr.inference import find_answers
from safr.model.answer_logits import find_asked
from safr.rounding import format_share


def compute_answer_metrics(spans: Int[np.ndarray, "text 2"], labels: Int[np.ndarray, "text token"]) -> dict[str, float]:
    """The metrics of answers in `DEV_METRICS`, by their tokens: the share that are right, and F1 on average.

    Args:
        spans: First and last token of the model's answers.
        labels: See `label_asked`.
    """
    right = torch.stack(find_asked(torch.from_numpy(labels)), dim=1).numpy()
    shared = np.minimum(spans[:, 1], right[:, 1]) - np.maximum(spans[:, 0], right[:, 0]) + 1
    lengths = (spans[:, 1] - spans[:, 0] + 1) + (right[:, 1] - right[:, 0] + 1)
    return {
        "exact_match": float((spans == right).all(axis=1).mean()),
        "answer_f1": float((2 * np.maximum(shared, 0) / lengths).mean()),
    }


def score_answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, split: Split, max_tokens: int | None = None
) -> dict[str, Any]:
    """Exact match and F1 of the model's answers to all questions, with 95 % bootstrap intervals, by torchmetrics.

    An answer is compared with each right one, and the best counts. Case, punctuation and English articles are of no
    account; F1 is over words between white space.

    Source: Rajpurkar et al. 2016 (arXiv:1606.05250).

    Args:
        model: A model that finds answers; it runs in evaluation mode.
        tokenizer: Its tokenizer.
        split: Pairs of a question and a text, and for each the places of its answers in the text.
        max_tokens: Tokens read of a pair. Default: all.

    Returns:
        As JSON values: `exact_match`, `f1`; `questions`, how many; `not_read`, to how many of them the answer is beyond
        `max_tokens`, so that the model can't find it.
    """
    from torchmetrics.functional.text import squad  # slow to import

    pairs = read_questions(split.texts)
    places = find_answers(model, tokenizer, pairs, max_tokens)
    given = [text[start:end].strip() for (_, text), (start, end) in zip(pairs, places, strict=True)]
    scores = []
    for answer, right in zip(given, list_answer_texts(split), strict=True):
        target: Any = {"answers": {"text": right, "answer_start": [0] * len(right)}, "id": ""}
        scores.append(squad({"prediction_text": answer, "id": ""}, target))
    exact_match, f1 = ([float(score[name]) / 100 for score in scores] for name in ("exact_match", "f1"))
    return {
        "exact_match": bootstrap_mean(exact_match, limits=SHARE).to_dict(),
        "f1": bootstrap_mean(f1, limits=SHARE).to_dict(),
        "questions": len(split),
        "not_read": sum(not read.asked for read in encode_answers(tokenizer, split, max_tokens)),
    }


def describe_answers(scores: Mapping[str, Any]) -> str:
    """A sentence on how well answers are found, from `scores.json`, or chosen by chance; "" of other models."""
    answers = scores.get("answers")
    if "choices" in scores:
        return f"by chance {format_share(scores['choices']['chance'])} % of the choices would be right"
    if not answers:
        return ""
    return (
        f"of {answers['questions']:,} questions {format_percent(answers['exact_match'])} answered right (exact match), "
        f"F1 {format_percent(answers['f1'])}; accuracy and SRS are about the tokens of one right answer"
        + (f"; the answer to {answers['not_read']:,} is not read" if answers["not_read"] else "")
    )
