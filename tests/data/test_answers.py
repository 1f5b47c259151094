"""Questions with answers in a text: files and cells, training rows, and the one answer that is asked about."""

import copy
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safr.data import Split, load_data
from safr.data.answers import (
    THE_ANSWER,
    encode_answers,
    list_answer_texts,
    list_spans,
    mark_answers,
    tokenize_answers,
)
from safr.data.encoding import encode
from safr.data.marks import FIRST_ASKED, LAST_ASKED, drop_mark, encode_marked, remove_mark
from safr.data.squad import read_answers
from safr.data.targets import IGNORED, make_target_dataset
from safr.data.text_files import iter_texts
from safr.errors import InputError
from tests.task_data import write_answers
from tests.tiny_tokenizers import tokenizer

CONTEXT = "the unbelievably good film , don't stop the film"
QUESTION = "what is good ?"
FAMILIES = ("wordpiece", "gpt2", "roberta", "t5", "llama")
START = CONTEXT.index("good film")
LABEL = f"{START}:{START + 9}"


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ({"text": ["a cat", "cat"], "answer_start": [4, 6]}, "4:9 6:9"),
        ([{"text": "a cat", "answer_start": 4}], "4:9"),
        ('{"text": ["a cat"], "answer_start": [4]}', "4:9"),
        ({"text": "a cat", "answer_start": 4}, "4:9"),
        (" a cat ", "4:9"),
        ({"text": [], "answer_start": []}, None),
        ([], None),
        (None, None),
        (" ", None),
        (float("nan"), None),
        ("[]", None),
    ],
)
def test_answers_are_read_from_every_form(cell, label):
    assert read_answers(cell, "See a cat.", "here") == (label, False)


def test_an_answer_alone_stands_where_it_occurs_first_and_the_others_are_told():
    assert read_answers("a", "See a cat and a dog.", "here") == ("4:5", True)


def test_an_answer_alone_is_a_word_of_its_own_before_it_is_a_part_of_another():
    assert read_answers("art", "He started making art.", "here") == ("18:21", True)
    assert read_answers("art", "He started.", "here") == ("5:8", False)
    assert read_answers("(a", "He is (a) man.", "here") == ("6:8", False)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            {"text": ["a dog"], "answer_start": [4]},
            r"here: expected the answer 'a dog' at character 4 .*, found 'a cat'",
        ),
        ({"text": ["a cat"], "answer_start": [99]}, r"here: expected the answer 'a cat' at character 99 .*, found ''"),
        ("a dog", r"here: expected an answer that stands in its text, got 'a dog'; give it as the text spells it"),
        ({"text": ["a cat"]}, r"here: expected answers such as \{\"text\": \[\"a cat\"\], \"answer_start\": \[4\]\}"),
        ({"text": ["a cat"], "answer_start": [-1]}, r"here: expected answers such as"),
        ([4], r"here: expected answers such as"),
        (7, r"here: expected answers such as"),
    ],
)
def test_a_cell_without_the_place_of_an_answer_is_refused(cell, message):
    with pytest.raises(InputError, match=message):
        read_answers(cell, "See a cat.", "here")


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=4))
def test_places_survive_as_a_label(spans):
    spans = [(start, start + length) for start, length in spans]
    assert list_spans(" ".join(f"{start}:{end}" for start, end in spans)) == spans


@pytest.mark.parametrize("label", ["4", "4:", "9:4", "4:4", "a:b", "4-9"])
def test_a_label_that_is_no_place_is_refused(label):
    with pytest.raises(InputError, match=r"expected the places of answers as START:END in characters, such as 4:9"):
        list_spans(label)


def test_the_answer_that_most_people_gave_is_asked_about():
    split = Split(((QUESTION, CONTEXT),) * 2, (f"0:3 {LABEL} {LABEL}", f"0:3 {LABEL}"))
    first, second = encode_answers(tokenizer("wordpiece"), split)
    assert (first.asked_text, second.asked_text) == ("good film", "the")
    assert list_answer_texts(split)[0] == ["the", "good film", "good film"]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_is_found_among_the_tokens_and_the_question_never_is(family):
    words = tokenizer(family)
    (row,) = tokenize_answers(words, Split(((QUESTION, CONTEXT),), (LABEL,)))
    (read,) = encode(words, [(QUESTION, CONTEXT)])
    assert (row.ids, row.token_types) == (read.ids, read.token_types)
    labelled = {token: label for token, label in enumerate(row.labels) if label > 0}
    assert sum(labelled.values()) == FIRST_ASKED + LAST_ASKED
    first, last = min(labelled), max(labelled)
    assert read.words[read.word_of_token[first]] == "good"
    assert read.words[read.word_of_token[last]] == "film"
    for label, word in zip(row.labels, read.word_of_token, strict=True):
        assert (label == IGNORED) == (word is None or word < read.second)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mark_in_the_text_is_the_same_as_its_place(family):
    words = tokenizer(family)
    split = Split(((QUESTION, CONTEXT), (QUESTION, CONTEXT)), (LABEL, LABEL))
    marked = mark_answers(words, split)
    assert marked.labels == (THE_ANSWER,) * 2
    assert remove_mark(marked.texts[0][1]) == (CONTEXT, (START, START + 9))
    assert drop_mark(marked.texts[0]) == (QUESTION, CONTEXT)
    assert drop_mark((QUESTION, CONTEXT)) == (QUESTION, CONTEXT)
    (read, _), (placed, _) = encode_marked(words, marked.texts), encode_answers(words, split)
    assert (read.ids, read.asked, read.asked_tokens) == (placed.ids, placed.asked, placed.asked_tokens)
    assert read.asked_text == placed.asked_text == "good film"


def test_deletion_keeps_the_answer_and_where_it_is():
    (read,) = encode_answers(tokenizer("wordpiece"), Split(((QUESTION, CONTEXT),), (LABEL,)))
    left = read.without(range(len(read.words)))
    assert left.words == ("good", "film")
    assert [left.ids[token] for token in left.asked_tokens] == [read.ids[token] for token in read.asked_tokens]
    assert read.most_deletable == len(read.words) - 2 - 2  # a word of the question and one of the text stay


def test_an_answer_that_is_not_read_whole_is_neither_learned_nor_judged():
    words = tokenizer("wordpiece")
    texts = ((QUESTION, f"film {'the ' * 20}unbelievably good"), (QUESTION, CONTEXT), (QUESTION, CONTEXT))
    place = len(texts[0][1]) - 17
    split = Split(texts, (f"{place}:{place + 17}", LABEL, LABEL))
    most = len(encode(words, [texts[1]])[0].ids)
    whole, cut = encode_answers(words, split)[0], encode_answers(words, split, most)[0]
    assert (whole.asked_text, cut.asked) == ("unbelievably good", ())
    assert set(tokenize_answers(words, split, most)[0].labels) == {IGNORED}
    assert len(make_target_dataset(tokenize_answers(words, split, most), shifted=False)) == 2
    assert len(mark_answers(words, split, most)) == 2
    with pytest.raises(InputError, match=r"expected at least 2 questions whose answer is among .*, got 0 of 3; raise"):
        mark_answers(words, split, 9)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("answer", ["cafe\u0301", "\u200bgood\u200b", "good\u00ad", "में", "👩‍👩‍👧"])
def test_an_answer_is_read_whatever_the_tokenizer_leaves_out_at_its_ends(family, answer):
    words = tokenizer(family)
    text = f"see {answer} film and the cast"
    split = Split((("who", text),) * 2, (f"4:{4 + len(answer)}",) * 2)
    whole = encode_answers(words, split)[0]
    assert whole.asked
    of_text = [token for token, number in enumerate(words("who", text).encodings[0].sequence_ids) if number == 1]
    for side in ("right", "left"):
        words = copy.deepcopy(words)
        words.truncation_side = side
        for cut in range(1, len(of_text) - 4):  # of the longer text, which this is
            kept = of_text[cut:] if side == "left" else of_text[:-cut]
            (read, _) = encode_answers(words, split, len(whole.ids) - cut)
            assert bool(read.asked) == (set(whole.asked_tokens) <= set(kept))


@pytest.mark.parametrize(
    "context", ["see [good film here", "see good film] here", "see [[1]] good film", "[[good film"]
)
def test_texts_whose_brackets_could_be_taken_for_the_mark_are_not_judged(context):
    start = context.index("good film")
    split = Split(
        ((QUESTION, context), (QUESTION, CONTEXT), (QUESTION, CONTEXT)), (f"{start}:{start + 9}", LABEL, LABEL)
    )
    marked = mark_answers(tokenizer("wordpiece"), split)
    assert all(remove_mark(text[1])[0] in (CONTEXT, context) for text in marked.texts)
    if "[[" in context or context == "see [good film here":
        assert len(marked) == len(split) or all(drop_mark(text)[1] == CONTEXT for text in marked.texts)


def test_single_texts_and_places_beyond_a_text_are_refused():
    words = tokenizer("wordpiece")
    with pytest.raises(InputError, match=r"expected a pair of a question and the text that answers it, got the single"):
        encode_answers(words, Split((CONTEXT,), ("0:3",)))
    with pytest.raises(InputError, match=r"expected the place of an answer in .the unbelievably .*, got '90:99'"):
        encode_answers(words, Split(((QUESTION, CONTEXT),), ("90:99",)))


def test_squad_files_are_read_and_questions_without_an_answer_are_left_out(tmp_path):
    path = write_answers(tmp_path / "train.json", rows=30)
    content = json.loads(path.read_text())
    paragraph = content["data"][0]["paragraphs"][0]
    paragraph["qas"].append({"id": "x", "question": "why ?", "answers": [], "is_impossible": True})
    path.write_text(json.dumps(content))
    data = load_data(path)
    assert (data.task, data.has_pairs, data.label_names) == ("question_answering", True, ("answers",))
    assert len(data.train) + len(data.dev) + len(data.test) == 30
    assert data.cleaned == {"question without an answer left out": 1}
    assert data.describe()[0] == "questions in train: 21 about 21 texts, with 21 answers"
    with gzip.open(tmp_path / "other.json.gz", "wt") as file:
        file.write(path.read_text())
    assert load_data(tmp_path / "other.json.gz").test == data.test
    assert len(list(iter_texts(path))) == 31
    assert next(iter_texts(path)) == (paragraph["qas"][0]["question"], paragraph["context"])


def test_a_question_without_an_answer_needs_no_key_for_answers_nor_does_one_to_predict_on(tmp_path):
    path = write_answers(tmp_path / "data.json", rows=30)
    content = json.loads(path.read_text())
    asked = content["data"][0]["paragraphs"][0]["qas"][0]
    del asked["answers"]
    path.write_text(json.dumps(content))
    assert len(list(iter_texts(path))) == 30
    with pytest.raises(InputError, match=r"question 1: expected the key 'answers', found none"):
        load_data(path)
    asked["is_impossible"] = True
    path.write_text(json.dumps(content))
    assert load_data(path).cleaned == {"question without an answer left out": 1}


def test_an_answer_alone_may_look_like_json_and_rows_without_a_text_are_left_out(tmp_path):
    path = tmp_path / "data.csv"
    rows = [f"who {n} ?,film {n} [12] is good,[12]" for n in range(30)]
    path.write_text("\n".join(["question,context,answers", *rows, "who ?,,good", "who ?, ,[12]"]))
    data = load_data(path, task="question_answering")
    assert set(data.train.labels) <= {"7:11", "8:12"}
    assert data.cleaned == {"empty text left out": 2}


def test_the_questions_of_a_text_stay_in_one_split(tmp_path):
    contexts = [f"{number} films are good" for number in range(20)]
    rows = [
        {
            "question": f"{word} ?",
            "context": context,
            "answers": {"text": ["films"], "answer_start": [context.index("f")]},
        }
        for context in contexts
        for word in ("what", "who", "which")
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    data = load_data(path, task="question_answering")
    parts = [{context for _, context in split.texts} for split in (data.train, data.dev, data.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 20
    assert [len(split) for split in (data.train, data.dev, data.test)] == [42, 6, 12]


def test_columns_of_a_table_are_read_and_the_task_is_named_where_it_is_missing(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("q,text,answer\n" + "\n".join(f"who {n} ?,film {n} good film,good" for n in range(30)))
    data = load_data(path, text_column=("q", "text"), label_column="answer", task="question_answering")
    assert data.train.labels[0] in ("7:11", "8:12")
    assert data.cleaned == {}
    with pytest.raises(InputError, match=r"expected two columns, of questions and of texts, and one of answers, got"):
        load_data(path, text_column="text", label_column="answer", task="question_answering")
    squad = tmp_path / "data.jsonl"
    row = {"question": "who ?", "context": "a film", "answers": {"text": ["film"], "answer_start": [2]}}
    squad.write_text("\n".join([json.dumps(row)] * 12))
    with pytest.raises(InputError, match=r"line 1, column 'answers': holds answers in a text; pass --task question_"):
        load_data(squad, text_column=("question", "context"), label_column="answers")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"expected SQuAD's form, .* got NoneType None for 'data'"),
        ('{"data": [{"paragraphs": 3}]}', r"after question 0: expected SQuAD's form, .* got int 3 for 'paragraphs'"),
        ('{"data": [{"paragraphs": [{"context": "a", "qas": [{"question": "b"}]}]}]}', r"question 1: expected the key"),
        ('{"data": []}', r"expected at least 10 rows with a text and a label to train on, found 0"),
        ('{"text": "a"}\n{"text": "b"}', r"invalid JSON \(.*\); a .json file is read as SQuAD, and one object a line"),
        ('{"data": [], "data": []}', r"invalid JSON \(the key 'data' occurs twice\)"),
        ("", r"the file is empty"),
    ],
)
def test_a_json_file_of_another_form_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load_data(tmp_path / "data.json")
    with pytest.raises(InputError, match=r"is for the task question_answering, got 'regression'; leave it out"):
        load_data(tmp_path / "data.json", task="regression")
