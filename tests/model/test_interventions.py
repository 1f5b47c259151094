from contextvars import copy_context

import pytest
import torch
from transformers import IBertConfig, IBertForSequenceClassification

from safr.config import Regularization
from safr.errors import InputError
from safr.model.attach import attach
from safr.model.interventions import intervene
from safr.model.trace import trace
from tests import tiny
from tests.model import families


def inputs(tokens=6):
    ids = torch.arange(5, 5 + 2 * tokens).view(2, tokens)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("site", ["embedding", "fc1.0", "fc1.1", "fc1_out.0", "fc1_out.1"])
def test_a_site_that_stays_what_it_is_changes_nothing(site):
    model = tiny.model(Regularization(vmask_width=8), num_hidden_layers=2)
    before = model(**inputs()).logits
    with intervene(model, site, torch.clone):
        torch.testing.assert_close(model(**inputs()).logits, before)
    with intervene(model, site, torch.zeros_like):
        assert not torch.allclose(model(**inputs()).logits, before)
    torch.testing.assert_close(model(**inputs()).logits, before)


def test_what_is_put_in_is_what_the_rest_gets():
    model = tiny.model(Regularization(vmask_width=8), num_hidden_layers=2)
    first, second = inputs(), {**inputs(), "input_ids": inputs()["input_ids"].flip(0)}
    taken = trace(model, second, ["vmask"]).site("vmask")
    with intervene(model, "embedding", lambda _: taken):
        torch.testing.assert_close(model(**first).logits, model(**second).logits)
    taken = trace(model, second, ["fc1"]).site("fc1.1")
    with intervene(model, "fc1.1", lambda _: taken):
        seen = trace(model, first, ["fc1", "fc1_out"])
    torch.testing.assert_close(seen.site("fc1_out.1"), taken.relu())
    with intervene(model, "fc1_out.1", lambda _: taken):
        seen = trace(model, first, ["fc2"])
    torch.testing.assert_close(seen.site("fc2.1"), model.layers[1].fc2(taken))


@pytest.mark.parametrize("family", [*families.FC1, "opt"])
@pytest.mark.parametrize("site", ["embedding", "fc1.0", "fc1.1", "fc1_out.1"])
@torch.no_grad()
def test_a_layer_is_changed_once_in_every_family(family, site):
    model, batch = families.tiny(family).eval(), families.batch()
    before, shapes = model(**batch).logits, []

    def halve(vectors):
        shapes.append(vectors.shape[:2])
        return vectors / 2

    for other in (model, attach(families.tiny(family).eval(), Regularization(importance=0, vmask=False))):
        shapes.clear()
        with intervene(other, site, halve):
            assert not torch.allclose(other(**batch).logits, before, atol=1e-6)
        assert shapes == [batch["input_ids"].shape]


@pytest.mark.parametrize("site", ["fc1.2", "fc1", "fc1_out.2", "fc2.0", "attention.0", "embedding.0", "fc1.-1"])
def test_sites_that_can_not_be_changed_are_told(site):
    with (
        pytest.raises(
            InputError, match=r"expected the site embedding, fc1\.0 to fc1\.1, or fc1_out\.0 to fc1_out\.1 of .*, got"
        ),
        intervene(tiny.model(num_hidden_layers=2), site, torch.clone),
    ):
        pass


def test_a_site_that_shows_no_tensor_gets_one_line():
    model = IBertForSequenceClassification(IBertConfig(vocab_size=40, hidden_size=16, num_attention_heads=2)).eval()
    with (
        pytest.raises(InputError, match="expected one tensor at embedding, got a tuple"),
        intervene(model, "embedding", torch.clone),
    ):
        model(input_ids=torch.tensor([[5, 6, 7]]))


def test_blocks_leave_nothing_behind_in_the_thread_that_opens_them():
    model, before = tiny.model(), len(copy_context())
    for _ in range(3):
        with torch.no_grad(), intervene(model, "fc1.0", torch.clone):
            model(**inputs())
    assert len(copy_context()) <= before + 1  # the pass itself may have one
