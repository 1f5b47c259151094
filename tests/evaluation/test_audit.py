import math

import numpy as np
import pytest
import torch

from safr.config import Regularization
from safr.data.encoding import encode
from safr.evaluation.audit import AUDIT_MEASURES, attention_entropy, audit
from safr.inference import iter_traces
from safr.losses import importance_loss
from safr.model.trace import trace
from tests import tiny

TEXTS = [text for text, _ in tiny.sentences(12, seed=5, longest=9)]
MASKED = Regularization(vmask_width=8)


def content_mask(*rows):
    return torch.tensor(rows, dtype=torch.bool)


def test_even_attention_has_entropy_one_and_attention_to_one_word_has_none():
    even, picky = torch.full((1, 2, 4, 4), 0.25), torch.eye(4).expand(1, 2, 4, 4)
    everything = content_mask([1, 1, 1, 1])
    assert attention_entropy(even, everything).item() == pytest.approx(1)
    assert attention_entropy(picky, everything).item() == 0
    both = torch.stack([even[0, 0], picky[0, 0]])[None]
    assert attention_entropy(both, everything).item() == pytest.approx(0.5)


def test_entropy_by_hand():
    weights = torch.tensor([[[[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]]])
    expected = (1.5 * math.log(2) + 0 + math.log(2)) / 3 / math.log(3)
    assert attention_entropy(weights, content_mask([1, 1, 1])).item() == pytest.approx(expected)


def test_attention_among_counting_tokens_alone_has_entropy():
    """A third token takes half of the attention and does not count: what is left is even."""
    weights = torch.tensor([[[[0.25, 0.25, 0.5], [0.25, 0.25, 0.5], [0.0, 0.0, 1.0]]]])
    assert attention_entropy(weights, content_mask([1, 1, 0])).item() == pytest.approx(1)


@pytest.mark.parametrize("row", [[0, 0, 0], [1, 0, 0]])
def test_fewer_than_two_words_have_no_entropy(row):
    assert attention_entropy(torch.full((1, 1, 3, 3), 1 / 3), content_mask(row)).item() == 0


@pytest.mark.parametrize("regularization", [Regularization(vmask=False), MASKED], ids=["no mask", "mask"])
def test_the_measures_are_those_of_a_slow_loop_over_texts_without_padding(regularization):
    model, texts = tiny.model(regularization, num_hidden_layers=2), encode(tiny.tokenizer(), TEXTS)
    found = audit(model, texts)
    assert found.keys() == AUDIT_MEASURES.keys() - (set() if regularization.vmask else {"keep"})
    for number, text in enumerate(texts):
        with torch.inference_mode():
            seen = trace(model, {"input_ids": torch.tensor([text.ids])}, ("embedding", "vmask", "attention"))
        before = seen.vectors["embedding"][0].double().numpy()
        after = before if seen.keep is None else before * seen.keep[0].double().numpy()[:, None]
        lengths = np.sqrt((after**2).sum(axis=1))
        cosines = (after / lengths[:, None]) @ (after / lengths[:, None]).T
        np.fill_diagonal(cosines, 0)
        entropies = [
            -sum(weight * math.log(weight) for weight in row) / math.log(max(len(row), 2))
            for layer in seen.attention.values()
            for row in layer.double().reshape(-1, len(text.ids)).tolist()
        ]
        expected = {
            "norm": lengths.mean(),
            "embedding_norm": np.sqrt((before**2).sum(axis=1)).mean(),
            "shared_directions": (cosines**2).sum(axis=1).mean(),
            "attention_entropy": np.mean(entropies),
        }
        if seen.keep is not None:
            expected["keep"] = seen.keep.mean().item()
        assert {name: values[number] for name, values in found.items()} == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_padding_changes_nothing():
    model, texts = tiny.model(MASKED), encode(tiny.tokenizer(), TEXTS)
    together = audit(model, texts)
    for number, text in enumerate(texts):
        alone = audit(model, [text])
        for name, values in together.items():
            assert values[number] == pytest.approx(alone[name][0], rel=1e-4, abs=1e-6)


def test_special_tokens_do_not_count():
    model, tokenizer = tiny.model(MASKED), tiny.tokenizer()
    plain, padded = (audit(model, encode(tokenizer, [text])) for text in ("a film", "a film [PAD]"))
    for name in ("keep", "norm", "embedding_norm", "shared_directions"):
        assert padded[name] == pytest.approx(plain[name], rel=1e-5)


def test_a_text_without_words_gets_zeros():
    found = audit(tiny.model(MASKED), encode(tiny.tokenizer(), ["", "a film"]))
    assert {name: values[0] for name, values in found.items()} == dict.fromkeys(found, 0)


def test_a_closed_mask_is_seen():
    model, texts = tiny.model(MASKED), encode(tiny.tokenizer(), TEXTS)
    with torch.no_grad():
        model.safr.vmask.outer.bias.copy_(torch.tensor([20.0, -20.0]))
    closed = audit(model, texts)
    assert closed["keep"].max() < 1e-10
    assert closed["norm"].max() < 1e-8
    assert closed["embedding_norm"].min() > 1


ENCODED = encode(tiny.tokenizer(), TEXTS)


def importance_of(model):
    """The importance loss on what the mask passes on, text by text."""
    found = []
    for batch, seen in iter_traces(model, ENCODED, ["vmask"]):
        found.append(importance_loss(seen.site("vmask"), batch.content_mask).item())
    return sum(found)


def test_a_loss_that_fell_by_shrinking_vectors_is_seen():
    honest, cheating = (tiny.model(Regularization(vmask_width=8, vmask_keep=0.9)) for _ in range(2))
    with torch.no_grad():
        cheating.get_input_embeddings().weight.mul_(0.1)
        cheating.safr.vmask.scale.mul_(10)  # the mask itself sees what it saw
    assert importance_of(cheating) < 0.15 * importance_of(honest)
    before, after = audit(honest, ENCODED), audit(cheating, ENCODED)
    assert after["norm"].sum() == pytest.approx(0.1 * before["norm"].sum(), rel=1e-3)
    assert after["shared_directions"].sum() == pytest.approx(before["shared_directions"].sum(), rel=1e-3)


def test_a_loss_that_fell_by_closing_the_mask_is_seen():
    honest, cheating = (tiny.model(Regularization(vmask_width=8, vmask_keep=keep)) for keep in (0.9, 0.05))
    assert importance_of(cheating) < 0.2 * importance_of(honest)
    before, after = audit(honest, ENCODED), audit(cheating, ENCODED)
    assert after["keep"].sum() < 0.2 * before["keep"].sum()
    assert after["shared_directions"].sum() == pytest.approx(before["shared_directions"].sum(), rel=0.3)


def test_padding_lowers_the_published_loss_and_none_of_ours():
    vectors = torch.randn(1, 6, 16)
    padded = torch.cat([vectors, torch.zeros(1, 50, 16)], dim=1)
    content_mask = torch.arange(56)[None] < 6
    assert importance_loss(padded) < 0.2 * importance_loss(vectors)  # padding counted, as published
    torch.testing.assert_close(importance_loss(padded, content_mask), importance_loss(vectors))
