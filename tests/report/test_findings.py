import pytest

from safr.report.findings import state_findings


def estimate(value, low=None, high=None):
    return {"value": value, "low": value if low is None else low, "high": value if high is None else high}


def scores(*, accuracy=(0.7, 0.65, 0.75), srs=(0.2, 0.15, 0.25), above=(0.16, 0.1, 0.2), **audit):
    measures = {"norm": 10.0, "attention_entropy": 0.5, "shared_directions": 1.0, **audit}
    return {
        "accuracy": estimate(*accuracy),
        "srs": {"30": estimate(*srs), "above_random": {"30": estimate(*above)}},
        "audit": {name: estimate(value) for name, value in measures.items()},
    }


def only(sentences):
    (sentence,) = sentences
    return sentence


@pytest.mark.parametrize(("low", "is_said"), [(0.89, True), (0.9, True), (0.91, False)])
def test_an_accuracy_that_one_class_alone_would_reach_is_said(low, is_said):
    majority = {"classes": {"majority": {"label": "good", "share": 0.9}}}
    said = state_findings({"a": scores(accuracy=(0.92, low, 0.95)) | majority})
    assert is_said == any(
        sentence.startswith("a: accuracy is not clearly above 90.0 %, the share of the largest class (good)")
        for sentence in said
    )


def test_the_others_are_compared_with_the_first():
    said = state_findings(
        {
            "base": scores(accuracy=(0.7, 0.68, 0.72), srs=(0.2, 0.18, 0.22)),
            "b": scores(accuracy=(0.8, 0.78, 0.82), srs=(0.1, 0.08, 0.12)),
            "c": scores(accuracy=(0.71, 0.69, 0.73), srs=(0.195, 0.175, 0.215)),
        }
    )
    assert [sentence for sentence in said if "against" in sentence] == [
        "b against base: accuracy is 10.0 points higher, SRS is 10.0 points lower.",
        "c against base: accuracy is not clearly different (+1.0 points, the intervals overlap), "
        "SRS is not clearly different (-0.5 points, the intervals overlap).",
    ]


@pytest.mark.parametrize("accuracy", [(0.8, 0.75, 0.85), (0.6, 0.55, 0.65)])
def test_touching_intervals_are_not_clearly_different(accuracy):
    said = state_findings({"a": scores(accuracy=(0.7, 0.65, 0.75)), "b": scores(accuracy=accuracy)})
    gap = 100 * (accuracy[0] - 0.7)
    assert f"accuracy is not clearly different ({gap:+.1f} points" in said[0]


@pytest.mark.parametrize(("keep", "closed"), [(0.049, True), (0.05, False), (0.9, False)])
def test_a_nearly_closed_mask_is_warned_about(keep, closed):
    said = state_findings({"a": scores(keep=keep)})
    assert ("a: the mask is nearly closed, which lowers the importance loss without any sharing." in said) is closed


@pytest.mark.parametrize(("norm", "short"), [(4.9, True), (5.0, False), (16.0, False)])
def test_vectors_under_half_as_long_as_the_first_runs_are_warned_about(norm, short):
    said = state_findings({"base": scores(), "a": scores(norm=norm)})
    warned = [sentence for sentence in said if "the vectors passed on" in sentence]
    assert len(warned) == short
    if short:
        assert warned[0] == (
            "a: the vectors passed on are 49 % as long as the first run's, which lowers the importance loss; "
            "they share no fewer directions."
        )


def test_shorter_vectors_that_share_less_are_told_apart():
    said = state_findings({"base": scores(), "a": scores(norm=1.0, shared_directions=0.5)})
    assert any(sentence.endswith("by itself; they share fewer directions too.") for sentence in said)


@pytest.mark.parametrize(("entropy", "flat"), [(0.981, True), (0.98, False), (0.3, False)])
def test_even_attention_is_warned_about(entropy, flat):
    said = state_findings({"a": scores(attention_entropy=entropy)})
    assert any(sentence.startswith("a: attention is nearly even over all words") for sentence in said) is flat


def test_a_run_without_a_mask_is_not_warned_about_it():
    assert state_findings({"a": scores()}) == []


def test_every_run_is_judged_and_warned_about():
    said = state_findings({"a": scores(), "b": scores(attention_entropy=1.0), "c": scores(keep=0.01)})
    assert [sentence.split(maxsplit=1)[0] for sentence in said] == ["b", "c", "b:", "c:"]


def test_test_texts_that_were_trained_on_are_told():
    shared = {"a": scores() | {"texts": 300, "duplicates": {"test_in_train": 20}}}
    assert state_findings(shared)[-1].startswith("20 of the 300 test texts are in the training texts too")


def test_no_unknown_words_are_not_told():
    none = {"texts": 17, "unknown_words": {"words": 0, "of": 60, "texts": 0}}
    assert state_findings({"a": scores() | none}) == state_findings({"a": scores()})
