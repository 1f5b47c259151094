"""A trained run and its test texts in; `scores.json` and `tokens.parquet` out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray
from transformers import PreTrainedModel

from safr.attribution.internals import InternalScores, internal_scores
from safr.attribution.words import Scores, random_scores
from safr.data import Split, TextDataset
from safr.data.encoding import EncodedText, encode
from safr.evaluation.audit import audit
from safr.evaluation.srs import DELETION_PERCENTS, MAIN_PERCENT, TextProgress, predict_after_deletion, select_top_words
from safr.evaluation.statistics import bootstrap_mean
from safr.model.families import has_visible_attention, unwrap
from safr.model.model_card import model_card
from safr.model.regularizer import get_explaining_site
from safr.runs import Run
from safr.storage import write_json, write_parquet, write_text

RANDOM_DRAWS = 5


MAIN_RANDOM_DRAWS = 20
"""Random deletions at the other k and at the main one, on up to 2,000 texts; see `count_random_draws`."""


CAPACITY_SITES = ("embedding", "vmask", "fc1", "fc1_out", "fc2")


MIN_WORDS, MAX_WORDS = 8, 30
"""Words of an example; shorter ones show little, longer ones don't fit a figure."""


EXAMPLES_PER_OUTCOME = 2


EXAMPLE_RULE = (
    f"Of the test texts with {MIN_WORDS} to {MAX_WORDS} words, the {EXAMPLES_PER_OUTCOME} that the last run classifies "
    f"right and the {EXAMPLES_PER_OUTCOME} that it classifies wrong whose SHA-256 comes first. The paper's own "
    "sentence comes before them where the classes are negative and positive."
)


PAPER_SENTENCE = (
    "Preposterous and tedious , Sonny is spiked with unintentional laughter that , unfortunately , occurs too "
    "infrequently to make the film even a guilty pleasure ."
)
"""The sentence of the paper's figures, in the treebank's spelling; its label is negative."""


def count_random_draws(texts: int) -> tuple[int, int]:
    """How many random deletions are made at the main k and at the others: fewer where there are many texts.

    What draws differ by falls with their number as with that of the texts, so that nothing is gained by both.

    >>> count_random_draws(1_743), count_random_draws(25_000)
    ((20, 5), (2, 1))
    """
    main, other = (min(most, math.ceil(most * 2000 / max(texts, 1))) for most in (MAIN_RANDOM_DRAWS, RANDOM_DRAWS))
    return main, other


def evaluate(
    run: Run, data: TextDataset, *, split: str = "test", progress: TextProgress | None = None
) -> dict[str, Any]:
    """Score a run on one split of its data and write down what was found.

    Args:
        run: A trained run.
        data: The data it was trained on; another gives an InputError.
        split: `test`, or `dev` to choose settings by.
        progress: Called as texts get done, each with all its deletions.

    Returns:
        What `scores.json` holds. Only the test split's scores are written there and into the model's card, its words to
        `tokens.parquet` and some texts to show to `examples.json`.
    """
    run.check_data(data)
    model, tokenizer = run.load_model()
    chosen: Split = getattr(data, split)
    texts = encode(tokenizer, chosen.texts, run.settings.max_tokens)
    site = get_explaining_site(model)
    attention = [f"attention.{site.partition('.')[2] or 0}"] if has_visible_attention(unwrap(model)) else []
    scored = internal_scores(model, texts, [*CAPACITY_SITES, *attention])
    about = {"split": split, "site": site, "texts": len(texts), "truncated": sum(text.truncated for text in texts)}
    scores = about | _scores(model, texts, np.array(chosen.labels), scored, site, progress)
    if split == "test":
        _write_words(run, texts, chosen, scored, data.label_names)
        write_json(run.examples_file, choose_examples(chosen, texts, scored, data.label_names))
        card = model_card(run.model_folder, _card_scores(scores), dataset=data.name, split=split)
        write_text(run.model_folder / "README.md", card)
        write_json(run.scores_file, scores)  # last, since it says that the run is evaluated
    return scores


@dataclass(frozen=True)
class ShownText:
    """A text to show."""

    text: str
    label: str
    origin: str
    """Why it is shown: `paper`, `right` or `wrong`."""


def choose_examples(
    split: Split, texts: Sequence[EncodedText], scored: Sequence[InternalScores], label_names: Sequence[str]
) -> list[dict[str, str]]:
    """The examples of a run, as JSON values, by `EXAMPLE_RULE`."""
    found = [_paper_example(split)] if set(label_names) == {"negative", "positive"} else []
    fitting = [n for n, text in enumerate(texts) if MIN_WORDS <= len(text.words) <= MAX_WORDS and not text.truncated]
    fitting.sort(key=lambda n: hashlib.sha256(split.texts[n].encode("utf-8", "surrogatepass")).digest())
    for origin, is_right in (("right", True), ("wrong", False)):
        matching = [n for n in fitting if (scored[n].prediction == split.labels[n]) == is_right]
        found += [
            ShownText(split.texts[n], label_names[split.labels[n]], origin) for n in matching[:EXAMPLES_PER_OUTCOME]
        ]
    return [asdict(example) for example in found]


def _scores(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    labels: NDArray[np.int64],
    scored: Sequence[InternalScores],
    site: str,
    progress: TextProgress | None,
) -> dict[str, Any]:
    right = np.array([text.prediction for text in scored]) == labels
    deletion: dict[str, dict[str, Any]] = {}
    srs: dict[str, Any] = {}
    still: dict[tuple[str, int], NDArray[np.float64]] = {}
    for (name, percent), draws in _deletions(model, texts, labels, scored, site, progress).items():
        # Of several random draws each text counts with its mean, so that the interval is over texts.
        still_right = draws.mean(axis=0)
        found = bootstrap_mean(still_right).to_dict()
        if len(draws) > 1:
            found["spread"] = float(draws.mean(axis=1).std(ddof=1))
        deletion.setdefault(name, {})[str(percent)] = found
        drops = srs if name == "capacity" else srs.setdefault(name, {})
        drops[str(percent)] = bootstrap_mean(right - still_right).to_dict()
        still[name, percent] = still_right
    # Paired: what deletion by capacity costs beyond random deletion, on the same texts of the same model.
    srs["above_random"] = {
        str(percent): bootstrap_mean(still["random", percent] - still["capacity", percent]).to_dict()
        for percent in DELETION_PERCENTS
    }
    return {
        "accuracy": bootstrap_mean(right).to_dict(),
        "deletion": deletion,
        "srs": srs,
        "capacity": _capacity_table(scored, site),
        "audit": {name: bootstrap_mean(values).to_dict() for name, values in audit(model, texts).items()},
    }


def _card_scores(scores: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """What a model's card tells, by the name it has there."""
    k = str(MAIN_PERCENT)
    return {
        "accuracy": scores["accuracy"],
        f"accuracy, random {k} % of words deleted": scores["deletion"]["random"][k],
        f"accuracy, {k} % of words with the highest capacity deleted": scores["deletion"]["capacity"][k],
        f"SRS({k})": scores["srs"][k],
    }


def _deletions(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    labels: NDArray[np.int64],
    scored: Sequence[InternalScores],
    site: str,
    progress: TextProgress | None,
) -> dict[tuple[str, int], NDArray[np.bool_]]:
    """Whether each text is still classified right after every deletion, (draw, text), by score and percent."""
    deletions = [
        (name, percent, scores)
        for name, scores in _attributions(scored, site).items()
        for percent in (DELETION_PERCENTS if name == "capacity" else (MAIN_PERCENT,))
    ]
    main, other = count_random_draws(len(texts))
    random = [random_scores(texts, seed) for seed in range(main)]
    for percent in DELETION_PERCENTS:
        draws = main if percent == MAIN_PERCENT else other
        deletions += [("random", percent, scores) for scores in random[:draws]]
    predicted = predict_after_deletion(
        model, texts, [(scores, percent) for _, percent, scores in deletions], progress=progress
    )
    outcomes: dict[tuple[str, int], list[NDArray[np.bool_]]] = {}
    for (name, percent, _), prediction in zip(deletions, predicted, strict=True):
        outcomes.setdefault((name, percent), []).append(prediction == labels)
    return {key: np.stack(draws) for key, draws in outcomes.items()}


def _attributions(scored: Sequence[InternalScores], site: str) -> dict[str, Scores]:
    """Scores by name: `capacity` is the one at the explaining site, the others are named after theirs."""
    others = [each for each in scored[0].capacity if each.startswith("fc1") and each != site] if scored else []
    found = {"capacity": [text.capacity[site] for text in scored]}
    found |= {f"capacity_{each.replace('.', '_')}": [text.capacity[each] for text in scored] for each in others}
    for name in ("keep", "attention"):
        values = [getattr(text, name) for text in scored]
        if values and values[0] is not None:
            found[name] = values
    return found


def _capacity_table(scored: Sequence[InternalScores], site: str) -> dict[str, Any]:
    """Average capacity over all words, over those that VMASK finds most important, and over the rest.

    Source: SAFR (Chang et al. 2025), Table 3. Differs from the paper: the 30 % are taken in each text, with the count
    that deletion uses, where the paper does not say whether it ranks within texts or over all of them.
    """
    capacities = [text.capacity[site] for text in scored]
    groups = {"all": [np.ones(len(each), dtype=bool) for each in capacities]}
    if scored and scored[0].keep is not None:
        important = [_marked(text.keep) for text in scored if text.keep is not None]
        groups |= {"important": important, "rest": [~each for each in important]}
    return {
        name: bootstrap_mean(
            [each[chosen].mean() if chosen.any() else 0.0 for each, chosen in zip(capacities, group, strict=True)],
            [chosen.sum() for chosen in group],
        ).to_dict()
        for name, group in groups.items()
    }


def _marked(keep: NDArray[np.float64]) -> NDArray[np.bool_]:
    marked = np.zeros(len(keep), dtype=bool)
    marked[list(select_top_words(keep, MAIN_PERCENT))] = True
    return marked


def _write_words(
    run: Run,
    texts: Sequence[EncodedText],
    split: Split,
    scored: Sequence[InternalScores],
    label_names: Sequence[str],
) -> None:
    """One row per word, for whoever wants to look further than the averages."""
    sizes = [len(text.words) for text in texts]
    columns: dict[str, Any] = {
        "text": np.repeat(np.arange(len(texts)), sizes),
        "position": np.concatenate([np.arange(size) for size in sizes]),
        "word": [word for text in texts for word in text.words],
        "label": np.repeat([label_names[label] for label in split.labels], sizes),
        "prediction": np.repeat([label_names[text.prediction] for text in scored], sizes),
    }
    if scored[0].keep is not None:
        columns["keep"] = np.concatenate([text.keep for text in scored if text.keep is not None])
    for site in scored[0].capacity:
        columns[f"capacity_{site.replace('.', '_')}"] = np.concatenate([text.capacity[site] for text in scored])
    write_parquet(run.words_file, pyarrow.table(columns))


def _paper_example(split: Split) -> ShownText:
    """The paper's sentence, spelled as the data spell it where it is among them."""
    alike = (text for text in split.texts if text.lower() == PAPER_SENTENCE.lower())
    return ShownText(next(alike, PAPER_SENTENCE), "negative", "paper")
