import networkx
import numpy as np
import pytest

from safr.figures.layout import SHORTEST, compute_layout, place_circles, place_labels, push_apart, relative_strength


def distances(centres):
    return np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1))


def overlap(one, other):
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])


def test_strength_is_relative_to_the_strongest_pair_and_ignores_sign_and_diagonal():
    strength = relative_strength(np.array([[90.0, -4.0, 1.0], [-4.0, 80.0, 2.0], [1.0, 2.0, 70.0]]))
    assert strength.tolist() == [[0, 1, 0.25], [1, 0, 0.5], [0.25, 0.5, 0]]


def test_no_interference_at_all_has_strength_zero():
    assert not relative_strength(np.diag([1.0, 2.0])).any()


def test_the_strongest_pair_is_nearer_than_the_weakest(sentence):
    strength = relative_strength(sentence.interference)
    apart = distances(place_circles(strength, np.full(len(strength), 2.0), side=400))
    pairs = np.triu_indices(len(strength), k=1)
    assert apart[pairs][strength[pairs].argmax()] < apart[pairs][strength[pairs].argmin()]


def test_distance_falls_with_strength(sentence):
    strength = relative_strength(sentence.interference)
    apart = distances(place_circles(strength, np.full(len(strength), 2.0), side=400))
    pairs = np.triu_indices(len(strength), k=1)
    assert np.corrcoef(apart[pairs], np.sqrt(strength[pairs]))[0, 1] < -0.5


def stress(points, distance):
    """Kamada and Kawai's, as a slow loop: the squared relative errors of all pairs."""
    apart = distances(points)
    return sum((apart[i, j] / distance[i, j] - 1) ** 2 for i in range(len(points)) for j in range(i))


def wanted_distances(strength):
    distance = 1 - (1 - SHORTEST) * np.sqrt(strength)
    np.fill_diagonal(distance, 0.0)
    return distance


def strength_of_vectors(count, width, seed):
    vectors = np.random.default_rng(seed).normal(size=(count, width))
    return relative_strength(vectors @ vectors.T)


@pytest.mark.parametrize("count", [3, 8, 19, 40])
def test_the_stress_is_about_as_low_as_networkx_makes_it_or_lower(count):
    ours, theirs = [], []
    for seed, width in enumerate((2, 4, 30, 200)):
        strength = strength_of_vectors(count, width, seed)
        distance = wanted_distances(strength)
        ours.append(stress(compute_layout(strength), distance))
        by_word = {i: {j: float(distance[i, j]) for j in range(count)} for i in range(count)}
        layout = networkx.kamada_kawai_layout(networkx.empty_graph(count), dist=by_word)
        points = np.array([layout[i] for i in range(count)])
        theirs.append(min(stress(points * scale, distance) for scale in np.linspace(0.3, 3, 50)))
    assert sum(ours) <= 1.01 * sum(theirs)
    for mine, other in zip(ours, theirs, strict=True):  # each finds its own minimum
        assert mine < 1.5 * other + 1e-3


def test_three_words_get_the_distances_that_they_should_have():
    strength = relative_strength(np.array([[0.0, 9.0, 0.1], [9.0, 0.0, 0.1], [0.1, 0.1, 0.0]]))
    np.testing.assert_allclose(distances(compute_layout(strength)), wanted_distances(strength), atol=5e-3)


def test_a_layout_is_the_same_alone_and_among_others():
    strengths = [strength_of_vectors(12, 5, seed) for seed in range(3)]
    together = compute_layout(np.stack(strengths))
    for strength, layout in zip(strengths, together, strict=True):
        np.testing.assert_allclose(distances(compute_layout(strength)), distances(layout), atol=0.02)


def test_a_layout_is_widest_from_left_to_right_and_starts_on_the_left(sentence):
    points = compute_layout(relative_strength(sentence.interference))
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-9)
    assert points[:, 0].std() > points[:, 1].std()
    assert points[0, 0] <= 0
    np.testing.assert_allclose((points[:, 0] * points[:, 1]).sum(), 0.0, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_words_that_are_all_alike_get_points_of_their_own(count):
    for strength in (np.zeros((count, count)), 1 - np.eye(count)):
        apart = distances(compute_layout(strength)) + 9 * np.eye(count)
        assert apart.min() > 0.15 * wanted_distances(strength).max()


def test_the_layout_is_the_same_each_time(sentence):
    strength, radii = relative_strength(sentence.interference), np.full(len(sentence.words), 5.0)
    assert np.array_equal(place_circles(strength, radii, side=300), place_circles(strength, radii, side=300))


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_no_two_circles_overlap_when_no_pair_or_every_pair_interferes(count):
    radii = np.full(count, 20.0)
    for strength in (np.zeros((count, count)), 1 - np.eye(count)):
        centres = place_circles(strength, radii, side=100 + 55 * np.sqrt(count))
        assert np.isfinite(centres).all()
        assert (distances(centres) + 1e9 * np.eye(count)).min() > 2 * 20


def test_circles_on_one_point_are_parted():
    centres = push_apart(np.zeros((3, 2)), np.full(3, 5.0), gap=1.0)
    assert (distances(centres) + 100 * np.eye(3)).min() > 10


def test_a_label_that_fits_stands_in_its_circle_and_another_beside_it():
    boxes = place_labels(np.array([[0.0, 0.0], [200.0, 0.0]]), np.full(2, 20.0), np.array([10.0, 60.0]), 10, empty())
    assert boxes[0] == (-5, -5, 5, 5)
    assert boxes[1][0] >= 220


def test_labels_avoid_circles_and_each_other():
    centres = np.array([[x, y] for x in (0.0, 45.0, 90.0) for y in (0.0, 45.0, 90.0)])
    boxes = place_labels(centres, np.full(9, 4.0), np.full(9, 30.0), 10, empty())
    assert not any(overlap(boxes[i], boxes[j]) for i in range(9) for j in range(i))


def test_a_label_rather_hides_no_line():
    line = np.column_stack([np.linspace(5, 50, 50), np.zeros(50)])
    (box,) = place_labels(np.zeros((1, 2)), np.array([4.0]), np.array([30.0]), 10, line)
    assert box[2] < 0


def empty():
    return np.zeros((0, 2))
