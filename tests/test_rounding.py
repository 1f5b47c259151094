import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safr.attribution.explanation import Explanation
from safr.cli.progress_bars import describe_epoch
from safr.evaluation.statistics import format_percent
from safr.evaluation.task_metrics import MAE
from safr.rounding import format_decimals, format_share


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (81.25, 1, "81.3"),
        (81.75, 1, "81.8"),
        (-81.25, 1, "-81.3"),
        (28.65, 1, "28.6"),  # the nearest binary number is 28.649999999999998578...
        (0.5, 0, "1"),
        (-0.04, 1, "0.0"),
        (1e22, 2, "10000000000000000000000.00"),
        (math.nan, 1, "nan"),
        (-math.inf, 1, "-inf"),
    ],
)
def test_halves_go_away_from_zero_as_on_the_page(value, decimals, text):
    assert format_decimals(value, decimals) == text


@given(st.floats(-1e9, 1e9), st.integers(0, 4))
def test_a_rounded_number_is_at_most_half_a_digit_off(value, decimals):
    assert abs(float(format_decimals(value, decimals)) - value) <= 0.5 * 10**-decimals + 1e-6 * abs(value) * 1e-9
    assert format_decimals(value, decimals).lstrip("-") == format_decimals(-value, decimals).lstrip("-")


def test_a_share_reads_the_same_in_a_table_an_epoch_and_a_prediction(monkeypatch):
    share = 0.8125  # of 16 texts 13; Python alone rounds it to 81.2, JavaScript to 81.3
    assert format_share(share) == "81.3"
    assert format_percent({"value": share, "low": share, "high": share}) == "81.3 [81.3, 81.3]"
    assert describe_epoch("run", 1, "accuracy", share, None).endswith("81.3 % *")
    monkeypatch.setattr(Explanation, "probability", share)
    monkeypatch.setattr(Explanation, "is_regression", False)
    assert Explanation.format_probability(object.__new__(Explanation)) == "81.3 %"
    assert MAE.format({"value": 0.125, "low": 0.125, "high": 0.125}) == "0.13 [0.13, 0.13]"
