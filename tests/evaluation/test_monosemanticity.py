import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safr.errors import InputError
from safr.evaluation.monosemanticity import (
    hoyer_sparsity,
    mean_over_neurons,
    monosemanticity_score,
    permutation_null,
    token_entropy,
)
from safr.evaluation.neuron_statistics import NeuronStatistics
from safr.losses import monosemanticity_loss

WORDS = 64


def random_data(tokens=40, neurons=5, words=6, seed=0):
    """Activations on both sides of 0, the tokens' words, and a vector for each."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((tokens, neurons))
    values[0] = -np.abs(values[0])  # a token for which no neuron is active
    return values, rng.integers(0, words, tokens), rng.standard_normal((tokens, 3))


def planted_neurons(words=WORDS, times=20, *, rotated, seed=0):
    """One neuron for each word, which its word alone drives; rotated, every word is spread over all neurons."""
    rng = np.random.default_rng(seed)
    identities = rng.permutation(np.repeat(np.arange(words), times))
    values = np.eye(words)[identities]
    return values @ np.linalg.qr(rng.standard_normal((words, words))).Q if rotated else values, identities


def gathered(values, words, vectors=None, *, cuts=()):
    statistics = NeuronStatistics()
    for start, stop in zip((0, *cuts), (*cuts, len(values)), strict=True):
        if stop > start:
            part = None if vectors is None else vectors[start:stop]
            statistics.update(values[start:stop], words[start:stop], vectors=part)
    return statistics


def measures(statistics):
    """Every measure of gathered statistics, by name."""
    return {
        "score": statistics.monosemanticity_score(),
        "similarity": statistics.mean_similarity(),
        "entropy": statistics.token_entropy(),
        "normalized entropy": statistics.token_entropy(normalized=True),
        "active": statistics.active_share(),
        "l0": statistics.mean_active_neurons(),
        "dead": statistics.dead_share(),
        "neuron sparsity": statistics.neuron_sparsity(),
        "token sparsity": statistics.token_sparsity(),
    }


def slow_score(values, similarity):
    """The score of each neuron, pair by pair."""
    scores = []
    for column in np.maximum(values, 0).T:
        scaled = (column - column.min()) / (column.max() - column.min())
        pairs = [(n, m) for n in range(len(scaled)) for m in range(n + 1, len(scaled))]
        weights = [scaled[n] * scaled[m] for n, m in pairs]
        scores.append(sum(w * similarity(n, m) for w, (n, m) in zip(weights, pairs, strict=True)) / sum(weights))
    return np.array(scores)


def slow_entropy(values, words):
    entropies = []
    for column in np.maximum(values, 0).T:
        shares = [column[words == word].sum() / column.sum() for word in set(words.tolist())]
        entropies.append(-sum(share * np.log2(share) for share in shares if share > 0))
    return np.array(entropies)


def same_word(words):
    return lambda n, m: float(words[n] == words[m])


def cosine(vectors):
    return lambda n, m: vectors[n] @ vectors[m] / np.linalg.norm(vectors[n]) / np.linalg.norm(vectors[m])


def test_monosemanticity_score_by_hand():
    # Scaled to 0, 1/2, 1/2 and 1: pairs weigh 1/4 (a, b), 1/2 (a, a) and 1/2 (b, a), so that 1/2 of 5/4 is alike.
    values = np.array([[1.0], [2.0], [2.0], [3.0]])
    assert monosemanticity_score(values, ["c", "a", "b", "a"]) == pytest.approx([0.4])
    # The same pairs have the cosines 0, 1 and 0.6.
    vectors = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 3.0], [3.0, 4.0]])
    expected = (0.25 * 0 + 0.5 * 0.6 + 0.5 * 0.8) / 1.25
    assert monosemanticity_score(values, vectors=vectors) == pytest.approx([expected])


def test_token_entropy_by_hand():
    values = np.array([[1.0, 1.0, -1.0], [1.0, 0.0, 2.0], [2.0, 0.0, 0.0]])
    words = ["good", "bad", "film"]
    assert token_entropy(values, words) == pytest.approx([1.5, 0, 0])
    assert token_entropy(values, words, normalized=True) == pytest.approx([1.5 / np.log2(3), 0, 0])


def test_hoyer_sparsity_by_hand():
    values = np.array([[3.0, 1.0, 0.0], [4.0, 1.0, 0.0], [0.0, 1.0, 5.0], [0.0, 1.0, -5.0]])
    assert hoyer_sparsity(values) == pytest.approx([(2 - 7 / 5) / (2 - 1), 0, 1])
    root = np.sqrt(3)
    first, third = (root - 4 / np.sqrt(10)) / (root - 1), (root - 6 / np.sqrt(26)) / (root - 1)
    second = (root - 5 / np.sqrt(17)) / (root - 1)
    assert hoyer_sparsity(values, axis=1) == pytest.approx([first, second, third, 1])


def test_active_and_dead_neurons_by_hand():
    statistics = gathered(np.array([[1.0, -1.0, 0.0], [2.0, 3.0, -2.0]]), np.array([0, 1]))
    assert statistics.active_share().tolist() == [1, 0.5, 0]
    assert statistics.mean_active_neurons() == 1.5
    assert statistics.dead_share() == pytest.approx(1 / 3)
    assert statistics.lowest.tolist() == [1, 0, 0]
    assert statistics.highest.tolist() == [2, 3, 0]


def test_the_mean_similarity_by_hand():
    statistics = gathered(np.ones((4, 1)), np.array(["a", "b", "a", "a"]))
    assert statistics.mean_similarity() == pytest.approx(3 / 6)


def check_against_loops():
    """Every measure as a loop over pairs, words or neurons has it."""
    values, words, vectors = random_data()
    np.testing.assert_allclose(monosemanticity_score(values, words), slow_score(values, same_word(words)))
    np.testing.assert_allclose(monosemanticity_score(values, vectors=vectors), slow_score(values, cosine(vectors)))
    lifted = values + 5  # whose lowest activation is not 0
    np.testing.assert_allclose(monosemanticity_score(lifted, words), slow_score(lifted, same_word(words)))
    np.testing.assert_allclose(token_entropy(values, words), slow_entropy(values, words))
    np.testing.assert_allclose(token_entropy(lifted, words), slow_entropy(lifted, words))
    statistics, rectified = gathered(values, words, vectors), np.maximum(values, 0)
    pairs = [(n, m) for n in range(len(values)) for m in range(len(values)) if n != m]
    assert statistics.mean_similarity() == pytest.approx(np.mean([cosine(vectors)(n, m) for n, m in pairs]))
    norms = [np.abs(column).sum() / np.linalg.norm(column) for column in rectified.T]
    expected = [(np.sqrt(len(values)) - norm) / (np.sqrt(len(values)) - 1) for norm in norms]
    np.testing.assert_allclose(hoyer_sparsity(values), expected)
    np.testing.assert_allclose(statistics.neuron_sparsity(), expected)
    assert statistics.token_sparsity() == pytest.approx(np.nanmean(hoyer_sparsity(values, axis=1)))
    assert statistics.mean_active_neurons() == pytest.approx((values > 0).sum(axis=1).mean())


def test_every_measure_is_its_loop():
    check_against_loops()


def check_planted_neurons():
    """Where one word drives each neuron, every measure says so; a rotation brings them near chance."""
    values, words = planted_neurons(rotated=False)
    np.testing.assert_allclose(monosemanticity_score(values, words), 1)
    np.testing.assert_allclose(token_entropy(values, words), 0, atol=1e-9)
    statistics = gathered(values, words)
    assert (statistics.mean_active_neurons(), statistics.dead_share()) == (pytest.approx(1), 0)
    assert statistics.token_sparsity() == pytest.approx(1)
    chance = permutation_null(monosemanticity_score, values, words)
    assert chance.null.mean() == pytest.approx(statistics.mean_similarity(), rel=0.1)
    assert chance.excess.mean() > 0.98
    values, words = planted_neurons(rotated=True)
    scores = monosemanticity_score(values, words)
    # A word's activations are then half of a normal distribution: E[a^2] / E[a]^2 = pi, shared by all words.
    assert scores.mean() == pytest.approx(np.pi / WORDS, rel=0.1)
    assert gathered(values, words).mean_active_neurons() == pytest.approx(WORDS / 2, rel=0.1)
    entropy = permutation_null(token_entropy, values, words)
    assert entropy.null.mean() == pytest.approx(np.log2(WORDS), rel=0.02)
    assert -1.5 < entropy.excess.mean() < -0.5


def test_planted_neurons_are_told_from_rotated_ones():
    check_planted_neurons()


the_score = NeuronStatistics.monosemanticity_score

BROKEN = {
    "no pair of a token with itself": (
        "monosemanticity_score",
        lambda self: np.square(self._by_word).sum(axis=0) / np.square(self._by_word.sum(axis=0)),
    ),
    "weights": ("monosemanticity_score", lambda self: np.full(len(self.lowest), self.mean_similarity())),
    "direction": ("monosemanticity_score", lambda self: 1 - the_score(self)),
    "weights in the denominator": (
        "monosemanticity_score",
        lambda self: (np.square(self._by_word).sum(axis=0) - self._squares) / (self.tokens * (self.tokens - 1)),
    ),
    "the lowest activation": ("token_entropy", lambda self, normalized=False: entr_of_sums(self._by_word)),
    "bits": ("token_entropy", lambda self, normalized=False: entr_of_sums(all_by_word(self)) * np.log(2)),
    "length": ("neuron_sparsity", lambda self: 1 - all_by_word(self).sum(axis=0) / np.sqrt(self.tokens)),
    "tokens without activity": ("token_sparsity", lambda self: self._token_sparsity / self.tokens),
    "threshold": ("mean_active_neurons", lambda self: float(len(self.lowest))),
    "pairs": ("mean_similarity", lambda self: float(np.square(self._vector_sum / self.tokens).sum())),
}


def all_by_word(statistics):
    return statistics._by_word + statistics._counts[:, None] * statistics.lowest


def entr_of_sums(by_word):
    shares = by_word / by_word.sum(axis=0)
    return -np.where(shares > 0, shares * np.log2(np.where(shares > 0, shares, 1)), 0).sum(axis=0)


@pytest.mark.parametrize(("method", "broken"), BROKEN.values(), ids=BROKEN)
def test_a_broken_measure_fails_its_loop(method, broken, monkeypatch):
    monkeypatch.setattr(NeuronStatistics, method, broken)
    with pytest.raises(AssertionError):
        check_against_loops()


@pytest.mark.parametrize("broken", ["weights", "direction", "weights in the denominator"])
def test_a_broken_score_fails_on_planted_neurons(broken, monkeypatch):
    monkeypatch.setattr(NeuronStatistics, *BROKEN[broken])
    with pytest.raises(AssertionError):
        check_planted_neurons()


@given(
    st.lists(st.integers(0, 40), max_size=6).map(sorted),
    st.booleans(),
    st.sampled_from([0.0, 3.0, 1e3]),
    st.integers(0, 99),
)
def test_batches_of_any_size_give_what_all_tokens_at_once_give(cuts, has_vectors, lift, seed):
    values, words, vectors = random_data(seed=seed)
    values, vectors = values + lift, vectors if has_vectors else None
    whole, parts = (measures(gathered(values, words, vectors, cuts=places)) for places in ((), cuts))
    for name, expected in whole.items():
        np.testing.assert_allclose(parts[name], expected, rtol=1e-6, atol=1e-6, err_msg=name)


@given(st.floats(1e-6, 1e6), st.integers(0, 99))
def test_a_positive_factor_on_a_neuron_changes_nothing(factor, seed):
    values, words, _ = random_data(seed=seed)
    scaled = values * np.array([factor, 1, 1, 1, 1])
    for measure in (monosemanticity_score, token_entropy, lambda values, _: hoyer_sparsity(values)):
        np.testing.assert_allclose(measure(scaled, words), measure(values, words), rtol=1e-6, atol=1e-6)
    before, after = (measures(gathered(each, words)) for each in (values, scaled))
    assert all(before[name] == after[name] for name in ("l0", "dead"))


@given(st.integers(0, 99))
def test_the_order_of_tokens_and_the_names_of_words_do_not_matter(seed):
    values, words, _ = random_data(seed=seed)
    order, names = np.random.default_rng(seed).permutation(len(words)), np.array(["c", "a", "f", "b", "e", "d"])
    for measure in (monosemanticity_score, token_entropy):
        np.testing.assert_allclose(measure(values[order], names[words[order]]), measure(values, words))


@given(st.integers(2, 12), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_measures_stay_within_their_ranges(tokens, neurons, words, seed):
    values, identities, _ = random_data(tokens, neurons, words, seed)
    statistics = gathered(values, identities)
    for shares in (statistics.monosemanticity_score(), statistics.token_entropy(normalized=True)):
        assert not ((shares < -1e-9) | (shares > 1 + 1e-9)).any()
    assert 0 <= statistics.mean_similarity() <= 1
    assert 0 <= statistics.mean_active_neurons() <= neurons


def test_the_score_by_words_is_that_of_one_hot_vectors():
    values, words, _ = random_data()
    np.testing.assert_allclose(
        monosemanticity_score(values, words), monosemanticity_score(values, vectors=np.eye(6)[words])
    )


def test_the_score_is_what_the_loss_lowers():
    values, words, _ = random_data()
    loss = monosemanticity_loss(torch.from_numpy(values)[None], torch.from_numpy(words)[None])
    assert float(loss) == pytest.approx(1 - monosemanticity_score(values, words).mean())


@pytest.mark.parametrize("vectors", [False, True])
def test_the_mean_similarity_is_the_score_by_chance(vectors):
    values, words, directions = random_data(tokens=300)
    identities = directions if vectors else words

    def score(values, identities):
        return monosemanticity_score(values, **{"vectors" if vectors else "words": identities})

    null = permutation_null(score, values, identities, draws=200).null
    expected = gathered(values, words, directions if vectors else None).mean_similarity()
    np.testing.assert_allclose(null, expected, atol=0.003)


def test_the_null_of_random_neurons_is_what_they_have():
    values, words, _ = random_data(tokens=2000, neurons=30)
    for measure in (monosemanticity_score, token_entropy):
        null = permutation_null(measure, values, words)
        assert abs(null.excess.mean()) < 0.002
    again = permutation_null(token_entropy, values, words)
    assert (again.null == null.null).all()
    assert (permutation_null(token_entropy, values, words, seed=1).null != null.null).any()


def test_neurons_that_say_nothing_have_no_value():
    values = np.array([[0.0, 2.0, 0.0], [-1.0, 2.0, 5.0], [0.0, 2.0, 0.0]])
    words = [1, 2, 1]
    assert np.isnan(monosemanticity_score(values, words)).all()  # never active, always the same, one token
    assert token_entropy(values, words) == pytest.approx([np.nan, np.log2(3) - 2 / 3, 0], nan_ok=True)
    assert hoyer_sparsity(values) == pytest.approx([np.nan, 0, 1], nan_ok=True)
    assert gathered(values, np.array(words)).dead_share() == pytest.approx(1 / 3)
    dead = gathered(np.zeros((3, 2)), np.array(words))
    assert np.isnan(dead.token_sparsity())
    assert np.isnan(gathered(np.ones((3, 1)), np.array(words)).token_sparsity())


def test_one_word_drives_every_neuron_wholly_and_so_it_is_by_chance():
    values, words = random_data()[0], np.zeros(40)
    assert monosemanticity_score(values, words) == pytest.approx(np.ones(5))
    assert gathered(values, words).mean_similarity() == pytest.approx(1)
    for normalized in (False, True):
        assert token_entropy(values, words, normalized=normalized) == pytest.approx(np.zeros(5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_are_read_as_arrays_are(dtype):
    values, words, vectors = random_data()
    tensor = torch.from_numpy(values).to(dtype).requires_grad_()
    found = monosemanticity_score(tensor, torch.from_numpy(words))
    np.testing.assert_allclose(found, monosemanticity_score(tensor.detach().double().numpy(), words))
    found = monosemanticity_score(tensor, vectors=torch.from_numpy(vectors))
    np.testing.assert_allclose(found, monosemanticity_score(tensor.detach().double().numpy(), vectors=vectors))


def test_the_mean_over_neurons_leaves_out_those_without_a_value():
    estimate = mean_over_neurons([0.2, np.nan, 0.4, 0.9])
    assert estimate.value == pytest.approx(0.5)
    assert 0.2 <= estimate.low < estimate.value < estimate.high <= 0.9
    assert mean_over_neurons([1.0, 1.0], limits=(0, 1)).low < 1
    with pytest.raises(InputError, match="at least 2 neurons that have a value, got 1"):
        mean_over_neurons([0.2, np.nan])


VALUES = np.ones((3, 2))
WRONG_INPUTS = [
    (lambda: monosemanticity_score(VALUES), "words or vectors, and not both"),
    (lambda: monosemanticity_score(VALUES, [1, 2, 3], vectors=VALUES), "words or vectors, and not both"),
    (lambda: monosemanticity_score(VALUES, [1, 2]), "expected 3 words, one for each row"),
    (lambda: monosemanticity_score(VALUES[:1], [1]), "at least 2 tokens, got 1"),
    (lambda: token_entropy(VALUES[:1], [1]), "at least 2 tokens, got 1"),
    (lambda: monosemanticity_score(VALUES[0], [1, 2]), r"shape \(token, neuron\), got \(2,\)"),
    (lambda: token_entropy(np.ones((0, 2)), []), r"shape \(token, neuron\), got \(0, 2\)"),
    (lambda: token_entropy([[1.0], [np.nan]], [1, 2]), "got NaN or infinity"),
    (lambda: monosemanticity_score([[1.0], [-np.inf]], [1, 2]), "got NaN or infinity"),
    (lambda: monosemanticity_score(VALUES, vectors=VALUES[:2]), r"expected 3 vectors, \(token, dimension\)"),
    (lambda: monosemanticity_score(VALUES, vectors=np.zeros((3, 2))), "vectors other than 0"),
    (lambda: monosemanticity_score(VALUES, vectors=VALUES * np.nan), "expected finite vectors"),
    (lambda: hoyer_sparsity(VALUES[:1]), "at least 2 activations, got 1"),
    (lambda: permutation_null(token_entropy, VALUES, [1, 2, 3], draws=0), "at least 1 permutation, got 0"),
    (lambda: NeuronStatistics().active_share(), "at least 2 tokens, got 0"),
]


@pytest.mark.parametrize(("call", "message"), WRONG_INPUTS)
def test_what_cannot_be_measured_gets_one_line(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("values", "vectors", "message"),
    [
        (np.ones((3, 4)), None, "expected 2 neurons as in the batches before, got 4"),
        (VALUES, None, "vectors with every batch or with none"),
        (VALUES, np.ones((3, 7)), "expected vectors of 2 dimensions, got 7"),
    ],
)
def test_batches_that_do_not_fit_together_get_one_line(values, vectors, message):
    statistics = NeuronStatistics()
    statistics.update(VALUES, [1, 2, 3], vectors=None if vectors is None and len(values.T) > 2 else VALUES)
    with pytest.raises(InputError, match=message):
        statistics.update(values, [1, 2, 3], vectors=vectors)
