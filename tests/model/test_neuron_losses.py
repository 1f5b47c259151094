"""Losses on neurons, and the gate on them, in models of every family."""

import pytest
import torch

import safr
from safr.config import Regularization
from safr.errors import InputError
from safr.losses import NEURON_LOSSES
from safr.model.attach import attach, detach
from safr.model.families import find_feed_forward_layers
from safr.model.neuron_gate import keep_largest
from safr.model.regularizer import get_regularizer
from safr.model.save import load, save
from safr.model.trace import trace
from tests import tiny as tiny_runs
from tests.model.families import FC1, batch, tiny

LABELS = torch.tensor([0, 1, 1])
NOTHING = {"importance": 0, "interaction": 0, "vmask": False}
ALL = tuple(f"{name}={weight}" for name, weight in zip(NEURON_LOSSES, (0.5, 0.25, 2, 1, 0.125), strict=True))

each_family = pytest.mark.parametrize("family", FC1)


@each_family
def test_the_losses_read_what_a_trace_shows(family):
    model, inputs = attach(tiny(family).eval(), Regularization(neuron_losses=ALL, **NOTHING)), batch()
    output = model(**inputs, labels=LABELS)
    terms = dict(get_regularizer(model).terms)
    seen = trace(model, inputs, ["fc1_out"])
    assert list(terms) == ["task", *sorted(NEURON_LOSSES)]
    weighted = 0.0
    for word in ALL:
        name, _, weight = word.partition("=")
        values = [
            NEURON_LOSSES[name](seen.site(f"fc1_out.{layer}"), inputs["input_ids"], seen.content_mask)
            for layer in (0, 1)
        ]
        torch.testing.assert_close(terms[name], torch.stack(values).mean().detach(), msg=name)
        weighted += float(weight) * terms[name]
    torch.testing.assert_close(output.loss, terms["task"] + weighted)


@each_family
def test_every_loss_reaches_the_weights_of_fc1(family):
    for name in NEURON_LOSSES:
        model = attach(tiny(family).train(), Regularization(neuron_losses=(f"{name}=1",), **NOTHING))
        weight = model.get_submodule(FC1[family].format(0)).weight
        output = model(**batch(), labels=LABELS)
        (task,) = torch.autograd.grad(output.logits.sum() * 0 + output.loss, weight)
        assert task.isfinite().all(), name
        assert get_regularizer(model).terms[name] > 0, name


@each_family
@torch.no_grad()
def test_a_gate_leaves_the_largest_neurons_and_detach_takes_it_off_to_the_bit(family):
    model, inputs = tiny(family).eval(), batch()
    before = model(**inputs).logits
    attach(model, Regularization(top_k=3, neuron_dropout=0.5, **NOTHING))
    seen = trace(model, inputs, ["fc1_out"])
    for layer in (0, 1):
        active = (seen.site(f"fc1_out.{layer}") != 0).sum(dim=-1)[inputs["attention_mask"].bool()]
        assert active.max() <= 3
        assert active.float().mean() > 1
    assert not torch.allclose(model(**inputs).logits, before)
    detach(model)
    assert torch.equal(model(**inputs).logits, before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_largest_by_hand_and_the_gradient_goes_straight_through():
    activations = torch.tensor([[1.0, -3.0, 2.0, 0.5]], requires_grad=True)
    kept = keep_largest(activations, 2)
    assert kept.tolist() == [[0, -3, 2, 0]]
    (kept * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert activations.grad.tolist() == [[1, 2, 3, 4]]


def test_outside_training_neurons_that_are_off_say_nothing_about_the_output():
    activations = torch.tensor([[1.0, -3.0, 2.0, 0.5]], requires_grad=True)
    kept = keep_largest(activations, 2, training=False)
    assert kept.tolist() == [[0, -3, 2, 0]]
    (kept * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert activations.grad.tolist() == [[0, 2, 3, 0]]


def test_dropout_of_neurons_is_for_training_alone():
    model = attach(tiny("bert"), Regularization(neuron_dropout=0.5, layers=1, **NOTHING))
    inputs = batch()
    with torch.no_grad():
        assert torch.equal(model.eval()(**inputs).logits, model(**inputs).logits)
        seen = trace(model.train(), inputs, ["fc1_out"])
        share = (seen.site("fc1_out.1") == 0).float().mean()
        assert 0.3 < share < 0.7
        assert (seen.site("fc1_out.0") == 0).float().mean() < 0.1, "the other layer is not gated"


def test_losses_go_together_with_safr_on_the_same_site():
    both = Regularization(importance_sites="fc1_out", neuron_losses=("l1=1",))
    alone = Regularization(importance_sites="fc1_out")
    terms = []
    for settings in (both, alone):
        model = attach(tiny("bert").eval(), settings)
        torch.manual_seed(0)
        model(**batch(), labels=LABELS)
        terms.append(get_regularizer(model).terms)
    assert set(terms[0]) - set(terms[1]) == {"l1"}
    for name in ("task", "importance", "interaction"):
        torch.testing.assert_close(terms[0][name], terms[1][name])


def test_checkpointed_layers_give_the_same_gradient():
    gradients = []
    for checkpoints in (False, True):
        torch.manual_seed(0)
        settings = Regularization(neuron_losses=ALL, top_k=5, **NOTHING)
        model = attach(tiny("bert").train(), settings)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpoints:
            model.activation_checkpointing_enable()
        model(**batch(), labels=LABELS).loss.backward()
        gradients.append(model.get_submodule(FC1["bert"].format(0)).weight.grad)
    torch.testing.assert_close(*gradients)


def test_a_loss_of_ones_own_is_another_entry(monkeypatch):
    def loudest(activations, tokens, mask):
        return activations.abs().amax()

    settings = Regularization(neuron_losses=("loudest=2",), **NOTHING)
    with pytest.raises(InputError, match=r"has no 'loudest'; known are decorrelation, l1, .*NEURON_LOSSES"):
        attach(tiny("bert"), settings)
    monkeypatch.setitem(NEURON_LOSSES, "loudest", loudest)
    model = attach(tiny("bert").eval(), settings)
    output = model(**batch(), labels=LABELS)
    terms = get_regularizer(model).terms
    torch.testing.assert_close(output.loss, terms["task"] + 2 * terms["loudest"])


def test_a_saved_model_whose_loss_is_not_there_explains_and_says_what_it_lacks_to_train(monkeypatch, tmp_path):
    tokenizer = tiny_runs.tokenizer()
    inputs = dict(tokenizer(["a dull film", "a cast"], return_tensors="pt", padding=True))
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(NEURON_LOSSES, "loudest", lambda activations, tokens, mask: activations.abs().amax())
        save(tiny_runs.model(Regularization(neuron_losses=("loudest=2",), **NOTHING)), tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert safr.explain(loaded, tokenizer, "a dull film").words == ("a", "dull", "film")
    with pytest.raises(InputError, match=r"has no 'loudest'; known are .*NEURON_LOSSES"):
        loaded(**inputs, labels=torch.tensor([0, 1]))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(InputError, match=r"`neuron_losses` must be given as NAME=WEIGHT.*'l1'"):
        Regularization(neuron_losses=("l1",))
    with pytest.raises(InputError, match="weight of at least 0"):
        Regularization(neuron_losses=("l1=-1",))
    with pytest.raises(InputError, match="`neuron_losses` has the text 'l1' twice"):
        Regularization(neuron_losses=("l1=1", "l1=2"))
    with pytest.raises(InputError, match="can't hold importance; use the setting"):
        Regularization(neuron_losses=("importance=1",))
    with pytest.raises(InputError, match=r"`top_k` must be below the number of neurons of FC1, 32, got 32"):
        attach(tiny("bert"), Regularization(top_k=32))
    with pytest.raises(InputError, match=r"`top_k` must be below the number of neurons of FC1, \d+, got 4096"):
        attach(tiny("gpt2"), Regularization(top_k=4096, **NOTHING))
    uneven = tiny("bert")
    find_feed_forward_layers(uneven)[0][1].in_features = 8
    attach(uneven, Regularization(top_k=16, layers=1, **NOTHING))  # the narrow layer is not gated
    with pytest.raises(InputError, match=r"`top_k` must be below the number of neurons of FC1, 4, got 4"):
        keep_largest(torch.ones(2, 4), 4)
    with pytest.raises(InputError, match="the layer after FC1"):
        attach(tiny("bert"), Regularization(top_k=2, fc1="*.attention.self.query", **NOTHING))
    with pytest.raises(InputError, match="layers='all' in a model whose layers share weights"):
        attach(tiny("albert"), Regularization(top_k=2, layers=0, **NOTHING))
    model = attach(tiny("bert"), Regularization(neuron_losses=("l1=1",), **NOTHING))
    embeddings = model.get_input_embeddings()(batch()["input_ids"])
    with pytest.raises(InputError, match="need to know the tokens"):
        model(inputs_embeds=embeddings, labels=LABELS)


def test_equal_settings_are_written_alike():
    one, other = (Regularization(neuron_losses=words) for words in (("l1=1", "l1_l2=0", "decorrelation=0.50"),) * 2)
    assert one == other
    assert one.neuron_losses == ("decorrelation=0.5", "l1=1.0")
    assert Regularization(neuron_losses=("l1=0",)) == Regularization()


def test_a_gated_model_is_saved_and_loaded(tmp_path):
    tokenizer = tiny_runs.tokenizer()
    model = tiny_runs.model(Regularization(top_k=4, neuron_losses=("l1=0.5",), **NOTHING)).eval()
    save(model, tmp_path / "model", tokenizer=tokenizer)
    loaded = load(tmp_path / "model")
    assert get_regularizer(loaded).regularization == get_regularizer(model).regularization
    inputs = dict(tokenizer(["a dull film", "a cast"], return_tensors="pt", padding=True))
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    plain = type(model).from_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match="without its gate of neurons"):
        safr.attach(plain)
