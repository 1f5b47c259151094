import copy
import dataclasses
import re

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
)

from safr.config import Regularization
from safr.errors import InputError
from safr.losses import importance_loss, interaction_loss
from safr.model.attach import attach, detach, trace
from safr.traces import SITES
from tests.model.families import batch, tiny

LABELS = torch.tensor([0, 1, 1])
UNMASKED = Regularization(importance=0.5, interaction=0.25, vmask=False)


@torch.no_grad()
def test_fc1_out_is_fc1_after_the_activation_and_fc2_reads_it():
    model, inputs = tiny("paper").eval(), batch()
    seen = trace(model, inputs, ["fc1", "fc1_out", "fc2"])
    assert torch.equal(seen.site("fc1_out.0"), seen.site("fc1.0").relu())
    torch.testing.assert_close(seen.site("fc2.0"), model.layers[0].fc2(seen.site("fc1_out.0")))


def test_without_vmask_the_importance_loss_reads_the_embeddings():
    model, inputs = attach(tiny("bert").eval(), UNMASKED), batch()
    model(**inputs, labels=LABELS)
    seen = trace(model, inputs, ["embedding"])
    assert seen.keep is None
    torch.testing.assert_close(
        model.safr.terms["importance"], importance_loss(seen.site("embedding"), seen.counting).detach()
    )


def test_padding_counts_where_the_settings_say_so():
    counted = dataclasses.replace(UNMASKED, padding="count", exclude_self=True)
    model, inputs = attach(tiny("paper").eval(), counted), batch()
    model(**inputs, labels=LABELS)
    seen = trace(model, inputs, ["embedding", "attention"])
    terms = model.safr.terms
    torch.testing.assert_close(terms["importance"], importance_loss(seen.site("embedding")).detach())
    every = torch.stack([interaction_loss(each, exclude_self=True) for each in seen.attention.values()])
    torch.testing.assert_close(terms["interaction"], every.mean().detach())


@pytest.mark.parametrize(("layers", "read"), [("all", [0, 1]), (-1, [1]), ((0,), [0]), ((1, -2), [0, 1])])
def test_the_interaction_loss_reads_the_chosen_layers(layers, read):
    model, inputs = attach(tiny("bert").eval(), dataclasses.replace(UNMASKED, layers=layers)), batch()
    model(**inputs, labels=LABELS)
    seen = trace(model, inputs, ["attention"])
    expected = sum(interaction_loss(seen.attention[layer], seen.counting) for layer in read) / len(read)
    torch.testing.assert_close(model.safr.terms["interaction"], expected.detach())


def test_special_tokens_never_count_and_are_never_masked(minilm):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm)
    model = AutoModelForSequenceClassification.from_pretrained(minilm).eval()
    attach(model, tokenizer=tokenizer)
    inputs = tokenizer(["A good film", "Unintentionally tedious, and long"], padding=True, return_tensors="pt")
    seen = trace(model, inputs, ["embedding", "vmask", "fc1"])
    special = torch.isin(inputs["input_ids"], torch.tensor([tokenizer.cls_token_id, tokenizer.sep_token_id]))
    assert torch.equal(seen.counting, inputs["attention_mask"].bool() & ~special)
    assert torch.equal(seen.site("vmask")[~seen.counting], seen.site("embedding")[~seen.counting])
    assert not torch.equal(seen.site("vmask")[seen.counting], seen.site("embedding")[seen.counting])
    assert len([site for site in seen.vectors if site.startswith("fc1.")]) == 6
    assert tokenizer.unk_token_id not in model.safr.special_ids


def test_without_labels_nothing_is_recorded_and_no_loss_appears():
    model = attach(tiny("bert").eval())
    output = model(**batch())
    assert output.loss is None
    assert output.attentions is None
    assert model.safr.terms == {}


def test_a_tuple_output_holds_the_regularized_loss_too():
    model, inputs = attach(tiny("bert").eval()), batch()
    loss = model(**inputs, labels=LABELS).loss
    torch.testing.assert_close(model(**inputs, labels=LABELS, return_dict=False)[0], loss)
    torch.testing.assert_close(model(inputs["input_ids"], inputs["attention_mask"], labels=LABELS).loss, loss)


def test_the_weights_warm_up_over_training_steps_only():
    model, inputs = attach(tiny("paper").eval(), dataclasses.replace(UNMASKED, warmup_steps=4)), batch()

    def added():
        output = model(**inputs, labels=LABELS)
        terms = model.safr.terms
        full = 0.5 * terms["importance"] + 0.25 * terms["interaction"]
        return float((output.loss.detach() - terms["task"]) / full)

    assert added() == 0
    model.train()
    assert [added() for _ in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1], abs=1e-5)
    assert int(model.safr.steps) == 6
    model.eval()
    assert added() == pytest.approx(1)


def test_a_forward_pass_that_fails_leaves_no_recording_open():
    model, inputs = attach(tiny("bert").eval()), batch()
    expected = model(**inputs, labels=LABELS).loss
    with pytest.raises(IndexError):
        model(input_ids=torch.full((1, 3), 10_000), labels=LABELS[:1])
    torch.testing.assert_close(model(**inputs, labels=LABELS).loss, expected)


@pytest.mark.parametrize("inside_a_trace", [False, True])
def test_an_interrupted_forward_pass_leaves_nothing_behind(inside_a_trace):
    model, inputs = attach(tiny("bert").eval()), batch()
    expected = model(**inputs, labels=LABELS).loss

    def interrupt(*_):
        raise KeyboardInterrupt

    handle = model.classifier.register_forward_pre_hook(interrupt)
    other = {"input_ids": torch.randint(3, 40, (2, 12))}
    with pytest.raises(KeyboardInterrupt):
        trace(model, other) if inside_a_trace else model(**other, labels=LABELS[:2])
    handle.remove()
    torch.testing.assert_close(model(**inputs, labels=LABELS).loss, expected)


def test_what_would_train_something_else_without_a_word_is_refused():
    model, inputs = attach(tiny("bert").train()), batch()
    with pytest.raises(InputError, match="expected input_ids, got inputs_embeds, which would go past VMASK"):
        model(inputs_embeds=torch.randn(1, 4, 16))
    model.activation_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(InputError, match="use_reentrant=True hides the layers from SAFR's losses"):
        model(**inputs, labels=LABELS)
    model.activation_checkpointing_disable()
    assert model(**inputs, labels=LABELS).loss.isfinite()


@torch.no_grad()
def test_generation_with_a_cache_equals_generation_without():
    config = GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_inner=32, eos_token_id=None, bos_token_id=None)
    model = attach(GPT2LMHeadModel(config).eval())
    ids = batch(padded=False)["input_ids"]
    cached, slow = (
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False, use_cache=use)
        for use in (True, False)
    )
    assert torch.equal(cached, slow)
    assert cached.shape == (3, 11)


def test_a_deep_copy_computes_with_its_own_mask():
    model, inputs = attach(tiny("paper").eval()), batch()
    copied = copy.deepcopy(model)
    nn.init.zeros_(copied.safr.vmask.outer.weight)
    nn.init.zeros_(copied.safr.vmask.outer.bias)
    assert torch.allclose(trace(copied, inputs).keep[0], torch.full((7,), 0.5))
    assert not torch.allclose(trace(model, inputs).keep[0], torch.full((7,), 0.5), atol=1e-3)


def test_a_model_without_known_names_needs_a_wildcard():
    class Renamed(BertForSequenceClassification):
        pass

    model = Renamed(BertConfig(vocab_size=9, hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
    for layer in model.bert.encoder.layer:
        layer.intermediate.expand = layer.intermediate.dense
        layer.intermediate.__class__ = type("Expand", (nn.Module,), {"forward": lambda self, x: self.expand(x).relu()})
        del layer.intermediate.dense
    with pytest.raises(InputError, match=r"FC1\) were not found in Renamed; pass fc1=.*'bert.encoder.layer.\*.interm"):
        attach(model)
    assert not hasattr(model, "safr")
    assert not any(module._forward_hooks for module in model.modules())
    attach(model, dataclasses.replace(UNMASKED, fc1="*.intermediate.expand"))
    ids = torch.randint(1, 9, (1, 4))
    assert set(trace(model, {"input_ids": ids}, ["fc1", "fc2"]).vectors) == {"fc1.0"}


def test_a_model_without_the_attention_interface_is_refused():
    class Old(BertForSequenceClassification):
        def _can_set_attn_implementation(self):
            return False

    model = Old(BertConfig(vocab_size=9, hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
    with pytest.raises(InputError, match="Old does not go through transformers' attention interface"):
        attach(model)
    assert not hasattr(model, "safr")
    assert not any(module._forward_hooks for module in model.modules())


def test_mistakes_in_attaching_say_what_to_do():
    model = tiny("paper")
    with pytest.raises(InputError, match="SAFR is not attached"):
        detach(model)
    with pytest.raises(InputError, match=r"`layers` must be 'all' or numbers from -2 to 1 for this model, got 2"):
        attach(model, Regularization(layers=2))
    attach(model)
    with pytest.raises(InputError, match=r"already attached to this Transformer.*; call safr.detach"):
        attach(model)
    with pytest.raises(InputError, match=re.escape(f"unknown sites: fc3; known are {', '.join(SITES)}")):
        trace(model, batch(), ["fc3"])
    with pytest.raises(InputError, match=r"no vectors at site 'fc2.0'; recorded are: fc1.0, fc1.1"):
        trace(model, batch()).site("fc2.0")


def test_trace_leaves_a_plain_model_as_it_was():
    model: PreTrainedModel = tiny("bert").eval()
    implementation = model.config._attn_implementation
    trace(model, batch(), ["attention", "fc1"])
    assert model.config._attn_implementation == implementation
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
