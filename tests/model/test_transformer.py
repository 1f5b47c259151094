import math

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from safr.model.transformer import TransformerConfig, TransformerForSequenceClassification
from tests.model.families import batch, tiny


def torch_layer(layer):
    """torch's own post-norm encoder layer with the same weights."""
    width, heads = layer.fc1.in_features, layer.attention.config.num_attention_heads
    reference = nn.TransformerEncoderLayer(width, heads, layer.fc1.out_features, batch_first=True).eval()
    mine = layer.attention
    state = {
        "self_attn.in_proj_weight": torch.cat([mine.query.weight, mine.key.weight, mine.value.weight]),
        "self_attn.in_proj_bias": torch.cat([mine.query.bias, mine.key.bias, mine.value.bias]),
    }
    pairs = {
        "self_attn.out_proj": mine.out,
        "linear1": layer.fc1,
        "linear2": layer.fc2,
        "norm1": layer.attention_norm,
        "norm2": layer.feed_forward_norm,
    }
    for name, module in pairs.items():
        state |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    reference.load_state_dict(state)
    return reference


def slow_logits(model, ids):
    """One text without padding, from torch's own layers and the equations of Vaswani et al. 2017."""
    width = model.config.hidden_size
    hidden = model.embedding.weight[ids] * math.sqrt(width)
    for position in range(len(ids)):
        for i in range(0, width, 2):
            angle = position / 10000 ** (i / width)
            hidden[position, i] += math.sin(angle)
            hidden[position, i + 1] += math.cos(angle)
    hidden = hidden[None]
    for layer in model.layers:
        hidden = torch_layer(layer)(hidden)
    return model.classifier(hidden.mean(dim=1))[0]


@torch.no_grad()
def test_logits_equal_torchs_own_layers_text_by_text():
    model, inputs = tiny("paper").eval(), batch()
    logits = model(**inputs).logits
    for row in range(3):
        ids = inputs["input_ids"][row][inputs["attention_mask"][row].bool()]
        torch.testing.assert_close(logits[row], slow_logits(model, ids), rtol=1e-4, atol=1e-5)


def test_the_papers_sizes_are_the_default():
    model = TransformerForSequenceClassification(TransformerConfig(vocab_size=100))
    layer = model.layers[0]
    assert len(model.layers) == 1
    assert (layer.fc1.in_features, layer.fc1.out_features, layer.fc2.out_features) == (256, 1024, 256)
    assert float(model.embedding.weight.detach().std()) == pytest.approx(1, abs=0.05)
    assert layer.attention.config.num_attention_heads == 8


@torch.no_grad()
@pytest.mark.parametrize("implementation", ["eager", "sdpa", "safr"])
def test_padding_on_either_side_changes_nothing(implementation):
    model, ids = tiny("paper").eval(), torch.randint(3, 40, (1, 5))
    model.set_attn_implementation(implementation)
    alone = model(input_ids=ids).logits
    for left, right in ((0, 3), (3, 0), (1, 2)):
        padded = torch.nn.functional.pad(ids, (left, right), value=7)
        mask = torch.nn.functional.pad(torch.ones_like(ids), (left, right))
        torch.testing.assert_close(model(input_ids=padded, attention_mask=mask).logits, alone, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_a_text_without_tokens_gets_finite_logits_and_leaves_the_others_alone():
    model, inputs = tiny("paper").eval(), batch()
    whole = model(**inputs).logits
    inputs["attention_mask"][1] = 0
    logits = model(**inputs).logits
    torch.testing.assert_close(logits[[0, 2]], whole[[0, 2]])
    torch.testing.assert_close(logits[1], model.classifier.bias)


def test_padding_takes_part_where_the_config_says_so():
    model, inputs = tiny("paper").eval(), batch()
    model.config.padded_length = 7
    longer = {name: torch.nn.functional.pad(value, (0, 2)) for name, value in inputs.items()}
    assert not torch.allclose(model(**inputs).logits, model(**longer).logits, atol=1e-4)


def test_embeddings_may_come_in_place_of_ids():
    model, inputs = tiny("paper").eval(), batch()
    embedded = model.embedding(inputs["input_ids"])
    given = model(inputs_embeds=embedded, attention_mask=inputs["attention_mask"]).logits
    assert torch.equal(given, model(**inputs).logits)
    with pytest.raises(ValueError, match="either `input_ids` or `inputs_embeds`, got both or neither"):
        model(attention_mask=inputs["attention_mask"])


def test_loss_is_the_mean_cross_entropy():
    model, inputs, labels = tiny("paper").eval(), batch(), torch.tensor([0, 1, 1])
    output = model(**inputs, labels=labels)
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(output.logits, labels))


def test_the_auto_classes_load_what_was_saved(tmp_path):
    model = tiny("paper").eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is TransformerForSequenceClassification
    assert type(AutoConfig.from_pretrained(tmp_path)) is TransformerConfig
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert torch.equal(loaded.eval()(**batch()).logits, model(**batch()).logits)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="must divide `hidden_size`, got 3 and 16"):
        TransformerForSequenceClassification(TransformerConfig(vocab_size=9, hidden_size=16, num_attention_heads=3))


@pytest.mark.parametrize("name", ["padded_length", "hidden_size", "num_hidden_layers", "vocab_size"])
@pytest.mark.parametrize("value", [0, -1, 2.0, [], "12", True, float("nan")])
def test_sizes_that_no_model_can_have_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a whole number of at least 1, got "):
        TransformerConfig(**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.1", None, True])
def test_a_dropout_that_is_no_share_is_refused(value):
    with pytest.raises(ValueError, match="`dropout` must be a number from 0 to 1, got "):
        TransformerConfig(dropout=value)


def test_a_number_to_predict_may_stand_in_a_column():
    model = TransformerForSequenceClassification(
        TransformerConfig(vocab_size=9, hidden_size=16, num_attention_heads=2, num_labels=1, problem_type="regression")
    ).eval()
    ids, numbers = torch.randint(1, 9, (4, 3)), torch.tensor([1.0, -2.0, 3.0, 0.5])
    losses = [model(ids, labels=labels).loss for labels in (numbers, numbers[:, None])]
    assert torch.equal(*losses)
    torch.testing.assert_close(losses[0], (model(ids).logits[:, 0] - numbers).square().mean())


def test_an_odd_width_has_no_positions_and_is_refused():
    with pytest.raises(ValueError, match=r"`hidden_size` must be even, .* got 255"):
        TransformerConfig(hidden_size=255, num_attention_heads=5)
