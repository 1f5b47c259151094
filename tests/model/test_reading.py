"""Which heads and layers the interaction loss reads, and how."""

import pytest
import torch

import safr
import safr.losses.heads as blocks
from safr.config import Regularization
from safr.model import reading
from safr.model.attach import attach
from tests.model.families import batch, tiny

LABELS = torch.tensor([0, 1, 0])


def regularized(model=None, **options):
    """A model that nothing but the interaction loss is added to, and nothing is left to chance but that."""
    model = tiny("bert") if model is None else model
    attach(model, Regularization(importance=0, interaction=1, vmask=False, **options))
    for each in model.modules():
        if isinstance(each, torch.nn.Dropout):
            each.p = 0.0
    return model.train()


def long_batch(tokens):
    return {"input_ids": torch.randint(5, 40, (2, tokens)), "labels": torch.tensor([0, 1])}


@pytest.fixture
def read(monkeypatch):
    """How many heads of how many tokens were read with how many probes."""
    seen = []
    original = reading.interaction_loss_of_heads

    def noting(heads, mask, exclude_self, pairs, probes):
        seen.append((heads.query.shape[1], heads.query.shape[2], probes))
        return original(heads, mask, exclude_self, pairs, probes)

    monkeypatch.setattr(reading, "interaction_loss_of_heads", noting)
    return seen


def small_thresholds(monkeypatch):
    monkeypatch.setattr(reading, "EXACT_IN_ALL_HEADS", 8)
    monkeypatch.setattr(reading, "EXACT", 12)


@pytest.mark.parametrize(
    ("tokens", "options", "expected"),
    [
        (8, {}, (2, None)),
        (9, {}, (1, None)),
        (12, {}, (1, None)),
        (13, {}, (1, reading.PROBES)),
        (13, {"interaction_estimator": "exact"}, (2, None)),
        (8, {"interaction_estimator": "probes"}, (2, reading.PROBES)),
        (13, {"interaction_heads": 2}, (2, reading.PROBES)),
        (8, {"interaction_heads": 1}, (1, None)),
        (8, {"interaction_heads": 9}, (2, None)),
    ],
)
def test_the_estimator_goes_by_length_unless_it_is_named(monkeypatch, read, tokens, options, expected):
    small_thresholds(monkeypatch)
    model = regularized(**options)
    model(**long_batch(tokens))
    assert read == [(expected[0], tokens, expected[1])] * 2


@pytest.mark.parametrize("tokens", [9, 13])
def test_where_nothing_is_trained_no_heads_are_drawn(monkeypatch, read, tokens):
    small_thresholds(monkeypatch)
    model = regularized()
    with torch.no_grad():
        model(**long_batch(tokens))
    model.eval()(**long_batch(tokens))
    assert {heads for heads, _, _ in read} == {2}


def test_drawn_heads_and_layers_are_right_in_the_mean():
    inputs = {**batch(), "labels": LABELS}
    everything = regularized()
    exact = everything(**inputs)
    weight = everything.bert.encoder.layer[0].attention.self.query.weight
    (expected,) = torch.autograd.grad(exact.loss, weight)
    drawn = regularized(safr.detach(everything), interaction_heads=1, interaction_layers=1)
    losses, gradients = [], []
    for _ in range(300):
        loss = drawn(**inputs).loss
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, weight)[0])
    spread, mean = torch.std_mean(torch.stack(losses), dim=0)
    assert spread > 0
    assert abs(mean - exact.loss) < 5 * spread / 300**0.5
    spread, mean = torch.std_mean(torch.stack(gradients), dim=0)
    assert ((mean - expected).abs() <= 5 * spread / 300**0.5 + 1e-7).all()


@pytest.mark.parametrize("family", ["bert", "llama", "gpt2"])
def test_a_training_step_makes_no_matrix_of_all_weights(monkeypatch, family):
    monkeypatch.setitem(blocks._BLOCK, "cpu", 32 * 32)
    model = regularized(tiny(family), importance_weights="equal")
    inputs = long_batch(30)
    inputs["input_ids"] = torch.randint(5, 40, (6, 30))
    inputs["labels"] = torch.tensor([0, 1] * 3)
    made = []

    class Made(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.shape[-2:] == (30, 30) and result.is_contiguous():
                made.append(result.numel() // 900)
            return result

    with Made():
        model(**inputs).loss.backward()
    assert max(made) <= 6  # the mask of each text; the weights of all heads would be 12


def test_layers_that_share_a_mask_count_its_pairs_once(monkeypatch):
    counted = []
    original = reading.visible_pairs
    monkeypatch.setattr(reading, "visible_pairs", lambda *given: counted.append(1) or original(*given))
    regularized()(**batch(), labels=LABELS)
    assert len(counted) == 1
