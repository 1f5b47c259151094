import numpy as np
import pytest

from safr.errors import InputError
from safr.figures.arrays import (
    finite_matrix,
    finite_vector,
    fractions,
    in_readable_units,
    is_symmetric,
    symmetric_matrix,
    without_diagonal,
)


def test_a_vector_of_another_length_is_an_error_that_names_both_shapes():
    with pytest.raises(InputError, match=r"`capacity` must have the shape \(3,\).*got \(2,\)"):
        finite_vector([0.1, 0.2], 3, name="capacity")


def test_a_matrix_of_another_shape_is_an_error_that_names_both_shapes():
    with pytest.raises(InputError, match=r"`interference` must have the shape \(2, 2\).*got \(2, 3\)"):
        finite_matrix(np.zeros((2, 3)), 2, name="interference")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_an_error(value):
    with pytest.raises(InputError, match="must be finite, got NaN or infinity"):
        finite_vector([0.0, value], 2, name="capacity")


@pytest.mark.parametrize("values", [["a", "b"], [[1], [1, 2]], [None, {}]])
def test_what_is_not_a_number_is_an_error(values):
    with pytest.raises(InputError, match="must hold numbers"):
        finite_vector(values, 2, name="capacity")


def test_per_cent_in_place_of_fractions_is_an_error():
    with pytest.raises(InputError, match="between 0 and 1, got 73; give fractions, not per cent"):
        fractions([73.0], 1, name="full")


def test_rounding_beyond_one_is_cut_off():
    assert fractions([np.float32(1.000001), -1e-7], 2, name="capacity").tolist() == [1.0, 0.0]


def test_symmetry_up_to_the_rounding_of_half_precision_is_enough():
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float16)
    product = (vectors @ vectors.T).astype(float)
    product[0, 1] *= 1.0001
    assert is_symmetric(product)
    symmetric_matrix(product, 6, name="interference")


def test_a_matrix_that_is_not_symmetric_is_an_error_that_points_to_the_panel():
    with pytest.raises(InputError, match=r"must be symmetric.*sites_panel"):
        symmetric_matrix([[1.0, 0.2], [0.7, 1.0]], 2, name="interference")


def test_taking_out_the_diagonal_leaves_the_matrix_as_it_was():
    matrix = np.ones((2, 2))
    assert without_diagonal(matrix).tolist() == [[0, 1], [1, 0]]
    assert matrix.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("size", [1e-280, 3e-5, 0.5, 900.0, 3e7, 1.7e308])
def test_readable_units_keep_ratios_and_fit_on_an_axis(size):
    values, unit = in_readable_units(np.array([size, -size / 2]))
    assert values[1] / values[0] == pytest.approx(-0.5)
    assert 1e-2 <= values[0] < 1e4
    assert (unit == "") == (1e-2 <= size < 1e4)


def test_values_too_small_for_any_unit_are_drawn_as_zero():
    values, unit = in_readable_units(np.array([5e-324, -1e-300]))
    assert (values.tolist(), unit) == ([0.0, 0.0], "")
