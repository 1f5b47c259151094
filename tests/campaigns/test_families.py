"""Every family of sequence classifiers: right numbers, or one line that refuses."""

import copy
import json
from pathlib import Path

import pytest
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from safr.config import Regularization
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.inference import iter_logits, iter_traces
from safr.model.attach import attach
from safr.model.families import find_feed_forward_layers, has_visible_attention
from safr.model.regularizer import get_regularizer
from tests.campaigns.classifiers import build_classifier

FEW = ["bert", "llama", "deberta-v2", "mpnet", "xlnet", "longformer", "big_bird", "mobilebert", "fnet", "funnel", "opt"]
FEW += ["bart", "gpt2"]
LENGTHS = (61, 13, 13, 6, 4, 4, 4, 4)
"""Tokens of the texts: of several lengths, and as many as there are tokens in them."""

TABLE = Path(__file__).parents[2] / "experiments" / "results" / "families.json"


def test_every_family_is_right_or_refused(pick_size, request):
    kinds = pick_size(FEW, list(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES))
    outcomes = {kind: try_family(kind) for kind in kinds}
    counts = {name: sum(outcome["outcome"] == name for outcome in outcomes.values()) for name in OUTCOMES}
    wrong = {kind: outcome for kind, outcome in outcomes.items() if outcome["outcome"] == "wrong"}
    print("families:", ", ".join(f"{count} {name}" for name, count in counts.items()))  # noqa: T201
    if request.config.getoption("--campaigns"):
        TABLE.write_text(json.dumps(outcomes, indent=1) + "\n")
    else:
        table = json.loads(TABLE.read_text())
        assert outcomes == {kind: table[kind] for kind in kinds}
    assert not wrong, wrong


OUTCOMES = ("right", "refused", "wrong", "not built")


@pytest.mark.filterwarnings("ignore")  # of the families' own
def try_family(kind):
    """What comes of one family: right, refused with a line, wrong with where, or not built with the reason."""
    torch.manual_seed(0)
    texts = make_texts(kind)
    try:
        model = build_classifier(kind)
        alone = [read_alone(copy.deepcopy(model), text) for text in texts]
    except Exception as error:  # whatever a family raises that is not made for sizes like these, or not for text alone
        return {"outcome": "not built", "line": f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"}
    try:
        for name, given in (("plain", model), ("attached", open_mask(copy.deepcopy(model)))):
            if problem := compare(given, texts, alone):
                return {"outcome": "wrong", "line": f"{name}: {problem}"}
        train(copy.deepcopy(model), texts)
    except InputError as error:
        return {"outcome": "refused", "line": str(error)}
    except Exception as error:  # a traceback is as wrong as a number
        return {"outcome": "wrong", "line": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    return {"outcome": "right"}


def make_texts(kind):
    draw = torch.Generator().manual_seed(1)
    texts = []
    for length in LENGTHS:
        words = torch.randint(3, 64, (length - 2,), generator=draw).tolist()
        numbers = tuple(range(length - 2))
        if kind == "xlnet":  # <sep> <cls> at the end, which is of a type of its own
            ids, owners, types = (*words, 2, 1), (*numbers, None, None), (*[0] * (length - 1), 2)
        else:
            ids, owners, types = (1, *words, 2), (None, *numbers, None), ()
        texts.append(EncodedText(ids, tuple(map(str, words)), owners, False, token_types=types))
    return texts


@torch.no_grad()
def read_alone(model, text):
    """Logits of a text by itself and, by hooks of our own, what its first feed-forward layers put out."""
    seen = []
    try:
        layers = find_feed_forward_layers(model)
    except InputError:
        layers = []
    for first in dict.fromkeys(first for first, _ in layers):
        first.register_forward_hook(lambda _, args, output: seen.append(output))
    inputs = {"input_ids": torch.tensor([text.ids]), "attention_mask": torch.ones(1, len(text.ids), dtype=torch.long)}
    if text.token_types:
        inputs["token_type_ids"] = torch.tensor([text.token_types])
    logits = model(**inputs).logits[0]
    assert logits.std() > 1e-4  # or a lost word would not show
    return logits, [vectors.squeeze()[: len(text.ids)] for vectors in seen if isinstance(vectors, torch.Tensor)]


def shows_attention(model, texts):
    """Whether a model's attention can be seen, in as many layers as it has."""
    try:
        list(iter_traces(model, texts[-1:], ("attention",)))
    except InputError:
        return False
    return has_visible_attention(model)


def open_mask(model):
    """SAFR on a model with a mask that lets everything through, so that all numbers stay what they were."""
    mask = attach(model, Regularization(interaction=0, vmask_width=8)).safr.vmask
    torch.nn.init.zeros_(mask.outer.weight)
    mask.outer.bias.data = torch.tensor([-50.0, 50.0])
    return model.eval()


def compare(model, texts, alone):
    """Where logits in batches differ from those alone, or vectors from those that a hook sees; None if nowhere."""
    for batch, logits in iter_logits(model, texts):
        for row, number in enumerate(batch.indices):
            if not near(logits[row], alone[number][0]):
                return f"logits of a batch are off by {(logits[row] - alone[number][0]).abs().max():.2g}"
    sites = ("embedding", "fc1", "attention") if shows_attention(model, texts) else ("embedding", "fc1")
    for batch, trace in iter_traces(model, texts, sites):
        for row, number in enumerate(batch.indices):
            count = len(texts[number].ids)
            for layer, vectors in enumerate(alone[number][1]):
                if not near(trace.site(f"fc1.{layer}")[row, :count], vectors):
                    return f"fc1.{layer} is not what a hook sees"
            if not near(trace.logits[row], alone[number][0]):
                return "logits of a trace are others"
            if any(
                weights.shape[2:] != batch.inputs["input_ids"].shape[1:] * 2 for weights in trace.attention.values()
            ):
                return "attention is not that of the texts' tokens"
    return None


def near(found, expected):
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-4)


def train(model, texts):
    """One step with SAFR on it, on texts of one length; the mask and the regularizers must be reached."""
    interaction = 0.1 if shows_attention(model, texts) else 0.0
    attach(model, Regularization(0.1, interaction, importance_sites="fc1", vmask_width=8)).train()
    ids = torch.tensor([text.ids for text in texts if len(text.ids) == LENGTHS[-1]])
    loss = model(
        input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.zeros(len(ids), dtype=torch.long)
    ).loss
    loss.backward()
    assert loss.isfinite()
    assert get_regularizer(model).terms["importance"] > 0
    assert model.safr.vmask.inner.weight.grad.abs().sum() > 0
