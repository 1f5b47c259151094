from dataclasses import replace

import pytest
import torch

import safr.losses.blocked_attention as blocks
from safr.errors import InputError
from safr.losses import interaction_loss
from safr.losses.blocked_attention import BlockedAttention
from safr.losses.interaction import blocked_interaction_loss, count_visible_pairs


def published_interaction(attention):
    """The sum that the authors' code computes: I without its diagonal, the mean over all texts, heads and pairs."""
    total = 0.0
    for text in attention:
        for head in text:
            for i in range(len(head)):
                for j in range(len(head)):
                    overlap = 0.0 if i == j else float(head[i] @ head[j])
                    total += float(head[i, j]) * (1 - overlap)
    return total / attention.numel()


def attention_of(texts=2, heads=3, tokens=6):
    return torch.randn(texts, heads, tokens, tokens, dtype=torch.float64).softmax(dim=-1)


def test_interaction_by_hand():
    # Uniform attention over two tokens: I = 1/2 everywhere, so each of the four terms is 1/2 * 1/2.
    attention = torch.full((1, 1, 2, 2), 0.5)
    assert float(interaction_loss(attention)) == pytest.approx(1 / 4)
    assert float(interaction_loss(attention, exclude_self=True)) == pytest.approx((2 * 0.5 + 2 * 0.25) / 4)


def test_interaction_without_a_mask_is_the_published_sum():
    attention = attention_of()
    attention[0, :, :, 4:] = 0  # padded keys get no attention, padded queries still count
    attention = attention / attention.sum(dim=-1, keepdim=True)
    found = interaction_loss(attention.float(), exclude_self=True)
    assert float(found) == pytest.approx(published_interaction(attention), rel=1e-5)


def test_interaction_is_lowest_where_all_tokens_attend_to_the_same_one():
    attention = torch.zeros(1, 1, 4, 4)
    attention[..., 0] = 1
    assert float(interaction_loss(attention)) == 0


@pytest.mark.parametrize("exclude_self", [False, True])
def test_padding_changes_nothing_in_interaction(exclude_self):
    attention = attention_of(tokens=5)
    padded = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    padded[..., :5, :5] = attention
    mask = (torch.arange(8) < 5).expand(2, 8)
    expected = interaction_loss(attention, exclude_self=exclude_self)
    torch.testing.assert_close(interaction_loss(padded, mask, exclude_self), expected)


def test_interaction_counts_the_pairs_that_see_each_other():
    attention, mask = (
        attention_of(tokens=6).tril().float(),
        torch.tensor([[True] * 6, [False, True, True, True] * 1 + [False] * 2]),
    )
    visible = torch.ones(6, 6, dtype=torch.bool).tril().expand(2, 1, 6, 6)
    slow = []
    for text, counted in zip(attention, mask, strict=True):
        tokens = counted.nonzero().flatten().tolist()
        for head in text[:, tokens][:, :, tokens]:
            pairs = [(i, j) for i in range(len(tokens)) for j in range(i + 1)]
            slow.append(sum(float(head[i, j] * (1 - head[i] @ head[j])) for i, j in pairs) / len(pairs))
    assert float(interaction_loss(attention, mask, visible=visible)) == pytest.approx(sum(slow) / len(slow), rel=1e-5)
    everything = torch.ones_like(visible)
    torch.testing.assert_close(interaction_loss(attention, mask, visible=everything), interaction_loss(attention, mask))


def test_texts_of_different_lengths_count_alike():
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    attention = attention_of(tokens=6)
    expected = (interaction_loss(attention[:1]) + interaction_loss(attention[1:, :, :2, :2])) / 2
    torch.testing.assert_close(interaction_loss(attention, mask), expected)


def test_a_text_without_counting_tokens_adds_nothing():
    assert float(interaction_loss(torch.rand(1, 2, 4, 4), torch.zeros(1, 4, dtype=torch.bool))) == 0


@pytest.mark.parametrize("exclude_self", [False, True])
def test_gradients_are_right(exclude_self):
    attention = attention_of(tokens=4).requires_grad_()
    torch.autograd.gradcheck(lambda each: interaction_loss(each, None, exclude_self), (attention,))
    with torch.no_grad():
        value = interaction_loss(attention, None, exclude_self)  # takes one product, and not two
    torch.testing.assert_close(value, interaction_loss(attention.detach().requires_grad_(), None, exclude_self))


def test_autocast_changes_nothing():
    attention, heads = attention_of().float(), heads_of()[0]
    expected = interaction_loss(attention), blocked_interaction_loss(heads)
    with torch.autocast("cpu", dtype=torch.float16):
        assert (interaction_loss(attention), blocked_interaction_loss(heads)) == expected


def heads_of(kind="plain", texts=3, heads=4, tokens=7, size=5):
    """Heads in float64, which tokens of their texts count, and which pairs see each other."""
    query, key = (torch.randn(texts, heads, tokens, size, dtype=torch.float64, requires_grad=True) for _ in range(2))
    if kind == "plain":
        return BlockedAttention(query, key, None, 0.5), None, None
    mask = torch.arange(tokens) < torch.tensor([[tokens], [4], [0]])
    mask[0, 2] = False  # a special token in the middle is seen, and does not count
    visible = (mask | (torch.arange(tokens) == 2))[:, None, None, :].expand(texts, 1, tokens, tokens)
    if kind == "causal":
        visible = visible & torch.ones(tokens, tokens, dtype=torch.bool).tril()
    bias = torch.zeros(visible.shape, dtype=torch.float64).masked_fill(~visible, torch.finfo(torch.float64).min)
    return BlockedAttention(query, key, bias, 0.5), mask, visible


def by_autograd(heads, mask, exclude_self, visible):
    """The loss from its equation, without a closed form, and its gradient."""
    weights = heads.compute_weights()
    if mask is not None:
        weights = weights * (mask[:, None, :, None] & mask[:, None, None, :])
    overlap = weights @ weights.mT
    if exclude_self:
        overlap = overlap * (1 - torch.eye(overlap.shape[-1], dtype=overlap.dtype))
    pairs = torch.full((3, 1), 49) if mask is None else mask.sum(dim=-1, keepdim=True).square()
    if visible is not None:
        pairs = (visible & mask[:, None, :, None] & mask[:, None, None, :]).sum(dim=(-2, -1))
    loss = ((weights * (1 - overlap)).sum(dim=(-2, -1)) / pairs.clamp_min(1)).mean()
    return loss, *torch.autograd.grad(loss, (heads.query, heads.key))


KINDS = pytest.mark.parametrize("kind", ["plain", "padded", "causal"])
BLOCKS = pytest.mark.parametrize("block", [2**20, 60, 9], ids=["one block", "text by text", "rows of one head"])


@KINDS
@BLOCKS
@pytest.mark.parametrize("exclude_self", [False, True])
def test_from_queries_and_keys_it_is_the_equation_and_so_is_its_gradient(monkeypatch, kind, block, exclude_self):
    monkeypatch.setitem(blocks._BLOCK, "cpu", block)
    heads, mask, visible = heads_of(kind)
    visible = visible if kind == "causal" else None
    pairs = None if visible is None else count_visible_pairs(visible, mask)
    loss = blocked_interaction_loss(heads, mask, exclude_self, pairs)
    found = loss, *torch.autograd.grad(loss, (heads.query, heads.key))
    torch.testing.assert_close(found, by_autograd(heads, mask, exclude_self, visible), rtol=1e-6, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(blocked_interaction_loss(heads, mask, exclude_self, pairs), loss.detach())


@KINDS
@pytest.mark.parametrize(
    ("block", "draws", "exclude_self"),
    [(2**20, 300, False), (2**20, 300, True), (9, 40, True)],
    ids=["one block", "one block without self", "rows of one head"],
)
def test_probes_are_right_in_the_mean_in_value_and_gradient(monkeypatch, kind, block, draws, exclude_self):
    """Within five standard errors of the exact ones, entry by entry."""
    monkeypatch.setitem(blocks._BLOCK, "cpu", block)
    heads, mask, visible = heads_of(kind)
    visible = visible if kind == "causal" else None
    pairs = None if visible is None else count_visible_pairs(visible, mask)
    drawn = []
    for _ in range(draws):
        loss = blocked_interaction_loss(heads, mask, exclude_self, pairs, probes=4)
        drawn.append(torch.cat([loss[None], *(each.flatten() for each in gradient_of(loss, heads))]))
    spread, mean = torch.std_mean(torch.stack(drawn), dim=0)
    exact, *gradient = by_autograd(heads, mask, exclude_self, visible)
    exact = torch.cat([exact[None], *(each.flatten() for each in gradient)])
    assert spread[0] > 0
    assert ((mean - exact).abs() <= 5 * spread / draws**0.5 + 1e-9).all()


def gradient_of(loss, heads):
    return torch.autograd.grad(loss, (heads.query, heads.key))


def test_more_probes_spread_less():
    heads, mask, _ = heads_of("padded", tokens=30)
    few, many = (
        torch.stack([blocked_interaction_loss(heads, mask, probes=probes).detach() for _ in range(200)]).std()
        for probes in (2, 32)
    )
    assert 2 < few / many < 8  # 4 in expectation


def test_some_heads_are_right_in_the_mean():
    heads, mask, _ = heads_of("padded")
    each = [blocked_interaction_loss(heads.select_heads(torch.tensor([head])), mask) for head in range(4)]
    torch.testing.assert_close(torch.stack(each).mean(), blocked_interaction_loss(heads, mask))


@pytest.mark.parametrize("probes", [None, 8])
def test_nothing_of_the_size_of_all_weights_is_made(monkeypatch, probes):
    monkeypatch.setitem(blocks._BLOCK, "cpu", 64 * 64)
    largest = 0

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            largest = max(largest, result.numel() if isinstance(result, torch.Tensor) else 0)
            return result

    tokens = 200
    query, key = (torch.randn(1, 3, tokens, 4, requires_grad=True) for _ in range(2))
    with Largest():
        blocked_interaction_loss(BlockedAttention(query, key, None, 0.5), probes=probes).backward()
    # Rows of one head where there are probes; the exact products need one whole head.
    assert largest <= (tokens * tokens if probes is None else 64 * 64)


def test_queries_and_keys_of_different_lengths_are_refused():
    heads = BlockedAttention(torch.randn(1, 1, 2, 3), torch.randn(1, 1, 4, 3), None, 1.0)
    with pytest.raises(ValueError, match="as many queries as keys, got 2 and 4"):
        blocked_interaction_loss(heads)


def test_a_second_derivative_is_refused():
    attention, (heads, *_) = attention_of(tokens=4).requires_grad_(), heads_of()
    for loss, of in ((interaction_loss(attention), attention), (blocked_interaction_loss(heads), heads.query)):
        with pytest.raises(InputError, match="differentiated only once"):
            torch.autograd.grad(loss, of, create_graph=True)


@pytest.mark.parametrize("probes", [None, 4])
def test_the_query_of_a_token_that_does_not_count_may_hold_anything(probes):
    heads, mask, _ = heads_of("padded")
    spoiled = torch.where(mask[:, None, :, None], heads.query.detach(), float("nan")).requires_grad_()
    found = []
    for query in (heads.query, spoiled):
        some, generator = replace(heads, query=query), torch.Generator().manual_seed(0)
        loss = blocked_interaction_loss(some, mask, probes=probes, generator=generator)
        found.append((loss.detach(), *gradient_of(loss, some)))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    nothing = replace(heads, query=heads.query[:0], key=heads.key[:0], bias=heads.bias[:0])
    assert blocked_interaction_loss(nothing, probes=probes) == 0
