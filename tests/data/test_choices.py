"""Questions with choices: cells, how they are written as text, and the rows that a model is trained on."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safr.data import Split, load_data
from safr.data.answers import THE_ANSWER
from safr.data.choice_cells import read_choices, read_right_choice
from safr.data.choices import (
    ChoiceQuestion,
    ask_about,
    count_choices,
    encode_questions,
    mark_choices,
    parse_question,
    tokenize_choices,
)
from safr.data.encoding import encode
from safr.errors import InputError
from tests.task_data import write_choices
from tests.tiny_tokenizers import tokenizer

QUESTION = "what is good ?"
TEXT = (QUESTION, "the film | the story | don't")
FAMILIES = ("wordpiece", "gpt2", "roberta", "t5", "llama")
CHOICE = st.text(alphabet="abé漢'.- ", min_size=1, max_size=8).map(lambda text: " ".join(text.split())).filter(bool)


@given(st.lists(CHOICE, min_size=2, max_size=5, unique=True), st.data())
def test_a_marked_question_is_read_as_it_was_written(choices, data):
    asked = data.draw(st.integers(0, len(choices) - 1))
    question = ChoiceQuestion(QUESTION, tuple(choices))
    assert parse_question(question.mark(asked)) == ChoiceQuestion(QUESTION, tuple(choices), asked)


@pytest.mark.parametrize(
    "listed", ["one", "one | ", "[[one]] | [[two]]", "o[[n]]e | two", " | two", "[[]] | two", "one | | two"]
)
def test_what_holds_no_choices_is_refused_with_an_example(listed):
    with pytest.raises(InputError, match=r"expected two or more choices separated by ' \| ', .*such as blue \| green"):
        parse_question((QUESTION, listed))


@pytest.mark.parametrize(
    ("cells", "choices", "names"),
    [
        (["a", " b  c"], ["a", "b c"], []),
        ([["a", "b"]], ["a", "b"], []),
        ([{"text": ["a", "b"], "label": ["1", 2]}], ["a", "b"], ["1", "2"]),
        ([[3.50, 4]], ["3.5", "4"], []),
        (["a", None], ["a", ""], []),
        ([None], [""], []),
        ([{"text": None, "label": None}], [""], []),
    ],
)
def test_choices_are_read_from_every_form(cells, choices, names):
    assert read_choices(cells, "here") == (choices, names)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["a"], r"here: expected a column for each of two or more choices, or a list of them in one, got str 'a'"),
        ([["a"]], r"here: expected a column for each of two or more choices"),
        ([[["a"], ["b"]]], r"here: expected a column for each of two or more choices"),
        (["a", "b | c"], r"here: expected choices without ' \| ', which separates them"),
        (["a", " a"], r"here: expected different choices, got 'a \| a'"),
        ([{"text": "ab", "label": "AB"}], r"here: expected a column for each of two or more choices, .* got dict"),
        (
            [{"text": ["a", "b"], "label": ["A"]}],
            r"here: expected a different name for each of 2 choices, got list",
        ),
        ([{"text": ["a", "b"], "label": ["A", "A"]}], r"here: expected a different name for each of 2 choices"),
        ([{"text": ["a", "b"], "label": ["A", None]}], r"here: expected a different name for each of 2 choices"),
        ([{"text": ["a", "b"], "label": None}], r"here: expected a different name for each of 2 choices"),
    ],
)
def test_other_cells_are_refused(cells, message):
    with pytest.raises(InputError, match=message):
        read_choices(cells, "here")


@pytest.mark.parametrize(
    ("value", "choices", "names", "right"),
    [
        (1, ["a", "b"], [], "1"),
        (1.0, ["a", "b"], [], "1"),
        ("1", ["a", "b"], [], "1"),
        ("b", ["a", "b"], [], "1"),
        ("B", ["a", "b"], [], "1"),
        ("2", ["1", "2", "3"], [], "1"),  # a text is the choice itself
        (2, ["1", "2", "3"], [], "2"),  # a number counts the choices
        (2.0, ["1", "2", "3"], [], "2"),
        ("1.0", ["a", "b"], [], "1"),
        ("1.50", ["1.5", "1.50"], [], "1"),
        ("x " * 200, ["y", ("x " * 200).strip()], [], "1"),
        ("b\ud800", ["a", "b\ufffd"], [], "1"),
        ("1", ["a", "b"], ["1", "2"], "0"),  # as ARC names some of its choices
        ("b", ["a", "b"], ["1", "2"], "1"),
        ("", ["a", "b"], [], None),
        (-1, ["a", "b"], [], None),
        ("-1", ["-1", "0", "1"], [], "0"),  # a text is the choice itself
        (-1, ["-1", "0", "1"], [], None),
    ],
)
def test_the_right_choice_is_found_by_name_text_number_or_letter(value, choices, names, right):
    assert read_right_choice(value, choices, names, "here")[0] == right


@pytest.mark.parametrize(("value", "names"), [("AB", []), (2, []), ("c", []), ("0", ["1", "2"])])
def test_a_right_choice_that_is_none_is_refused(value, names):
    with pytest.raises(InputError, match=r"here: expected the right choice, .* or itself, got"):
        read_right_choice(value, ["a", "b"], names, "here")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_choice_is_read_with_the_question(family):
    words = tokenizer(family)
    (row,) = tokenize_choices(words, Split((TEXT,), ("2",)))
    alone = encode(words, [(QUESTION, choice) for choice in ("the film", "the story", "don't")])
    assert row.ids == tuple(text.ids for text in alone)
    assert row.token_types == tuple(text.token_types for text in alone)
    assert row.right == 2


def test_deletion_in_the_question_is_deletion_beside_every_choice():
    words = tokenizer("wordpiece")
    question = parse_question(TEXT)
    ((*choices,),) = encode_questions(words, [question])
    text = ask_about(choices, 1, "the story")
    assert [rival.words[rival.second :] for rival in text.rivals] == [("the", "film"), ("don", "'", "t")]
    shorter = text.without({0, text.second})  # what, and the first word of the choice
    assert shorter.words == ("is", "good", "?", "story")
    assert [rival.words for rival in shorter.rivals] == [
        ("is", "good", "?", "the", "film"),
        ("is", "good", "?", "don", "'", "t"),
    ]
    other = text.with_token(999, {0, text.second})
    changed = [token for token, word in enumerate(text.word_of_token) if word in (0, text.second)]
    assert [token for token, number in enumerate(other.ids) if number == 999] == changed
    assert [rival.ids.count(999) for rival in other.rivals] == [text.word_of_token.count(0)] * 2
    assert text.model_input != shorter.model_input
    assert text.asked_text == shorter.asked_text == "the story"
    assert text.most_deletable == len(text.words) - 2


@pytest.mark.parametrize(("side", "shared", "not_read"), [("right", "cast", "good"), ("left", "good", "cast")])
def test_the_same_words_are_deleted_where_less_of_a_question_is_read_beside_a_long_choice(side, shared, not_read):
    words = copy.deepcopy(tokenizer("wordpiece"))
    words.truncation_side = side
    question = parse_question(("the cast was the dull film was good", "a | the film and the story and the good film"))
    ((*choices,),) = encode_questions(words, [question], 15)
    text = ask_about(choices, 0, "a")
    (rival,) = text.rivals
    assert {shared, not_read} <= set(text.words)
    assert not_read not in rival.words[: rival.second]
    numbers = {text.words.index(shared), text.words.index(not_read)}
    place = rival.words.index(shared)
    assert text.without(numbers).rivals[0].words == rival.words[:place] + rival.words[place + 1 :]
    in_turn = text.without({text.words.index(not_read)})
    assert in_turn.without({in_turn.words.index(shared)}) == text.without(numbers)
    replaced = text.with_token(999, numbers).rivals[0]
    assert {rival.word_of_token[token] for token, number in enumerate(replaced.ids) if number == 999} == {place}


def test_the_right_choices_are_marked_to_judge_a_model_by():
    split = Split((TEXT, (QUESTION, "a | [[b]]"), TEXT), ("2", "0", "0"))
    marked = mark_choices(split)
    assert marked.texts == (
        (QUESTION, "the film | the story | [[don't]]"),
        (QUESTION, "[[the film]] | the story | don't"),
    )
    assert marked.labels == (THE_ANSWER,) * 2
    assert count_choices(split) == [3, 2, 3]
    with pytest.raises(InputError, match=r"expected at least 2 questions to judge, got 1 of 1"):
        mark_choices(Split((TEXT,), ("0",)))
    with pytest.raises(InputError, match=r"expected the number of a choice, 0 to 2, got '3'"):
        mark_choices(Split((TEXT, TEXT), ("0", "3")))
    with pytest.raises(InputError, match=r"expected a pair of a question .* got the single text 'one'"):
        mark_choices(Split(("one", "two"), ("0", "1")))


def test_questions_are_loaded_from_lists_and_from_columns(tmp_path):
    path = write_choices(tmp_path / "data.jsonl", rows=40)
    columns = {"text_column": ("question", "choices"), "label_column": "answer", "task": "multiple_choice"}
    data = load_data(path, **columns)
    assert (data.task, data.has_pairs, data.label_names) == ("multiple_choice", True, ("answer",))
    assert data.describe()[0].startswith("questions in train: 28; the right choice by its number: 0 ")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines = ["q,a,b,c,right", *(",".join([row["question"], *row["choices"], "ABC"[row["answer"]]]) for row in rows)]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    other = load_data(
        tmp_path / "data.csv", text_column=("q", "a", "b", "c"), label_column="right", task="multiple_choice"
    )
    assert (other.train, other.dev, other.test) == (data.train, data.dev, data.test)


def test_labels_that_are_one_choice_and_count_another_are_told(tmp_path):
    rows = [{"question": f"after {n} ?", "choices": [str(n), str(n + 1), "0"], "answer": str(n % 2)} for n in range(20)]
    columns = {"text_column": ("question", "choices"), "label_column": "answer", "task": "multiple_choice"}
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows[1:])))
    data = load_data(tmp_path / "data.jsonl", **columns)
    assert data.cleaned == {"label that is the text of one choice and the number of another, read as the text": 10}
    rows = [row | {"answer": int(row["answer"])} for row in rows]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows[1:])))
    data = load_data(tmp_path / "data.jsonl", **columns)
    assert data.cleaned == {"label that is the text of one choice and the number of another, read as the number": 10}


def test_what_is_wrong_with_a_table_of_questions_is_one_line(tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [{"question": f"who {n}", "choices": ["a", "b"], "answer": n % 2} for n in range(20)]
    rows[3]["choices"] = ["a", "b", "c"]
    rows[4]["choices"] = ["a", ""]
    rows[5]["answer"] = None
    path.write_text("\n".join(map(json.dumps, rows)))
    columns = {"text_column": ("question", "choices"), "label_column": "answer", "task": "multiple_choice"}
    with pytest.raises(
        InputError, match=r"line 4: expected 2 choices as most questions have, got 3; .* so leave this one out"
    ):
        load_data(path, **columns)
    rows[3]["choices"] = ["a", "b"]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert load_data(path, **columns).cleaned == {"empty text left out": 1, "question without an answer left out": 1}
    with pytest.raises(InputError, match=r"expected a column with the question, columns with the choices"):
        load_data(path, **columns | {"text_column": "question"})
    with pytest.raises(InputError, match=r"`text_column` must be one column or the two of a pair, got 3"):
        load_data(path, text_column=("question", "choices", "answer"), label_column="answer")
