import torch

from safr.model.vmask import VMASK


def test_keep_probability_is_the_equation_of_the_paper():
    mask, embeddings = VMASK(4, hidden=8).eval(), torch.randn(2, 3, 4)
    hidden = torch.tanh(embeddings @ mask.inner.weight.T + mask.inner.bias)
    expected = torch.softmax(hidden @ mask.outer.weight.T + mask.outer.bias, dim=-1)[..., 1]
    torch.testing.assert_close(mask(embeddings).keep, expected)


def test_evaluation_multiplies_by_the_keep_probability():
    mask, embeddings = VMASK(4).eval(), torch.randn(2, 3, 4)
    masked = mask(embeddings)
    torch.testing.assert_close(masked.vectors, embeddings * masked.keep[..., None])


def test_training_lets_an_embedding_through_whole_or_not_at_all():
    mask, embeddings = VMASK(4).train(), torch.randn(5, 40, 4)
    kept = mask(embeddings).vectors.norm(dim=-1) / embeddings.norm(dim=-1)
    assert set(kept.round(decimals=5).flatten().tolist()) == {0.0, 1.0}


def test_samples_are_kept_as_often_as_the_probability_says():
    mask, embeddings = VMASK(4).train(), torch.randn(1, 1, 4)
    many = embeddings.expand(1, 20_000, 4)
    masked = mask(many)
    share = (masked.vectors.norm(dim=-1) > 0).float().mean()
    assert abs(share - masked.keep[0, 0]) < 0.02


def test_samples_are_reproducible_by_the_seed():
    mask, embeddings = VMASK(4).train(), torch.randn(2, 30, 4)
    first, again, other = (torch.manual_seed(seed) and mask(embeddings).vectors for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_gradients_reach_the_mask_through_the_hard_samples():
    mask, embeddings = VMASK(4).train(), torch.randn(2, 30, 4, requires_grad=True)
    mask(embeddings).vectors.square().sum().backward()
    assert mask.inner.weight.grad.abs().sum() > 0
    assert embeddings.grad.isfinite().all()


def test_tokens_that_do_not_count_pass_unchanged():
    mask, embeddings = VMASK(4).train(), torch.randn(2, 30, 4)
    counting = torch.arange(30).expand(2, 30) < 20
    masked = mask(embeddings, counting)
    assert torch.equal(masked.vectors[:, 20:], embeddings[:, 20:])
    assert masked.keep[:, 20:].eq(1).all()
    assert masked.keep[:, :20].lt(1).all()


def test_the_embeddings_type_is_kept():
    mask = VMASK(4).to(torch.bfloat16)
    assert mask(torch.randn(2, 3, 4, dtype=torch.bfloat16)).vectors.dtype == torch.bfloat16
