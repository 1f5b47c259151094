import pytest
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
    content_mask = torch.arange(30).expand(2, 30) < 20
    masked = mask(embeddings, content_mask)
    assert torch.equal(masked.vectors[:, 20:], embeddings[:, 20:])
    assert masked.keep[:, 20:].eq(1).all()
    assert masked.keep[:, :20].lt(1).all()


def test_the_embeddings_type_is_kept():
    mask = VMASK(4).to(torch.bfloat16)
    assert mask(torch.randn(2, 3, 4, dtype=torch.bfloat16)).vectors.dtype == torch.bfloat16


def test_an_open_mask_lets_short_and_long_embeddings_through():
    for length in (0.01, 1, 100):
        mask, embeddings = VMASK(16), length * torch.randn(500, 16)
        mask.open_to(0.97, embeddings)
        keep = mask(embeddings[None]).keep
        assert 0.95 < keep.mean() < 0.985
        assert keep.min() > 0.9
        assert keep.std() > 0  # or it would have nothing to learn from


def test_the_pieces_of_a_word_share_one_sample_and_the_mean_of_their_logits():
    mask, embeddings = VMASK(4), torch.randn(3, 6, 4)
    words = torch.tensor([[0, 0, 1, 2, 2, 2], [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 0]])
    expected = mask.outer(torch.tanh(mask.inner(embeddings)))
    for training in (True, False):
        masked = mask.train(training)(embeddings, words=words)
        gate = masked.vectors[..., 0] / embeddings[..., 0]
        for text in range(3):
            for word in words[text].unique():
                pieces = words[text] == word
                logits = expected[text][pieces].mean(dim=0)
                torch.testing.assert_close(masked.keep[text][pieces], logits.softmax(-1)[1].expand(int(pieces.sum())))
                assert gate[text][pieces].std(unbiased=False) < 1e-6


def test_words_of_one_piece_each_are_tokens():
    mask, embeddings = VMASK(4).eval(), torch.randn(2, 5, 4)
    alone = mask(embeddings, words=torch.arange(5).expand(2, 5))
    torch.testing.assert_close(alone.vectors, mask(embeddings).vectors)


@pytest.mark.parametrize("kinds", [3, 1000])
def test_the_gate_reads_equal_embeddings_once_and_trains_alike(kinds):
    """Also its table of embeddings, which gets the sum of its rows' gradients either way."""
    table, ids = torch.randn(kinds, 6, requires_grad=True), torch.randint(kinds, (4, 9))
    found = []
    for given in (None, ids):
        mask = VMASK(6, 8)
        mask.load_state_dict(
            {name: torch.linspace(-1, 1, v.numel()).view(v.shape) for name, v in mask.state_dict().items()}
        )
        torch.manual_seed(0)
        masked = mask(table[ids], None, None, given)
        weights = [table, *mask.parameters()]
        found.append([masked.keep, masked.vectors, *torch.autograd.grad(masked.vectors.square().sum(), weights)])
    torch.testing.assert_close(*found)


def test_an_id_is_read_once():
    mask, ids, rows = VMASK(6, 8), torch.tensor([[1, 2, 1, 1], [2, 1, 2, 2]]), []
    mask.inner.register_forward_hook(lambda module, args, output: rows.append(output.numel() // 8))
    mask(torch.randn(5, 6)[ids], None, None, ids)
    assert rows == [2]


def test_ids_may_be_of_32_bits():
    mask, ids, table = VMASK(6, 8).eval(), torch.tensor([[1, 2, 1, 1], [2, 1, 2, 2]]), torch.randn(5, 6)
    found = [mask(table[ids], None, None, ids.to(kind)).keep for kind in (torch.int32, torch.int64)]
    assert torch.equal(*found)
