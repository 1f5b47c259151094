from dataclasses import astuple

import numpy as np
import pytest
import torch

from safr.errors import InputError
from safr.evaluation import sparse_autoencoder as module
from safr.evaluation.sparse_autoencoder import (
    SparseAutoencoder,
    effective_features,
    feature_shares,
    train_sparse_autoencoder,
)

WIDTH = 8


def rotation(width=WIDTH, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width))).Q


def one_neuron_per_feature(width=WIDTH, times=50):
    return np.eye(width)[np.repeat(np.arange(width), times)]


def superposed(features=32, width=WIDTH, tokens=2000, seed=0):
    """Sparse features, more than there are neurons, each with a direction of its own."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((features, width))
    present = rng.random((tokens, features)) < 1.5 / features
    return (rng.random((tokens, features)) * present) @ (directions / np.linalg.norm(directions, axis=1)[:, None])


def by_hand():
    """An autoencoder of two neurons with a latent for each, and a third one for both."""
    autoencoder = SparseAutoencoder(2, 3, 1)
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    autoencoder.load_state_dict(
        {
            "decoder": directions,
            "encoder": directions,
            "bias": torch.zeros(3),
            "center": torch.tensor([1.0, 0.0]),
            "scale": torch.tensor(2.0),
        }
    )
    return autoencoder.requires_grad_(False)


# Divided by 2 and without the center these are (3, 0), (0, 1), (-1, -1) and (3, 4).
TOKENS = torch.tensor([[8.0, 0.0], [2.0, 2.0], [0.0, -2.0], [8.0, 8.0]])


def test_the_autoencoder_by_hand():
    latents = by_hand().encode(TOKENS)
    torch.testing.assert_close(latents, torch.tensor([[3.0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 5]]))
    restored = by_hand().decode(latents)
    torch.testing.assert_close(restored, torch.tensor([[8.0, 0], [2, 2], [2, 0], [8, 8]]))
    variance = float((TOKENS - TOKENS.mean(dim=0)).square().sum())
    assert by_hand().unexplained_variance(TOKENS) == pytest.approx(8 / variance)
    assert by_hand().encode(torch.zeros(0, 2)).shape == (0, 3)


def test_the_forward_pass_decodes_what_is_encoded():
    values = torch.from_numpy(superposed(tokens=50)).float()
    autoencoder = train_sparse_autoencoder(values, latents=20, active=3, steps=20)
    decoded, active, indices = autoencoder(values / autoencoder.scale)
    latents = autoencoder.encode(values)
    torch.testing.assert_close(decoded * autoencoder.scale, autoencoder.decode(latents))
    torch.testing.assert_close(latents.gather(1, indices), active)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_activations_of_any_floating_point_type_are_read(dtype):
    autoencoder = by_hand()
    torch.testing.assert_close(autoencoder.encode(TOKENS.to(dtype)), autoencoder.encode(TOKENS))
    assert autoencoder.unexplained_variance(TOKENS.to(dtype)) == autoencoder.unexplained_variance(TOKENS)


def test_shares_of_active_features_by_hand():
    latents = torch.tensor([[2.0, 0, 0, 0], [0, 1, 4, 0], [0, 3, 0, 0]])
    shares = feature_shares(latents)
    torch.testing.assert_close(shares, torch.tensor([0.2, 0.5, 0.3]))
    torch.testing.assert_close(feature_shares(7 * latents), shares)
    assert feature_shares(torch.zeros(2, 3)).tolist() == [0, 0]
    assert feature_shares(torch.zeros(0, 3)).tolist() == []


def test_effective_features_by_hand():
    found = effective_features(TOKENS, by_hand())
    shares = np.array([3, 1, 5]) / 9
    features = np.exp(-(shares * np.log(shares)).sum())
    assert found.features == pytest.approx(features)
    assert (found.ratio, found.active, found.dead) == (pytest.approx(features / 2), 1, 0)
    assert effective_features(TOKENS[:2], by_hand()).dead == pytest.approx(1 / 3)


@pytest.mark.parametrize("directions", [np.eye(WIDTH), rotation()], ids=["neurons", "rotated"])
def test_as_many_features_as_neurons_give_a_ratio_of_one(directions):
    """In any directions: the ratio counts features, and does not ask whether a neuron stands for one."""
    found = effective_features(one_neuron_per_feature() @ directions)
    assert found.ratio == pytest.approx(1, abs=0.02)
    assert found.active == 1
    assert found.unexplained < 1e-3
    assert found.dead > 0.5


def check_order_of_planted_features():
    two = one_neuron_per_feature()[:100]
    few = effective_features(two, train_sparse_autoencoder(two, active=1))
    assert few.features == pytest.approx(2, abs=0.1)
    values = superposed()
    many = effective_features(values, train_sparse_autoencoder(values, active=4, steps=500))
    assert many.ratio > 2
    assert many.features < 32
    assert many.unexplained < 0.1


def test_more_features_than_neurons_give_a_ratio_above_one_and_fewer_one_below():
    check_order_of_planted_features()


def test_a_count_without_the_entropy_is_noticed(monkeypatch):
    monkeypatch.setattr(module, "entr", lambda shares: shares)
    with pytest.raises(AssertionError):
        check_order_of_planted_features()


def test_an_autoencoder_without_its_top_is_noticed(monkeypatch):
    encode_active = SparseAutoencoder._encode_active

    def encode_all(autoencoder, inputs):
        autoencoder.active = len(autoencoder.decoder)
        return encode_active(autoencoder, inputs)

    monkeypatch.setattr(SparseAutoencoder, "_encode_active", encode_all)
    with pytest.raises(AssertionError):
        test_the_autoencoder_by_hand()


def test_the_seed_says_which_autoencoder_comes_out():
    values = superposed(tokens=300)
    first, again, other = (train_sparse_autoencoder(values, active=2, steps=30, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.decoder, other.decoder)
    state = torch.get_rng_state()
    train_sparse_autoencoder(values, active=2, steps=3)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_is_trained_where_a_caller_has_gradients_off(mode):
    values = superposed(tokens=50)
    with mode():
        found = train_sparse_autoencoder(torch.from_numpy(values), active=2, steps=5)
    expected = train_sparse_autoencoder(values, active=2, steps=5)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), expected.parameters(), strict=True))


def test_directions_have_length_one_and_at_most_so_many_latents_are_active():
    values = torch.from_numpy(superposed(tokens=300)).float()
    autoencoder = train_sparse_autoencoder(values, latents=20, active=3, steps=50)
    torch.testing.assert_close(autoencoder.decoder.norm(dim=1), torch.ones(20))
    latents = autoencoder.encode(values)
    assert latents.shape == (300, 20)
    assert (latents >= 0).all()
    assert (latents > 0).sum(dim=1).max() == 3


def test_the_fewest_active_latents_that_explain_enough_are_taken():
    values = superposed(tokens=500)
    taken = train_sparse_autoencoder(values, steps=200)
    unexplained = {
        active: effective_features(values, train_sparse_autoencoder(values, active=active, steps=200)).unexplained
        for active in (1, 2, 4, 8)
    }
    assert taken.active == next(active for active, share in unexplained.items() if share <= 0.1)
    assert train_sparse_autoencoder(values, latents=3, steps=2).active == 2  # the last that there are latents for


def test_training_lowers_what_is_unexplained():
    values = torch.from_numpy(superposed()).float()
    short, long = (
        train_sparse_autoencoder(values, active=4, steps=steps).unexplained_variance(values) for steps in (1, 300)
    )
    assert long < 0.2 < short


def test_dead_latents_come_back(monkeypatch):
    def train():
        return effective_features(values, train_sparse_autoencoder(values, latents=256, active=1, steps=300))

    values = superposed()
    revived = train()
    monkeypatch.setattr(module, "_DEAD_AFTER", 10**9)
    left_dead = train()
    assert revived.dead < 0.6 * left_dead.dead
    assert revived.unexplained < left_dead.unexplained


def test_a_common_factor_changes_nothing():
    values = superposed(tokens=500)
    one, other = (
        effective_features(values * factor, train_sparse_autoencoder(values * factor, active=2, steps=50))
        for factor in (1.0, 1024.0)
    )
    assert astuple(one) == pytest.approx(astuple(other), rel=1e-3)


VALUES = np.arange(6.0).reshape(3, 2)
WRONG_INPUTS = [
    (lambda: effective_features(VALUES[:1]), r"at least 2 tokens, got \(1, 2\)"),
    (lambda: effective_features(VALUES[0]), r"shape \(token, neuron\)"),
    (lambda: effective_features(VALUES * np.nan), "got NaN or infinity"),
    (lambda: effective_features(np.ones((3, 2))), "change from token to token"),
    (lambda: effective_features(np.ones((3, 2))[:, :0]), r"got \(3, 0\)"),
    (lambda: effective_features(np.arange(9.0).reshape(3, 3), by_hand()), "expected 2 neurons, .* got 3"),
    (lambda: effective_features([[1.0, -2.0], [1.5, -3.0]], by_hand()), "active latents, got none"),
    (lambda: train_sparse_autoencoder(VALUES, active=9), "got 9 of 8"),
    (lambda: train_sparse_autoencoder(VALUES, active=0), "got 0 of 8"),
    (lambda: train_sparse_autoencoder(VALUES, latents=0), "at least 1 latent"),
    (lambda: train_sparse_autoencoder(VALUES, steps=0), "at least 1 step, got 0"),
]


@pytest.mark.parametrize(("call", "message"), WRONG_INPUTS)
def test_what_cannot_be_measured_gets_one_line(call, message):
    with pytest.raises(InputError, match=message):
        call()
