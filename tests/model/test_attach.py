import copy
import dataclasses
import re
from concurrent.futures import ThreadPoolExecutor

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

import safr
from safr.config import Regularization
from safr.errors import InputError
from safr.losses import importance_loss, interaction_loss
from safr.model import attention
from safr.model.attach import attach, detach, parameter_groups
from safr.model.forward_pass import SITES, current_pass
from safr.model.trace import trace
from tests.model.families import batch, tiny
from tests.tiny_tokenizers import tokenizer

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
        model.safr.terms["importance"], importance_loss(seen.site("embedding"), seen.content_mask).detach()
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
    expected = sum(interaction_loss(seen.attention[layer], seen.content_mask) for layer in read) / len(read)
    torch.testing.assert_close(model.safr.terms["interaction"], expected.detach())


def test_special_tokens_never_count_and_are_never_masked(minilm):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm)
    model = AutoModelForSequenceClassification.from_pretrained(minilm).eval()
    attach(model, tokenizer=tokenizer)
    inputs = tokenizer(["A good film", "Unintentionally tedious, and long"], padding=True, return_tensors="pt")
    seen = trace(model, inputs, ["embedding", "vmask", "fc1"])
    special = torch.isin(inputs["input_ids"], torch.tensor([tokenizer.cls_token_id, tokenizer.sep_token_id]))
    assert torch.equal(seen.content_mask, inputs["attention_mask"].bool() & ~special)
    assert torch.equal(seen.site("vmask")[~seen.content_mask], seen.site("embedding")[~seen.content_mask])
    assert not torch.equal(seen.site("vmask")[seen.content_mask], seen.site("embedding")[seen.content_mask])
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
    with pytest.raises(InputError, match="expected input_ids, got inputs_embeds, which would bypass VMASK"):
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


def pretrained(minilm, **settings):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm)
    model = AutoModelForSequenceClassification.from_pretrained(minilm)
    attach(model, Regularization(**settings), tokenizer=tokenizer)
    return model, tokenizer(["an unintentionally tedious film", "not bad"], padding=True, return_tensors="pt")


@torch.no_grad()
def test_pretrained_weights_start_with_an_open_mask(minilm):
    model, inputs = pretrained(minilm)
    seen = trace(model.eval(), inputs, ["embedding"])
    assert seen.keep[seen.content_mask].mean() > 0.95
    masked = model(**inputs).logits
    torch.testing.assert_close(masked, detach(model)(**inputs).logits, atol=0.1, rtol=0.1)


@torch.no_grad()
def test_whole_words_go_or_stay_whole(minilm, tmp_path):
    model, inputs = pretrained(minilm, vmask_keep=0.5, whole_words=True)
    seen = trace(model.train(), inputs, ["embedding", "vmask"])
    kept = (seen.site("vmask").norm(dim=-1) > 0).tolist()[0]
    words = inputs.encodings[0].word_ids
    assert len(set(words)) < len(words) - 1  # a word has several pieces
    for word in set(words) - {None}:
        assert len({kept[n] for n, each in enumerate(words) if each == word}) == 1
    again = safr.load(safr.save(model, tmp_path))
    assert torch.equal(again.safr.pieces, model.safr.pieces)


def test_whole_words_need_a_tokenizer_and_a_model_that_does_not_write():
    with pytest.raises(InputError, match="`whole_words` needs to know which tokens continue a word; pass tokenizer="):
        attach(tiny("bert"), Regularization(whole_words=True))
    with pytest.raises(InputError, match="does not work for LlamaForCausalLM, which writes words piece by piece"):
        attach(tiny("llama", "CausalLM"), Regularization(whole_words=True), tokenizer=tokenizer("llama"))


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_weighted_importance_is_what_a_trace_shows(family):
    settings = Regularization(1, 0, importance_sites="fc1", token_weighting="attention", vmask=False)
    model, inputs = attach(tiny(family).eval(), settings), batch()
    model(**inputs, labels=LABELS)
    seen, expected = trace(model, inputs, ["fc1", "attention"]), []
    for layer, weights in seen.attention.items():
        queries = inputs["attention_mask"][:, None, :, None]
        received = (weights * queries).sum(dim=2).mean(dim=1) * seen.content_mask
        above = (
            received / (received.sum(dim=1) / seen.content_mask.sum(dim=1).clamp_min(1)).clamp_min(1e-9)[:, None] - 1
        )
        expected.append(importance_loss(seen.site(f"fc1.{layer}"), seen.content_mask, scale_free=True, weights=above))
    torch.testing.assert_close(model.safr.terms["importance"], torch.stack(expected).mean().detach())


def test_keep_weighted_importance_is_what_a_trace_shows():
    settings = Regularization(1, 0, importance_sites="fc1.1", token_weighting="keep")
    model, inputs = attach(tiny("bert").eval(), settings), batch()
    model(**inputs, labels=LABELS)
    seen = trace(model, inputs, ["fc1.1"])
    keep = torch.where(seen.content_mask, seen.keep, 0.0)
    above = keep / (keep.sum(dim=1) / seen.content_mask.sum(dim=1))[:, None] - 1
    expected = importance_loss(seen.site("fc1.1"), seen.content_mask, scale_free=True, weights=above)
    torch.testing.assert_close(model.safr.terms["importance"], expected.detach())


@torch.no_grad()
def test_what_a_model_does_not_show_is_refused_with_what_to_do():
    model = attach(tiny("bert"), UNMASKED)
    model.bert.encoder.config.num_hidden_layers = 1
    model.bert.encoder.layer[1].forward = lambda hidden, *_, **__: hidden  # as where a layer is of another kind
    with pytest.raises(
        InputError, match=r"computed attention 1 times, but has 2 layers, .* choose others by importance"
    ):
        model(**batch(), labels=LABELS)


@torch.no_grad()
def test_an_encoder_called_alone_masks_words_and_nothing_else():
    model, inputs = attach(tiny("t5").eval()), batch()
    whole = trace(model, inputs, ["vmask"])
    seen = {}
    model.get_encoder().block[0].register_forward_pre_hook(lambda _, args: seen.setdefault("first", args[0]))
    model.get_encoder()(**inputs)
    torch.testing.assert_close(seen["first"], whole.site("vmask"))


@torch.no_grad()
def test_an_encoder_decoder_writes_with_a_cache_as_without():
    model = attach(tiny("t5", "ConditionalGeneration").eval())
    cached, slow = (
        model.generate(**batch(), max_new_tokens=4, do_sample=False, use_cache=use) for use in (True, False)
    )
    assert torch.equal(cached, slow)


@pytest.mark.parametrize("family", ["xlnet", "longformer", "big_bird"])
@pytest.mark.filterwarnings("ignore")  # transformers' own
def test_a_model_without_visible_attention_takes_the_importance_loss_alone(family):
    model = tiny(family)
    with pytest.raises(InputError, match=r"does not go through transformers' attention .* ask for no attention"):
        trace(model, batch(), ["attention"])
    with pytest.raises(InputError, match=r"does not go through transformers' attention .* pass interaction=0"):
        attach(model)
    attach(model, Regularization(interaction=0))
    model(**batch(), labels=LABELS).loss.backward()
    assert set(model.safr.terms) == {"task", "importance"}
    assert list(trace(model, batch(), ["fc1"]).vectors) == ["fc1.0", "fc1.1"]


def test_the_masks_learning_rate_is_its_own():
    model = attach(tiny("bert"))
    own, mask = parameter_groups(model, 1e-4, 1e-2)
    assert (own["lr"], mask["lr"]) == (1e-4, 1e-2)
    assert {id(each) for each in mask["params"]} == {id(each) for each in model.safr.vmask.parameters()}
    assert len(own["params"]) + len(mask["params"]) == len(list(model.parameters()))
    assert [each["lr"] for each in parameter_groups(model, 1e-4)] == [1e-4, 1e-4]
    assert [each["lr"] for each in parameter_groups(model, 1e-4, 0.0, 0.0)] == [1e-4, 0.0, 0.0]
    assert len(parameter_groups(attach(tiny("bert"), UNMASKED), 1e-4)) == 1
    with pytest.raises(InputError, match="SAFR is not attached"):
        parameter_groups(tiny("bert"), 1e-4)


def test_the_embeddings_learning_rate_is_their_own():
    model = attach(tiny("bert"))
    own, embeddings, mask = parameter_groups(model, 1e-4, embedding_learning_rate=1e-3)
    assert [group["lr"] for group in (own, embeddings, mask)] == [1e-4, 1e-3, 1e-4]
    assert embeddings["params"] == [model.get_input_embeddings().weight]
    assert sum(len(group["params"]) for group in (own, embeddings, mask)) == len(list(model.parameters()))
    model.get_input_embeddings().requires_grad_(False)
    assert [group["lr"] for group in parameter_groups(model, 1e-4, 1e-2, 1e-3)] == [1e-4, 1e-2]


def test_a_question_answering_loss_holds_the_regularizers_too():
    model, places = attach(tiny("bert", "QuestionAnswering")).train(), torch.tensor([1, 1, 0])
    output = model(**batch(), start_positions=places, end_positions=places)
    terms = model.safr.terms
    assert set(terms) == {"task", "importance", "interaction"}
    torch.testing.assert_close(output.loss, terms["task"] + 0.1 * (terms["importance"] + terms["interaction"]))


def test_the_choices_of_a_multiple_choice_are_texts():
    model, inputs = attach(tiny("bert", "MultipleChoice").train()), batch()
    stacked = {name: each[None] for name, each in inputs.items()}
    model(**stacked, labels=torch.tensor([1])).loss.backward()
    assert model.get_input_embeddings().weight.grad.abs().sum() > 0


@pytest.mark.parametrize("family", ["t5", "bart"])
@torch.no_grad()
def test_a_decoder_that_shares_the_embeddings_is_not_masked(family):
    model = tiny(family, "ConditionalGeneration").eval()
    model.resize_token_embeddings(50)  # after which encoder and decoder have one module for both
    attach(model)
    seen = []
    model.safr.vmask.register_forward_hook(lambda _, args, output: seen.append(output.vectors.shape))
    model(**batch(), decoder_input_ids=torch.randint(3, 40, (3, 5)))
    assert seen == [(3, 7, 16)]


@torch.no_grad()
def test_a_mask_of_true_and_false_is_what_it_is_without_recording():
    model, inputs = attach(tiny("bert").eval(), UNMASKED), batch()
    expected = model(**inputs, labels=LABELS)
    terms = dict(model.safr.terms)
    seen = inputs["attention_mask"].bool()[:, None, None, :].expand(3, 1, 7, 7)
    found = model(input_ids=inputs["input_ids"], attention_mask=seen, labels=LABELS)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
    for name, value in model.safr.terms.items():
        torch.testing.assert_close(value, terms[name], rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("family", ["gemma2", "qwen3"])
def test_generation_with_a_cache_of_fixed_size_is_what_it_was(family):
    model, inputs = tiny(family, "CausalLM").eval(), batch(padded=False)
    options = {"max_new_tokens": 3, "do_sample": False, "cache_implementation": "static"}
    before = model.generate(**inputs, **options)
    assert torch.equal(attach(model, UNMASKED).generate(**inputs, **options), before)


@pytest.mark.parametrize("before", [True, False])
def test_cudnns_kernel_is_left_out_where_keys_are_hidden(monkeypatch, before):
    """Its gradient is then not a number here and there; what else runs finds torch's setting as it was."""
    seen, attend = [], attention.sdpa_attention_forward

    def note(*args, **options):
        seen.append(torch.backends.cuda.cudnn_sdp_enabled())
        return attend(*args, **options)

    monkeypatch.setattr(attention, "sdpa_attention_forward", note)
    usual = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(before)
    try:
        attach(tiny("bert"))(**batch())
        assert torch.backends.cuda.cudnn_sdp_enabled() is before
    finally:
        torch.backends.cuda.enable_cudnn_sdp(usual)
    assert seen == [False, False]


def test_keys_from_a_cache_are_refused_where_a_loss_would_read_them():
    model, inputs = attach(tiny("llama", "CausalLM").eval()), batch(padded=False)
    cached = model(**inputs, use_cache=True).past_key_values
    with pytest.raises(InputError, match="need whole texts, got keys from a cache; pass no past_key_values"):
        model(input_ids=inputs["input_ids"], past_key_values=cached, labels=inputs["input_ids"])


def test_an_encoder_that_was_run_before_is_refused_where_a_loss_would_read_it():
    model = attach(tiny("t5", "ConditionalGeneration").eval())
    before = model.get_encoder()(**batch())
    with pytest.raises(InputError, match="expected input_ids, got encoder_outputs"):
        model(encoder_outputs=before, labels=torch.randint(3, 40, (3, 5)))


def test_layers_that_run_on_one_long_row_are_texts_again():
    model = attach(tiny("opt"), Regularization(1, 0, importance_sites="fc1"))
    model(**batch(), labels=LABELS).loss.backward()
    assert trace(model, batch(), ["fc1", "fc1_out"]).site("fc1_out.1").shape == (3, 7, 32)


@torch.no_grad()
def test_a_compiled_models_attachment_is_found_and_taken_off():
    model = attach(tiny("bert"))
    assert detach(torch.compile(model, backend="eager")) is not None
    assert not hasattr(model, "safr")


def test_an_encoder_called_alone_leaves_no_pass_open():
    model = attach(tiny("t5")).train()
    model.get_encoder()(**batch())
    assert current_pass() is None
    model(**batch(), labels=LABELS)
    assert current_pass() is None


@torch.no_grad()
def test_a_mask_that_is_the_same_for_every_query_counts_the_same_pairs():
    model, inputs = attach(tiny("bert").eval(), UNMASKED), batch()
    model(**inputs, labels=LABELS)
    expected = model.safr.terms["interaction"]
    seen = (1 - inputs["attention_mask"].float())[:, None, None, :] * torch.finfo(torch.float32).min
    model(input_ids=inputs["input_ids"], attention_mask=seen, labels=LABELS)
    torch.testing.assert_close(model.safr.terms["interaction"], expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attention_mask": torch.ones(1, 3)}, "expected a batch with input_ids, got none"),
        ({"input_ids": torch.tensor([[1, 4000]])}, "expected token ids from 0 to 39, .* got 4,000"),
    ],
)
def test_what_is_no_batch_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        trace(tiny("bert").eval(), wrong)


@torch.no_grad()
def test_attention_is_in_the_output_as_before():
    model, inputs = tiny("bert").eval(), batch()
    model.set_attn_implementation("eager")
    before = model(**inputs, output_attentions=True).attentions
    after = attach(model, UNMASKED)(**inputs, output_attentions=True).attentions
    for weights, expected in zip(after, before, strict=True):
        torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "mpnet"])
@pytest.mark.parametrize("attached", [False, True])
def test_threads_see_what_one_sees_alone(attached, family):
    model = tiny(family).eval()
    if attached:
        attach(model)
    implementation = model.config._attn_implementation
    requests = [(site, {name: rows[:, :count] for name, rows in batch().items()}) for site in SITES for count in (5, 7)]
    with torch.no_grad():
        alone = [trace(model, inputs, [site]) for site, inputs in requests]

    @torch.no_grad()
    def is_the_same(number):
        expected = alone[number % len(requests)]
        site, inputs = requests[number % len(requests)]
        found = trace(model, inputs, [site])
        pairs = [(found.vectors, expected.vectors), (found.attention, expected.attention)]
        return all(
            list(each) == list(other) and all(torch.allclose(each[key], other[key], atol=1e-6) for key in other)
            for each, other in pairs
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(is_the_same, range(120)))
    assert model.config._attn_implementation == implementation


@torch.no_grad()
def test_a_loss_of_ones_own_finds_the_regularization_in_evaluation_too():
    output = attach(tiny("bert").eval())(**batch())
    assert output.regularization == 0
    assert "regularization" not in output


@torch.no_grad()
def test_what_another_saver_wrote_is_loaded_with_its_mask(tmp_path):
    model, inputs = attach(tiny("bert").eval()), batch()
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(safr.load(tmp_path)(**inputs).logits, model(**inputs).logits)
    plain = BertForSequenceClassification.from_pretrained(tmp_path)
    for call in (lambda: attach(plain), lambda: trace(plain, inputs)):
        with pytest.raises(InputError, match=r"loaded without its word mask; load it by safr.load\(FOLDER\)"):
            call()
    assert not hasattr(detach(model).config, "safr")


def test_models_that_share_an_encoder_keep_their_own_mask_and_gate():
    one, other, inputs = tiny("bert").eval(), tiny("bert").eval(), batch()
    other.bert = one.bert
    plain = other(**inputs).logits
    attach(one, Regularization(top_k=3, vmask_width=8))
    masked = one(**inputs).logits
    attach(other, Regularization(top_k=5, vmask=False))
    assert torch.equal(one(**inputs).logits, masked)
    gated = other(**inputs).logits
    assert not torch.equal(gated, plain)
    detach(one)
    assert torch.equal(other(**inputs).logits, gated)
    detach(other)
    assert torch.equal(other(**inputs).logits, plain)
