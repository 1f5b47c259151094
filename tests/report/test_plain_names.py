import pytest

from safr.attribution.registry import ABSOLUTE_PREFIX, METHODS
from safr.evaluation.audit import AUDIT_MEASURES
from safr.report.plain_names import AUDIT_NAMES, METHOD_NAMES, name_method, name_methods_in


def test_every_method_and_every_measure_has_a_plain_name():
    assert set(METHOD_NAMES) == set(METHODS)
    assert set(AUDIT_NAMES) == set(AUDIT_MEASURES)


@pytest.mark.parametrize(
    "method", [*METHODS, "capacity_fc1_0", "capacity_fc1_out_11", "capacity@vmask", f"{ABSOLUTE_PREFIX}lime", "new_one"]
)
def test_no_plain_name_holds_an_underscore_or_a_sign_of_a_site(method):
    assert not set("_@") & set(name_method(method))


def test_only_short_names_of_methods_are_changed_in_a_sentence():
    assert name_methods_in("my_run: smooth_grad, kernel_shap") == "my_run: smooth grad, kernel shap"
