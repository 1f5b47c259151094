import pytest

from safr.report.headline import state_headline


def estimate(value, low=None, high=None):
    return {"value": value, "low": value if low is None else low, "high": value if high is None else high}


def scores(beyond=(0.091, 0.069, 0.113), *, task="classification", key="accuracy", values=(0.669, 0.53, 0.621), **more):
    whole, deleted, random = values
    return {
        "task": task,
        "texts": 1743,
        key: estimate(whole),
        "deletion": {"capacity": {"30": estimate(deleted)}, "random": {"30": estimate(random)}},
        "srs": {
            "30": estimate(abs(whole - deleted), 0.115, 0.165),
            "random": {"30": estimate(abs(whole - random))},
            "above_random": {"30": estimate(*beyond)},
        },
        **more,
    }


def test_the_headline_says_the_numbers_in_plain_words_and_the_terms_in_brackets():
    headline = state_headline("safr", scores())
    assert f"{headline.name} {headline.sentence}" == (
        "safr is right on 66.9 % of 1,743 unseen texts (accuracy). Without the 30 % of words of highest capacity it is "
        "right on 53.0 % (SRS: 13.9 points lost), without as many random words on 62.1 %: its capacity points at words "
        "that it needs."
    )
    assert headline.intervals == (
        "In points, with 95 % intervals: accuracy 66.9 [66.9, 66.9]; lost by capacity (SRS) 13.9 [11.5, 16.5], at "
        "random 4.8 [4.8, 4.8], by capacity beyond random 9.1 [6.9, 11.3]."
    )


def test_capacity_that_costs_less_than_random_words_points_past_what_matters():
    sentence = state_headline("a", scores((-0.09, -0.1, -0.01))).sentence
    assert sentence.endswith("random words cost it more, so its capacity points past the words that it needs.")


@pytest.mark.parametrize("beyond", [(0.05, -0.01, 0.1), (0.05, 0.0, 0.1), (-0.05, -0.1, 0.0)])
def test_a_difference_whose_interval_holds_or_touches_zero_shows_nothing(beyond):
    sentence = state_headline("a", scores(beyond)).sentence
    assert sentence.endswith("the two are not clearly apart, so nothing is shown about its capacity.")


def test_a_deletion_that_makes_the_model_better_gains_points():
    run = scores(values=(0.6, 0.62, 0.59))
    run["srs"]["30"] = estimate(-0.02)
    assert "(SRS: 2.0 points gained)" in state_headline("a", run).sentence


def test_of_numbers_the_headline_tells_the_error():
    run = scores((0.15, 0.1, 0.2), task="regression", key="mae", values=(0.82, 1.1, 0.95))
    assert state_headline("a", run).sentence == (
        "is off by 0.82 on average over 1,743 unseen texts (mean absolute error). Without the 30 % of words of highest "
        "capacity it is off by 1.10 (SRS: 0.28 more), without as many random words by 0.95: its capacity points at "
        "words that it needs."
    )


@pytest.mark.parametrize(
    ("task", "opening"),
    [
        ("multi_label", "has all classes right on 66.9 % of"),
        ("generation", "has the next token right in 66.9 % of"),
        ("token_classification", "has the tag of one word right in 66.9 % of"),
        ("question_answering", "finds exactly the right answer in 66.9 % of"),
        ("multiple_choice", "picks the right choice in 66.9 % of"),
    ],
)
def test_each_task_has_its_own_words(task, opening):
    assert state_headline("a", scores(task=task)).sentence.startswith(opening)


def test_texts_that_were_trained_on_are_not_called_unseen():
    assert "of 1,743 test texts" in state_headline("a", scores(duplicates={"test_in_train": 3})).sentence


def test_a_run_from_whose_texts_nothing_can_be_deleted_says_why():
    headline = state_headline("a", scores(srs_reason="each of the 12 texts holds one word"))
    assert headline.sentence.endswith("could not be measured: each of the 12 texts holds one word.")
    assert headline.intervals == "95 % interval: accuracy 66.9 [66.9, 66.9]."
