"""What SAFR promises on every family of models."""

import copy

import pytest
import torch
from transformers import BartModel, T5Model

from safr.attribution.explain import explain
from safr.config import Regularization
from safr.data.tokenizer import train_word_tokenizer
from safr.errors import InputError
from safr.losses import importance_loss, information_loss
from safr.model.attach import attach, detach
from safr.model.regularizer import get_regularizer
from safr.model.trace import trace
from tests.model.families import CAUSAL, END, FC1, LEFTMOST_POSITION, LENGTHS, OWN_ATTENTION, batch, tiny, visible

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
    if family not in OWN_ATTENTION:
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


each_own_attention = pytest.mark.parametrize("family", OWN_ATTENTION)


def plain_losses(weights, inputs):
    """Every layer's interaction loss in plain autograd, without specials or padding; all tokens see each other."""
    counted = (inputs["attention_mask"].bool() & (inputs["input_ids"] > END)).float()
    losses = []
    for layer in weights:
        a = layer * counted[:, None, :, None] * counted[:, None, None, :]
        attended = (a * (1 - a @ a.mT)).sum(dim=(-2, -1))  # (batch, head)
        losses.append((attended / counted.sum(dim=-1)[:, None].square()).mean())
    return torch.stack(losses)


@each_own_attention
def test_the_gradient_through_a_familys_own_attention_is_that_of_its_weights(family):
    model, inputs = without_chance(tiny(family)).train(), batch()
    expected, plain = copy.deepcopy(model), copy.deepcopy(model)
    plain_losses(expected(**inputs, output_attentions=True).attentions, inputs).mean().backward()
    attach(plain, Regularization(importance=0, interaction=1, vmask=False))(**inputs)["regularization"].backward()
    gradients = {name: weight.grad for name, weight in plain.named_parameters() if weight.grad is not None}
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected.get_parameter(name).grad, rtol=1e-4, atol=1e-7, msg=name)
    of_queries = [grad for name, grad in gradients.items() if name.endswith(QUERIES[family])]
    assert len(of_queries) == 2
    assert all(gradient.abs().sum() > 0 for gradient in of_queries)


QUERIES = {"deberta": ".query_proj.weight", "deberta_v1": "in_proj.weight", "mpnet": "attn.q.weight"}


def without_chance(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


@each_own_attention
def test_a_familys_own_attention_is_recorded_before_dropout(family):
    model, inputs = without_chance(tiny(family)).train(), batch()
    expected = trace(model, inputs, ["attention"]).attention[0].detach()
    for name, module in model.named_modules():
        if name.endswith(("attention.self.dropout", "attention.attn.dropout")):
            module.p = 0.5
    dropped = trace(model, inputs, ["attention"]).attention[0]
    torch.testing.assert_close(dropped, expected)
    assert not torch.equal(model(**inputs, output_attentions=True).attentions[0], expected)  # what the output holds


@each_own_attention
@torch.no_grad()
def test_attention_weighs_importance_in_families_with_attention_of_their_own(family):
    settings = Regularization(1, 0, vmask=False, importance_sites="fc1.1", token_weighting="attention")
    model, inputs = attach(tiny(family).eval(), settings), batch()
    model(**inputs, labels=LABELS)
    found = get_regularizer(model).terms["importance"]
    seen = trace(model, inputs, ["fc1.1", "attention"])
    weights = torch.zeros(inputs["input_ids"].shape)
    for text, mask in enumerate(seen.content_mask):
        queries = real(inputs)[text].nonzero().flatten().tolist()
        received = [float(seen.attention[1][text, :, queries, key].mean(dim=0).sum()) for key in range(len(mask))]
        mean = sum(received[key] for key in mask.nonzero().flatten().tolist()) / int(mask.sum())
        weights[text] = torch.tensor(received) / mean - 1
    expected = importance_loss(seen.site("fc1.1"), seen.content_mask, True, torch.where(seen.content_mask, weights, 0))
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_pairs_that_a_mask_hides_are_not_counted_in_a_familys_own_attention():
    model, inputs = attach(tiny("mpnet").eval(), Regularization(0, 1, vmask=False)), batch(padded=False)
    earlier = torch.ones(3, 1, 7, 7).tril().bool()
    inputs["attention_mask"] = torch.zeros(3, 1, 7, 7).masked_fill(~earlier, torch.finfo(torch.float32).min)
    seen = trace(model, inputs, ["attention"])
    assert not seen.attention[0].triu(1).any()
    expected = [slow_interaction(weights, seen.content_mask, earlier) for weights in seen.attention.values()]
    model(**inputs, labels=LABELS)
    torch.testing.assert_close(get_regularizer(model).terms["interaction"], torch.stack(expected).mean())


@each_own_attention
def test_an_explanation_shows_a_familys_own_attention(family):
    tokenizer = train_word_tokenizer(["a good dull film"], minimum_count=1)
    model = attach(tiny(family).eval(), UNMASKED, tokenizer=tokenizer)
    found = explain(model, tokenizer, "a good film")
    inputs = tokenizer("a good film", return_tensors="pt")
    weights = trace(model, inputs, ["attention"]).attention[1][0].mean(dim=0)
    words = [place for place, word in enumerate(inputs.word_ids()) if word is not None]
    torch.testing.assert_close(torch.tensor(found.attention[1]).float(), weights[words][:, words].detach())


@each_own_attention
def test_a_dropout_that_was_replaced_is_recorded_again(family):
    model, inputs = attach(tiny(family), UNMASKED), batch()
    for name, module in list(model.named_modules()):
        if name.endswith(("attention.self", "attention.attn")):
            module.dropout = torch.nn.Dropout(0.1)
    model(**inputs, labels=LABELS).loss.backward()
    assert get_regularizer(model).terms["interaction"] > 0


def test_heads_that_are_mixed_after_the_dropout_are_not_read():
    model = tiny("deberta_v1")
    model.config.talking_head = True
    with pytest.raises(InputError, match="its attention can't be read"):
        attach(model)


def test_several_feed_forward_layers_in_a_block_are_refused_in_one_line():
    for ask in (attach, lambda model: trace(model, batch(), ["fc1"])):
        with pytest.raises(InputError, match=r"has 8 feed-forward layers .* but 2 layers, .* pass fc1="):
            ask(tiny("mobilebert"))


@pytest.mark.parametrize("family", ["t5", "t5_gated", "bart"])
@pytest.mark.parametrize("head", [True, False])
@torch.no_grad()
def test_an_encoder_decoder_is_traced_from_its_text_alone(family, head):
    model, inputs = tiny(family, "ConditionalGeneration").eval(), batch()
    if not head:
        model = (BartModel if family == "bart" else T5Model)(model.config).eval()
    start = torch.full((3, 1), model.config.decoder_start_token_id)
    expected = trace(model, {**inputs, "decoder_input_ids": start}, ["fc1", "attention"])
    for seen in (trace(model, inputs, ["fc1", "attention"]), trace(attach(model, UNMASKED), inputs, ["fc1"])):
        assert seen.vectors["fc1.1"].shape == (3, 7, 32)
        torch.testing.assert_close(dict(seen.vectors), dict(expected.vectors))
        if head:
            assert seen.logits.shape == (3, 1, 40)
            torch.testing.assert_close(seen.logits, expected.logits)


@torch.no_grad()
def test_an_encoder_decoder_that_classifies_gets_no_other_decoder_inputs():
    for family in ("t5", "bart"):
        model, inputs = tiny(family).eval(), batch()
        torch.testing.assert_close(trace(model, inputs).logits, model(**inputs).logits)


def test_a_writer_without_a_start_token_gets_one_line():
    model = tiny("t5", "ConditionalGeneration").eval()
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = None
    with pytest.raises(InputError, match=r"no token that its output begins with; set model\.config\.decoder_start"):
        trace(model, batch())
