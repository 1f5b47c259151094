import pytest

from safr.evaluation.srs import DELETION_PERCENTS
from safr.report.table_sentences import describe_tables


def estimate(value, low=None, high=None):
    return {"value": value, "low": value if low is None else low, "high": value if high is None else high}


def srs(beyond, **others):
    above = {str(percent): estimate(0.0) for percent in DELETION_PERCENTS} | {"40": estimate(*beyond)}
    return {"30": estimate(0.1), "random": {"30": estimate(0.5)}, "above_random": above} | others


def told(table, scores):
    return describe_tables({table: {}} | scores)[table]


@pytest.mark.parametrize(
    ("beyond", "said"),
    [
        ((0.2, 0.1, 0.3), "cost 20.0 points more than random ones."),
        ((-0.2, -0.3, -0.1), "cost 20.0 points less than random ones."),
        ((0.2, -0.1, 0.3), "cost 20.0 points more than random ones, which may be chance."),
    ],
)
def test_of_the_curve_the_largest_gap_is_told(beyond, said):
    sentence = told("deletion", {"srs": srs(beyond)})
    assert sentence == f"the two lines are furthest apart at 40 %, where words of highest capacity {said}"


def test_the_best_and_the_worst_class_are_named():
    rows = [{"label": label, "f1": f1} for label, f1 in (("a", 0.5), ("b", 0.9), ("c", 0.2))]
    assert (
        told("classes", {"classes": {"per_class": rows}})
        == "it recognises “b” (F1 90.0 %) best and “c” (F1 20.0 %) worst."
    )
    assert (
        told("classes", {"classes": {"per_class": rows[:1]}}) == "every class is recognised equally well (F1 50.0 %)."
    )


def test_the_score_that_costs_most_is_named_and_random_is_not_one():
    scores = {"srs": srs((0, 0, 0), capacity_fc1_out_0={"30": estimate(0.2)}, keep={"30": estimate(0.15)})}
    assert told("srs", scores) == "deletion costs most by capacity at FC1 after the activation, layer 0: 20.0 points."
    assert told("srs", {"srs": srs((0, 0, 0))}) == "deletion costs most by capacity: 10.0 points."


@pytest.mark.parametrize(
    ("important", "comparison"),
    [
        ((0.4, 0.35, 0.45), "more of their directions to themselves than"),
        ((0.1, 0.05, 0.15), "less of their directions to themselves than"),
        ((0.2, 0.1, 0.3), "about as much of their directions to themselves as"),
    ],
)
def test_capacity_of_important_words_is_compared_with_the_rest(important, comparison):
    groups = {"all": estimate(0.3), "important": estimate(*important), "rest": estimate(0.2, 0.18, 0.22)}
    assert told("capacity", {"capacity": groups}).startswith(f"important words have {comparison} the rest")


def test_without_a_mask_there_is_no_important_word():
    assert told("capacity", {"capacity": {"all": estimate(0.231)}}) == (
        "a word has 0.231 of its direction to itself on average, where 1 is all of it."
    )


def test_the_audit_tells_how_much_the_mask_lets_through():
    audit = {"keep": estimate(0.0855), "norm": estimate(11.0), "embedding_norm": estimate(123.0)}
    assert told("audit", {"audit": audit}) == (
        "the mask keeps 9 % of a word on average, and vectors go on 9 % as long as they were."
    )
    assert told("audit", {"audit": {"norm": estimate(1.0)}}) == "it has no mask that could close."


def test_every_task_s_own_table_has_a_sentence():
    scores = {
        "mae": estimate(0.8),
        "values": {"constant": 1.1},
        "generation": {"token_accuracy": estimate(0.4), "exact_match": estimate(0.1)},
        "tags": {"token_accuracy": estimate(0.97)},
        "answers": {"exact_match": estimate(0.6)},
        "within": {"first": {"srs": estimate(0.1)}, "second": {"srs": estimate(0.2)}},
    }
    assert describe_tables(scores) == {
        "values": "it is off by 0.8 on average; always answering the median, by 1.1.",
        "generation": "of the tokens to write it has 40.0 % right, and all of a text in 10.0 %.",
        "tags": "it tags 97.0 % of all words right.",
        "answers": "it answers 60.0 % of the questions word for word.",
        "within": "it needs the words of highest capacity more in the second text.",
    }


def test_where_nothing_could_be_deleted_it_is_said():
    unmeasured = {"srs_reason": "one word", "srs": {}, "deletion": {}, "within": {"first": {"srs": None}}}
    assert describe_tables(unmeasured) == {
        "deletion": "nothing could be deleted.",
        "srs": "nothing could be deleted.",
        "within": "nothing could be deleted.",
    }


@pytest.mark.parametrize(
    ("within", "said"),
    [
        ({"first": (0.1, 0.05, 0.15), "second": (0.2, 0.1, 0.3)}, "about as much in both texts."),
        ({"first": (0.3, 0.25, 0.35), "second": (0.2, 0.1, 0.24)}, "more in the first text."),
    ],
)
def test_a_text_of_a_pair_is_needed_more_only_where_the_intervals_say_so(within, said):
    scores = {part: {"srs": estimate(*values)} for part, values in within.items()}
    assert told("within", {"within": scores}) == f"it needs the words of highest capacity {said}"


def test_of_a_pair_with_one_text_to_delete_from_nothing_is_compared():
    scores = {"first": {"srs": estimate(0.1)}, "second": {"srs": None}}
    assert told("within", {"within": scores}) == "words could be deleted in the first text alone."


def test_deletion_that_helps_by_every_score_costs_nothing():
    scores = {"srs": {"30": estimate(-0.1), "keep": {"30": estimate(-0.05)}}}
    assert told("srs", scores) == "deletion costs nothing by any score."
