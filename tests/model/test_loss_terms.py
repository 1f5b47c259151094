"""Which texts, heads and layers the interaction loss reads, and how."""

import copy

import pytest
import torch

import safr
import safr.losses.blocked_attention as blocks
from safr.config import Regularization
from safr.errors import InputError
from safr.model import loss_terms
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
    """How many heads of how many texts were read with how many probes."""
    seen = []
    original = loss_terms.blocked_interaction_loss

    def noting(heads, mask, exclude_self, pairs, probes, *generator):
        seen.append((heads.query.shape[0], heads.query.shape[1], probes))
        return original(heads, mask, exclude_self, pairs, probes, *generator)

    monkeypatch.setattr(loss_terms, "blocked_interaction_loss", noting)
    return seen


def small_thresholds(monkeypatch):
    for name, tokens in (("ALL_HEADS", 8), ("ALL_TEXTS", 12), ("EXACT", 16)):
        monkeypatch.setattr(loss_terms, name, tokens)


@pytest.mark.parametrize(
    ("tokens", "options", "expected"),
    [
        (8, {}, (2, 2, None)),
        (9, {}, (2, 1, None)),
        (12, {}, (2, 1, None)),
        (13, {}, (1, 1, None)),
        (16, {}, (1, 1, None)),
        (17, {}, (2, 1, loss_terms.PROBES)),
        (17, {"interaction_estimator": "exact"}, (2, 2, None)),
        (8, {"interaction_estimator": "probes"}, (2, 2, loss_terms.PROBES)),
        (17, {"interaction_heads": 2}, (2, 2, loss_terms.PROBES)),
        (8, {"interaction_heads": 1}, (2, 1, None)),
        (8, {"interaction_heads": 9}, (2, 2, None)),
    ],
)
def test_the_estimator_goes_by_length_unless_it_is_named(monkeypatch, read, tokens, options, expected):
    small_thresholds(monkeypatch)
    model = regularized(**options)
    model(**long_batch(tokens))
    assert read == [expected] * 2


@pytest.mark.parametrize(("tokens", "probes"), [(9, None), (13, loss_terms.PROBES), (17, loss_terms.PROBES)])
def test_where_nothing_is_trained_everything_is_read_and_nothing_is_left_to_chance(monkeypatch, read, tokens, probes):
    small_thresholds(monkeypatch)
    model, inputs, state = regularized(), long_batch(tokens), torch.get_rng_state()
    with torch.no_grad():
        model(**inputs)
    assert model.eval()(**inputs).loss == model(**inputs).loss
    assert set(read) == {(2, 2, probes)}
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("family", ["deberta", "mpnet", "t5"])
@pytest.mark.parametrize("estimator", ["auto", "exact", "probes"])
def test_attention_that_is_held_as_weights_is_read_exactly_at_any_length(monkeypatch, read, family, estimator):
    small_thresholds(monkeypatch)
    model = regularized(tiny(family), interaction_estimator=estimator, interaction_heads=1)
    first, again = (float(model(**end(long_batch(17))).loss.detach()) for _ in range(2))
    assert first == again
    assert read == []


def end(inputs):
    """T5 classifies from its end token."""
    torch.manual_seed(0)
    inputs["input_ids"] = torch.randint(5, 40, inputs["input_ids"].shape)
    inputs["input_ids"][:, -1] = 2
    return inputs


def mean_equals(drawn, exact):
    spread, mean = torch.std_mean(torch.stack(drawn), dim=0)
    assert spread.max() > 0
    assert ((mean - exact).abs() <= 5 * spread / len(drawn) ** 0.5 + 1e-7).all()


@pytest.mark.parametrize("options", [{"interaction_heads": 1, "interaction_layers": 1}, {}])
def test_what_is_drawn_is_right_in_the_mean(monkeypatch, options):
    inputs = {**batch(), "labels": LABELS}
    everything = regularized()
    exact = everything(**inputs)
    weight = everything.bert.encoder.layer[0].attention.self.query.weight
    (expected,) = torch.autograd.grad(exact.loss, weight)
    if not options:  # then the length decides, and a text of the three is drawn
        monkeypatch.setattr(loss_terms, "ALL_TEXTS", 1)
    drawn = regularized(safr.detach(everything), **options)
    losses, gradients = [], []
    for _ in range(300):
        loss = drawn(**inputs).loss
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, weight)[0])
    mean_equals(losses, exact.loss)
    mean_equals(gradients, expected)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_text_of_padding_alone_gets_a_gradient_of_the_size_that_eager_attention_gives_it(family):
    plain = tiny(family)
    inputs = long_batch(60)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["attention_mask"][1] = 0
    model = copy.deepcopy(plain)
    attach(model, Regularization(importance=0, interaction=0, vmask=False))
    plain.set_attn_implementation("eager")
    norms = []
    for each in (plain, model):
        for module in each.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        each.train()(**inputs).loss.backward()
        norms.append({name: value.grad.norm() for name, value in each.named_parameters() if value.grad is not None})
    assert norms[0].keys() == norms[1].keys()
    for name, expected in norms[0].items():
        assert expected / 2 - 1e-4 <= norms[1][name] <= 2 * expected + 1e-4, name


@pytest.mark.parametrize("family", ["bert", "llama", "gpt2"])
def test_a_training_step_makes_no_matrix_of_all_weights(monkeypatch, family):
    monkeypatch.setitem(blocks._BLOCK, "cpu", 32 * 32)
    model = regularized(tiny(family), token_weighting="equal")
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
    original = loss_terms.count_visible_pairs
    monkeypatch.setattr(loss_terms, "count_visible_pairs", lambda *given: counted.append(1) or original(*given))
    regularized()(**batch(), labels=LABELS)
    assert len(counted) == 1


def test_an_importance_loss_of_embeddings_that_nobody_looks_up_is_one_line():
    model, inputs = attach(tiny("bert"), Regularization(vmask=False)), batch()
    vectors = model.get_input_embeddings()(inputs.pop("input_ids"))
    with pytest.raises(InputError, match=r"has not shown embedding, .* pass it input_ids and no inputs_embeds"):
        model(inputs_embeds=vectors, labels=torch.zeros(3, dtype=torch.long), **inputs)
