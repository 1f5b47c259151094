"""Scores of words by an attribution method's name, and the class that they speak about."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explanation import output_names
from safr.attribution.registry import check_methods, compute_scores, is_signed, knows_class
from safr.attribution.words import Scores
from safr.data.encoding import EncodedText
from safr.errors import InputError, describe_value, shorten_text
from safr.inference import compares_answers, get_task, iter_logits

_MOST_NAMED = 10


def score_words(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[EncodedText],
    method: str,
    target: str | int | None = None,
    predicted: Sequence[int] | None = None,
) -> tuple[Scores, str]:
    """Scores of every word of every text by a method, and the name of the class that they speak about.

    Args:
        model: A model; it runs in evaluation mode.
        tokenizer: Its tokenizer.
        texts: Encoded texts.
        method: Name of an attribution method.
        target: Name or number of a class, or of a language model's next token. Default: what is predicted for a text;
            the name is then empty.
        predicted: What is predicted for each text, where that is known: in half precision another pass may round two
            classes the other way.

    Raises:
        InputError: No method has this name, the model does not allow it, or there is no such class or it is of no
            account.
    """
    check_methods(model, [method])
    if target is None:
        return compute_scores(method, model, texts, predicted), ""
    if not knows_class(method):
        raise InputError(f"`target` has no effect on {method}, whose scores are not about a class; leave it out")
    if not texts:
        return [], str(target)
    number, name = find_target(model, tokenizer, texts[0], target)
    return compute_scores(method, model, texts, number), name


def name_scores(method: str, target: str) -> str:
    """A method's scores by name, with the class that they speak about.

    >>> name_scores("relevance", "good"), name_scores("attention", "")
    ('relevance for “good”', 'attention')
    """
    return f"{method} for “{target}”" if target else method


def describe_scores(method: str, target: str, *, coloured: bool = True) -> str:
    """What a method's scores of words say, which are shown as colours or as numbers."""
    if not is_signed(method):
        return f"{'The stronger the blue, the higher' if coloured else 'By'} {name_scores(method, target)}."
    above, below = ("blue", "orange ones with a minus") if coloured else ("above 0", "those below 0")
    words = f"{above} words" if coloured else f"words {above}"
    return f"By {method}, {words} speak for “{target}”, and {below} against it."


def find_target(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: EncodedText, target: str | int
) -> tuple[int, str]:
    """Number and name of a class that is given by either, or of a token that a language model could put next.

    Args:
        model: A model; it runs in evaluation mode.
        tokenizer: Its tokenizer.
        text: Any text, which tells how many classes there are.
        target: A class's name, in any case if no two differ in that alone, or its number from 0 on. A token's text, or
            its id.

    Raises:
        InputError: There is none, more than one, or the model has no classes to choose from.
    """
    if compares_answers(model):
        raise InputError("`target` is for classes; the answer that is explained stands in double brackets in the text")
    if get_task(model) == "regression":
        raise InputError("`target` is for classes, and this model predicts a number; leave it out")
    if isinstance(target, bool) or not isinstance(target, str | int):
        raise InputError(f"expected `target` as a class's name or number, got {describe_value(target)}")
    ((_, logits),) = iter_logits(model, [text])
    count = logits.shape[-1]
    if isinstance(target, str) and model.can_generate():
        number = _find_token(tokenizer, target)
    elif isinstance(target, str):
        number = _find_class(output_names(model, tokenizer, range(count), outputs=count), target)
    else:
        number = target
    if not 0 <= number < count:
        raise InputError(f"expected `target` from 0 to {count - 1:,}, got {number}")
    return number, output_names(model, tokenizer, [number], outputs=count)[0]


def _find_class(names: Sequence[str], target: str) -> int:
    same = [number for number, name in enumerate(names) if name == target]
    alike = same or [number for number, name in enumerate(names) if name.casefold() == target.strip().casefold()]
    if not alike and target.isdecimal():  # as the command line gives a number
        return int(target)
    if len(alike) != 1:
        listed = ", ".join(shorten_text(name, 30) for name in names[:_MOST_NAMED])
        more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
        found = f"{len(alike)} classes are called" if alike else "no class is called"
        raise InputError(
            f"{found} {shorten_text(target)!r}; the model has {listed}{more}; a number counted from 0 works too"
        )
    return alike[0]


def _find_token(tokenizer: PreTrainedTokenizerBase, target: str) -> int:
    ids = tokenizer(target, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise InputError(
            f"expected `target` as one token, with its space as in ' Paris', got {shorten_text(target)!r}, which is "
            f"{len(ids)}; give its id"
        )
    return int(ids[0])
