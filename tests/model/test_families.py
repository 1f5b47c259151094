"""What SAFR promises on every family of models."""

import copy

import pytest
import torch

from safr.config import Regularization
from safr.losses import importance_loss, information_loss
from safr.model.attach import attach, detach
from safr.model.regularizer import get_regularizer
from safr.model.trace import trace
from tests.model.families import CAUSAL, FC1, LEFTMOST_POSITION, LENGTHS, batch, tiny, visible

LABELS = torch.tensor([0, 1, 1])
UNMASKED = Regularization(importance=0.5, interaction=0.25, vmask=False)

each_family = pytest.mark.parametrize("family", FC1)


def real(inputs):
    """Rows of tokens that are no padding; what a model does on padding is its own affair."""
    return inputs["attention_mask"].bool()


@each_family
@torch.no_grad()
def test_without_the_mask_logits_stay_what_they_were(family):
    model, inputs = tiny(family).eval(), batch()
    before = model(**inputs).logits
    assert before.std() > 0.05  # or a lost word would not show
    attach(model, UNMASKED)
    torch.testing.assert_close(model(**inputs).logits, before, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(**inputs, labels=LABELS).logits, before, rtol=1e-5, atol=1e-5)


@each_family
@torch.no_grad()
def test_detach_restores_the_model_to_the_bit(family):
    model, inputs = tiny(family).eval(), batch()
    before, state, implementation = model(**inputs).logits, set(model.state_dict()), model.config._attn_implementation
    attach(model)(**inputs, labels=LABELS)
    detach(model)
    assert torch.equal(model(**inputs).logits, before)
    assert set(model.state_dict()) == state
    assert model.config._attn_implementation == implementation
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert "accepts_loss_kwargs" not in vars(model)


@pytest.mark.parametrize("family", [each for each in FC1 if each != "paper"])  # whose eager attention is ours
@torch.no_grad()
def test_recorded_attention_equals_the_models_eager_attention(family):
    model, inputs = tiny(family).eval(), batch()
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    output = eager(**inputs, output_attentions=True)
    expected = output.encoder_attentions if "encoder_attentions" in output else output.attentions
    for seen in (trace(model, inputs, ["attention"]), trace(attach(model, UNMASKED), inputs, ["attention"])):
        assert list(seen.attention) == [0, 1]
        for layer, weights in seen.attention.items():
            rows = real(inputs)[:, None, :, None].expand_as(weights)
            torch.testing.assert_close(weights[rows], expected[layer][rows], rtol=1e-5, atol=1e-6)


@each_family
@torch.no_grad()
def test_vectors_equal_what_a_hook_of_ones_own_sees(family):
    model, inputs = tiny(family).eval(), batch()
    seen = []
    for path in dict.fromkeys(FC1[family].format(layer) for layer in (0, 1)):  # ALBERT's layers are one
        model.get_submodule(path).register_forward_hook(lambda _, args, output: seen.append(output))
    recorded = trace(model, inputs, ["fc1", "fc1_out.1", "embedding"])
    assert list(recorded.vectors) == ["embedding", "fc1.0", "fc1.1", "fc1_out.1"]
    for layer in (0, 1):
        assert torch.equal(recorded.site(f"fc1.{layer}"), seen[layer])
    assert not torch.equal(recorded.site("fc1.0"), recorded.site("fc1.1"))
    assert torch.equal(recorded.logits, model(**inputs).logits)


@each_family
def test_the_losses_are_the_slow_reference_on_what_a_trace_shows(family):
    model, inputs = attach(tiny(family).eval(), Regularization(0.5, 0.25, information=0.125)), batch()
    output = model(**inputs, labels=LABELS)
    terms = dict(get_regularizer(model).terms)
    seen = trace(model, inputs, ["vmask", "attention"])
    reference = [
        slow_interaction(weights, seen.content_mask, visible(model, family, inputs, layer))
        for layer, weights in seen.attention.items()
    ]
    expected = {
        "importance": importance_loss(seen.site("vmask"), seen.content_mask),
        "interaction": torch.stack(reference).mean(),
        "information": information_loss(seen.keep, seen.content_mask),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value.detach(), msg=name)
    weighted = 0.5 * expected["importance"] + 0.25 * expected["interaction"] + 0.125 * expected["information"]
    torch.testing.assert_close(output.loss, terms["task"] + weighted)


def slow_interaction(weights, content_mask, pairs):
    """The interaction loss pair by pair, with T^2 the number of pairs that see each other."""
    found = []
    for text, mask in enumerate(content_mask):
        tokens = mask.nonzero().flatten().tolist()
        for head in range(weights.shape[1]):
            a, total, count = weights[text, head].detach(), 0.0, 0
            for i in tokens:
                for j in tokens:
                    if pairs[text, 0, i, j]:
                        count += 1
                        total += float(a[i, j] * (1 - sum(a[i, z] * a[j, z] for z in tokens)))
            found.append(total / max(count, 1))
    return torch.tensor(found).mean()


@pytest.mark.parametrize("family", CAUSAL)
def test_a_causal_models_rows_see_only_earlier_tokens(family):
    inputs = batch()
    seen = trace(tiny(family).eval(), inputs, ["attention"])
    for weights in seen.attention.values():
        rows = real(inputs)[:, None, :, None].expand_as(weights)
        assert not weights.triu(1)[rows].any()


@pytest.mark.parametrize(
    ("family", "side"),
    [*((family, "right") for family in FC1), *((family, "left") for family in FC1 if family not in LEFTMOST_POSITION)],
)
@torch.no_grad()
def test_padding_changes_neither_the_losses_nor_the_logits(family, side):
    model = attach(tiny(family).eval(), Regularization(0.5, 0.5))
    logits, parts = [], []
    for row, length in enumerate(LENGTHS):
        one = {name: each[row : row + 1, :length] for name, each in batch().items()}
        logits.append(model(**one, labels=LABELS[row : row + 1]).logits[0])
        parts.append(dict(get_regularizer(model).terms))
    together = model(**batch(side=side, family=family), labels=LABELS)
    terms = dict(get_regularizer(model).terms)
    if side == "left" and family not in ("paper", *CAUSAL):  # they classify from the first token, or a decoder's last
        terms.pop("task")
    else:
        torch.testing.assert_close(together.logits, torch.stack(logits), rtol=1e-4, atol=1e-5)
    for name, value in terms.items():
        alone = torch.stack([each[name] for each in parts]).mean()
        torch.testing.assert_close(value, alone, rtol=1e-4, atol=1e-5, msg=name)


@each_family
def test_the_mask_and_the_models_own_weights_train(family):
    model = attach(tiny(family).train(), Regularization(1, 1))
    model(**batch(), labels=LABELS).loss.backward()
    for module in (model.safr.vmask.inner, model.get_input_embeddings()):
        assert module.weight.grad.abs().sum() > 0
