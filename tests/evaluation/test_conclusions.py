"""Each sentence by its rule, from numbers made for it."""

import pytest

from safr.evaluation.conclusions import FAITHFULNESS_METRICS, draw_conclusions


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
        "compared": "capacity",
        "removals": {"delete": "", "hide": ""},
        "methods": methods,
        "comparisons": comparisons,
    }


def all_say(other, verdict, count=3):
    return [(other, metric, "delete", verdict) for metric in FAITHFULNESS_METRICS[:count]]


def test_three_of_five_and_none_against_decide():
    said = draw_conclusions(result([*all_say("blind", "better"), *all_say("signed", "worse")]))
    assert said[0] == "Capacity is more faithful than blind (blind to the class)."
    assert said[1] == "More faithful than capacity: signed (which know the class)."
    said = draw_conclusions(
        result(
            [
                *all_say("blind", "better", 2),
                *all_say("signed", "worse"),
                ("signed", FAITHFULNESS_METRICS[4], "delete", "better"),
            ]
        )
    )
    assert said[0] == "Neither more nor less faithful: blind (blind to the class); signed (which know the class)."


@pytest.mark.parametrize(("value", "is_named"), [(-0.2, True), (-0.005, False), (0.3, False)])
def test_a_ranking_against_what_deletion_does_is_told_of_methods_that_know_the_class(value, is_named):
    made = result()
    for name in ("signed", "blind"):
        made["methods"][name]["values"]["delete"] = {"leave_one_out": estimate(value)}
    said = [each for each in draw_conclusions(made) if each.startswith("Ranks words against the effect")]
    assert bool(said) == is_named
    if is_named:
        assert said[0].endswith("(correlation with leave-one-out): signed (-0.20 [-0.21, -0.19]).")


def test_ways_of_removal_that_contradict_each_other_are_told():
    said = draw_conclusions(result([("blind", "srs", "delete", "better"), ("blind", "srs", "hide", "worse")]))
    assert (
        "Ways of removing words disagree about blind by SRS (capacity is better where it is delete, worse where it is "
        "hide)."
    ) in said
    said = draw_conclusions(result([("blind", "srs", "delete", "better"), ("blind", "srs", "hide", "no difference")]))
    assert "The ways of removing words do not contradict each other." in said
    nothing = draw_conclusions(result([("blind", "srs", "delete", "no difference")]))
    assert not any("ways" in each.lower() for each in nothing)


@pytest.mark.parametrize(("value", "told"), [(0.5, True), (-0.7, True), (0.49, False)])
def test_scores_that_follow_something_else_are_told(value, told):
    said = draw_conclusions(result(position=estimate(value)))
    assert any(each.startswith("capacity follows the words' place in the text") for each in said) == told


@pytest.mark.parametrize(
    ("gap", "said"), [(0.3, "its own matter more"), (-0.3, "the others matter more"), (0, "no clear")]
)
def test_what_own_neurons_do_is_told_beside_as_many_others(gap, said):
    own = {"own": estimate(0.2 + gap), "others": estimate(0.2), "own_minus_others": estimate(gap)}
    told = draw_conclusions(result(**own, **{f"capacity_{name}": value for name, value in own.items()}))
    assert sum(said in each for each in told) == 2
    assert any("as many others by 0.20" in each for each in told)


@pytest.mark.parametrize(
    ("gap", "said"), [(0.3, "relevance knows more [+0.29"), (-0.3, "capacity knows more [-0.31"), (0, "no clear")]
)
def test_what_relevance_knows_of_own_neurons_is_told_beside_capacity(gap, said):
    told = draw_conclusions(
        result(
            relevance_own=estimate(0.5 + gap),
            capacity_own=estimate(0.5),
            relevance_minus_capacity_own=estimate(gap),
        )
    )
    (sentence,) = (each for each in told if each.startswith("The relevance of a word's own neurons"))
    assert said in sentence


def test_a_correlation_whose_interval_holds_0_may_be_none():
    told = draw_conclusions(result(capacity_patched=estimate(0), interference_interaction=estimate(0.3)))
    assert any(each.endswith("+0.00 [-0.01, +0.01], which may be 0.") for each in told)
    assert any(each.endswith("+0.30 [+0.29, +0.31].") for each in told)


def test_words_that_people_mark():
    found = result(auprc=estimate(0.5))
    found["methods"]["signed"]["values"]["none"]["auprc"] = estimate(0.6)
    found["methods"]["blind"]["values"]["none"]["auprc"] = estimate(0.595)
    found["methods"]["random"] = {"signed": False, "cost": None, "values": {"none": {"auprc": estimate(0.26)}}}
    (said,) = (each for each in draw_conclusions(found) if "AUPRC" in each)
    assert said == (
        "Capacity finds the words that people mark with an AUPRC of 0.50 [0.49, 0.51], random scores with 0.26, signed "
        "with 0.60 (with overlapping intervals: blind)."
    )


def test_costs_are_compared_with_those_that_need_many_passes():
    found = result()
    found["methods"]["integrated_gradients"] = {"signed": True, "cost": {"seconds": 0.06}, "values": {}}
    assert (
        draw_conclusions(found)[-1]
        == "Capacity takes 1 ms a text; others take 60 times as long (integrated_gradients)."
    )
