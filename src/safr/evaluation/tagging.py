"""How well the words of texts are tagged: the share of tags that are right, macro F1, and F1 of whole entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from seqeval.metrics import f1_score as entity_f1_score
from seqeval.metrics.sequence_labeling import get_entities
from sklearn.metrics import f1_score
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.data import Split
from safr.data.labels import OUTSIDE
from safr.data.tags import tokenize_tags
from safr.data.targets import IGNORED, TargetRow
from safr.errors import InputError
from safr.evaluation.classification import score_classes
from safr.evaluation.statistics import (
    DRAWS_TOGETHER,
    RESAMPLES,
    SHARE,
    bootstrap_mean,
    estimate_from_draws,
    format_percent,
)
from safr.inference import iter_target_logits
from safr.processes import share_texts
from safr.rounding import format_share

_PREFIXES = ("B-", "I-", "L-", "U-", "E-", "S-")
"""How tags of entities begin, by the schemes IOB, IOBES and BILOU."""


def compute_tag_metrics(
    predictions: Int[np.ndarray, "text token"], labels: Int[np.ndarray, "text token"], names: Sequence[str]
) -> dict[str, float]:
    """The metrics of tags in `DEV_METRICS`, by scikit-learn and seqeval; `entity_f1` is 0 where no tag is an entity's.

    Args:
        predictions: Numbers of the tags by the model.
        labels: The right ones, -100 where a token has none.
        names: Names of the tags.
    """
    counted = labels != IGNORED
    right, given = labels[counted], predictions[counted]
    metrics = {
        "macro_f1": float(f1_score(right, given, average="macro", zero_division=0)),
        "token_accuracy": float((right == given).mean()),
    }
    rows = [
        ([names[tag] for tag in row[mask]], [names[tag] for tag in given_row[mask]])
        for row, given_row, mask in zip(labels, predictions, counted, strict=True)
    ]
    return metrics | {"entity_f1": _score_entities([row for row, _ in rows], [row for _, row in rows], names)}


def score_tags(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    ids: Mapping[str, int],
    max_tokens: int | None = None,
) -> dict[str, Any]:
    """Scores of all words' tags, with 95 % bootstrap intervals over texts.

    Args:
        model: A model that gives tags; it runs in evaluation mode.
        tokenizer: Its tokenizer.
        split: Texts, and for each the tags of its words with white space between.
        ids: Numbers of the model's tags.
        max_tokens: Tokens read of a text. Default: all.

    Returns:
        As JSON values: `token_accuracy`; `macro_f1`, without an interval; `entity_f1`, where tags are those of
        entities, as seqeval has it: an entity is right if its first and last word and its kind are; `tokens`, how many
        words; `not_read`, how many more have no token, or one beyond `max_tokens`; `per_class`, each tag's precision,
        recall, F1 and support.

    Raises:
        InputError: Fewer than two texts hold a word with a tag.
    """
    rows = tokenize_tags(tokenizer, split, ids, max_tokens)
    words = sum(len(str(label).split()) for label in split.labels)
    rows = [row for row in rows if any(label != IGNORED for label in row.labels)]
    if len(rows) < 2:
        raise InputError(f"expected at least 2 texts with tagged words, got {len(rows)}; bring more data")
    names = {number: name for name, number in ids.items()}
    right = [[label for label in row.labels if label != IGNORED] for row in rows]
    given = _tag_rows(model, rows)
    hits = [np.mean(np.equal(*pair)) for pair in zip(right, given, strict=True)]
    all_right, all_given = np.concatenate(right), np.concatenate(given)
    classes = score_classes(all_right, all_given, names)
    scores: dict[str, Any] = {
        "token_accuracy": bootstrap_mean(hits, [len(row) for row in right], limits=SHARE).to_dict(),
        "macro_f1": classes["macro_f1"]["value"],
        "tokens": len(all_right),
        "not_read": words - len(all_right),
        "per_class": classes["per_class"],
    }
    if _are_entities(list(ids)):
        right_names, given_names = ([[names[tag] for tag in row] for row in rows] for rows in (right, given))
        scores["entity_f1"] = _estimate_entity_f1(right_names, given_names, list(ids))
    return scores


@share_texts("rows")
def _tag_rows(model: PreTrainedModel, rows: Sequence[TargetRow]) -> list[list[int]]:
    """The model's tags of the tokens that have a label."""
    predictions: dict[int, list[int]] = {}
    for batch, logits, labels in iter_target_logits(model, rows):
        given = logits.argmax(dim=-1).tolist()
        for index, row, right in zip(batch.indices, given, labels.tolist(), strict=True):
            predictions[index] = [tag for tag, label in zip(row, right, strict=False) if label != IGNORED]
    return [predictions[number] for number in range(len(rows))]


def describe_tags(scores: Mapping[str, Any]) -> str:
    """A sentence on how well words are tagged, from the scores in `scores.json`; "" of other models."""
    tags = scores.get("tags")
    if not tags:
        return ""
    entities = f"F1 of entities {format_percent(tags['entity_f1'])}, " if "entity_f1" in tags else ""
    return (
        f"{entities}of {tags['tokens']:,} tags {format_percent(tags['token_accuracy'])} right, macro F1 of tags "
        f"{format_share(tags['macro_f1'])}; accuracy and SRS are about one word a text"
        + (f"; {tags['not_read']:,} more words were not read" if tags["not_read"] else "")
    )


def _are_entities(names: Sequence[str]) -> bool:
    """Whether tags are those of entities, and not of parts of speech."""
    return all(name == OUTSIDE or name.startswith(_PREFIXES) for name in names) and len(set(names) - {OUTSIDE}) > 0


def _score_entities(right: list[list[str]], given: list[list[str]], names: Sequence[str]) -> float:
    return float(entity_f1_score(right, given, zero_division=0)) if _are_entities(names) else 0.0


def _estimate_entity_f1(right: list[list[str]], given: list[list[str]], names: Sequence[str]) -> dict[str, float]:
    """F1 of entities with its interval: texts are drawn with their numbers of entities."""
    counts = []
    for row, given_row in zip(right, given, strict=True):
        entities, found = set(get_entities(row)), set(get_entities(given_row))
        counts.append((len(entities & found), len(entities) + len(found)))
    hits, sizes = np.array(counts, dtype=np.float64).T
    generator, f1 = np.random.default_rng(0), []
    for _ in range(0, RESAMPLES, DRAWS_TOGETHER):
        drawn = generator.integers(len(counts), size=(DRAWS_TOGETHER, len(counts)))
        f1.append(2 * hits[drawn].sum(axis=1) / np.maximum(sizes[drawn].sum(axis=1), 1))
    return estimate_from_draws(_score_entities(right, given, names), f1).to_dict()
