"""Each sentence by its rule, from numbers made for it."""

import pytest

from safr.evaluation.conclusions import FAITHFUL, conclusions


def estimate(value, half=0.01):
    return {"value": value, "low": value - half, "high": value + half}


def result(verdicts=(), **values):
    """A benchmark of capacity, a signed method and a blind one; `verdicts` are (other, metric, removal, verdict)."""
    methods = {
        name: {"signed": name == "signed", "cost": {"seconds": seconds}, "values": {"none": {}}}
        for name, seconds in (("capacity", 0.001), ("signed", 0.04), ("blind", 0.001))
    }
    methods["capacity"]["values"]["none"] = values
    comparisons = [
        {"other": other, "metric": metric, "removal": removal, "verdict": verdict}
        for other, metric, removal, verdict in verdicts
    ]
    return {
        "subject": "capacity",
        "marked": None,
        "removals": {"delete": "", "hide": ""},
        "methods": methods,
        "comparisons": comparisons,
    }


def all_say(other, verdict, count=3):
    return [(other, metric, "delete", verdict) for metric in FAITHFUL[:count]]


def test_three_of_five_and_none_against_decide():
    said = conclusions(result([*all_say("blind", "better"), *all_say("signed", "worse")]))
    assert said[0] == "Capacity is more faithful than blind (blind to the class, as it is)."
    assert said[1] == "More faithful than capacity: signed (which know the class)."
    said = conclusions(
        result(
            [*all_say("blind", "better", 2), *all_say("signed", "worse"), ("signed", FAITHFUL[4], "delete", "better")]
        )
    )
    assert said[0] == "Neither way by this rule: blind (blind to the class, as it is); signed (which know the class)."


def test_ways_of_removal_that_contradict_each_other_are_told():
    said = conclusions(result([("blind", "srs", "delete", "better"), ("blind", "srs", "hide", "worse")]))
    assert (
        "How words are removed decides against blind by SRS (capacity is better where the way is delete, worse where "
        "it is hide)."
    ) in said
    said = conclusions(result([("blind", "srs", "delete", "better"), ("blind", "srs", "hide", "no difference")]))
    assert "The ways of removing words do not contradict each other." in said


@pytest.mark.parametrize(("value", "told"), [(0.5, True), (-0.7, True), (0.49, False)])
def test_scores_that_follow_something_else_are_told(value, told):
    said = conclusions(result(position=estimate(value)))
    assert any(each.startswith("capacity follows the words' place in the text") for each in said) == told


def test_what_neurons_do_is_told_by_intervals():
    said = conclusions(
        result(
            allocated=estimate(0.5),
            random=estimate(0.2),
            capacity_allocated=estimate(0.3),
            capacity_patched=estimate(0),
        )
    )
    assert any(each.endswith("as many others by 0.20: more.") for each in said)
    assert any("what its own neurons do: +0.30 [+0.29, +0.31]." in each for each in said)
    assert any(each.endswith("+0.00 [-0.01, +0.01], which may be none.") for each in said)
    said = conclusions(result(allocated=estimate(0.21), random=estimate(0.2)))
    assert any(each.endswith("as much, as far as can be told.") for each in said)


def test_words_that_people_mark():
    found = result(auprc=estimate(0.5))
    found["methods"]["signed"]["values"]["none"]["auprc"] = estimate(0.6)
    found["methods"]["blind"]["values"]["none"]["auprc"] = estimate(0.595)
    found["marked"] = 0.14
    (said,) = (each for each in conclusions(found) if "AUPRC" in each)
    assert said == (
        "The words that people mark are 14% of all; capacity finds them with an AUPRC of 0.50 [0.49, 0.51], signed "
        "with 0.60 (with overlapping intervals: blind)."
    )


def test_costs_are_compared_with_those_that_need_many_passes():
    found = result()
    found["methods"]["integrated_gradients"] = {"signed": True, "cost": {"seconds": 0.06}, "values": {}}
    assert conclusions(found)[-1] == "Capacity takes 1 ms a text; others take 60 times as long (integrated_gradients)."
