"""Texts whose words have tags: files, training rows, and the one word of a text that is asked about."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from hypothesis import given
from hypothesis import strategies as st

from safr.data import Split, load_data
from safr.data.encoding import encode
from safr.data.marks import encode_marked, remove_mark
from safr.data.tags import mark_texts, mark_word, tokenize_tags
from safr.data.targets import IGNORED
from safr.errors import InputError
from tests.tiny_tokenizers import tokenizer

TEXT = "the unbelievably good film , don't stop"
TAGS = "O B-X I-X O O B-Y O"
IDS = {"O": 0, "B-X": 1, "I-X": 2, "B-Y": 3}
FAMILIES = ("wordpiece", "gpt2", "roberta", "t5", "llama")
WORD = st.text(alphabet="abé漢'.-", min_size=1, max_size=5)


@given(words=st.lists(WORD, min_size=1, max_size=6), data=st.data())
def test_a_mark_comes_off_as_it_went_on(words, data):
    number = data.draw(st.integers(0, len(words) - 1))
    text = " ".join(words)
    plain, (start, end) = remove_mark(mark_word(text, number))
    assert plain == text
    assert plain[start:end] == words[number]


@pytest.mark.parametrize(("text", "count"), [("no mark", 0), ("[[a]] and [[b]]", 2), ("[[]] x", 0), ("[[ a]]", 0)])
def test_a_text_without_one_mark_is_refused(text, count):
    with pytest.raises(InputError, match=rf"expected a text with one mark at .*, such as .*, got {count} marks in"):
        remove_mark(text)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_marked_text_is_read_without_the_marks(family):
    words = tokenizer(family)
    for number in range(len(TEXT.split())):
        (read,), (plain,) = encode_marked(words, [mark_word(TEXT, number)]), encode(words, [TEXT])
        assert (read.ids, read.word_of_token) == (plain.ids, plain.word_of_token)
        assert [word.replace("[[", "").replace("]]", "") for word in read.words] == list(plain.words)
        assert TEXT.split()[number] in " ".join(plain.words[word] for word in read.asked).replace(" ", "")
        assert read.word_of_token[read.asked_tokens[0]] == read.asked[0]
        assert " ".join(read.words).count("[[") == " ".join(read.words).count("]]") == 1


def test_the_word_that_is_asked_about_is_never_deleted():
    (read,) = encode_marked(tokenizer("wordpiece"), [mark_word(TEXT, 5)])
    assert len(read.asked) == 3  # "don't" is three words to this tokenizer
    left = read.without(range(len(read.words)))
    assert left.words == tuple(read.words[word] for word in read.asked)
    assert left.asked == (0, 1, 2)
    assert read.most_deletable == len(read.words) - 3 - 1
    assert [read.group_of_word[word] for word in read.asked] == [2, 2, 2]
    assert read.without({0}).asked == tuple(word - 1 for word in read.asked)


def test_a_marked_word_that_is_not_read_is_refused():
    with pytest.raises(InputError, match=r"what is marked in .* is not among the tokens that are read; raise"):
        encode_marked(tokenizer("gpt2"), [mark_word(TEXT, 6)], 4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_token_of_a_word_has_its_tag_and_the_others_none(family):
    words = tokenizer(family)
    (row,) = tokenize_tags(words, Split((TEXT,), (TAGS,)), IDS)
    (read,) = encode(words, [TEXT])
    assert row.ids == read.ids
    labelled = [token for token, label in enumerate(row.labels) if label != IGNORED]
    assert len(labelled) <= 7
    tags = TAGS.split()
    if family in ("wordpiece", "gpt2", "roberta", "t5"):  # in others a token may hold the ends of two words
        assert [row.labels[token] for token in labelled] == [IDS[tag] for tag in tags]
    for token in labelled:
        assert read.word_of_token[token] is not None


def test_tags_that_do_not_fit_are_refused():
    words = tokenizer("gpt2")
    with pytest.raises(InputError, match="expected a tag for each of the 2 words of 'a b', got 1"):
        tokenize_tags(words, Split(("a b",), ("O",)), IDS)
    with pytest.raises(InputError, match="the tag 'B-Z' is not one of the model's; it has O, B-X"):
        tokenize_tags(words, Split(("a b",), ("O B-Z",)), IDS)


def test_a_word_with_a_tag_is_judged_where_there_is_one():
    words = tokenizer("gpt2")
    split = Split((TEXT, "a b c", "a [[b]] c", "film"), (TAGS, "O O O", "O O O", "B-X"))
    marked = mark_texts(words, split, IDS)
    assert len(marked) == 3  # one of the texts has brackets of its own
    assert marked.labels[0] in (1, 2, 3)
    assert marked.labels[1:] == (0, 1)
    assert marked == mark_texts(words, split, IDS)
    for text, plain in zip(marked.texts, (TEXT, "a b c", "film"), strict=True):
        assert remove_mark(text)[0] == plain
    (short, *_) = mark_texts(words, split, IDS, 6).texts
    encode_marked(words, [short], 6)  # the word is among those that are read


CONLL = "-DOCSTART- -X- O\n\nJohn NNP B-PER\nsaw VBD O\nParis NNP B-LOC\n\n\nit PRP O\nrained VBD O\n"


def write_conll(path, copies=24):
    path.write_text("\n".join(CONLL.replace("saw", f"saw{number}") for number in range(copies)))
    return path


def test_a_conll_file_is_read_as_words_with_their_last_column(tmp_path):
    data = load_data(write_conll(tmp_path / "a.conll"))
    assert data.task == "token_classification"
    assert data.label_names == ("B-LOC", "B-PER", "O")
    rows = [row for split in (data.train, data.dev, data.test) for row in zip(split.texts, split.labels, strict=True)]
    assert ("John saw3 Paris", "B-PER O B-LOC") in rows
    assert ("it rained", "O O") in rows
    assert any(line.startswith("tags of words in train: O ") for line in data.describe())


def test_lists_of_words_and_tags_are_read_from_jsonl_and_saved_data(tmp_path):
    rows = [{"tokens": ["John", f"saw{n}", "Paris"], "tags": ["B-PER", "O", "B-LOC"]} for n in range(30)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = {"text_column": "tokens", "label_column": "tags"}
    data = load_data(tmp_path / "a.jsonl", task="token_classification", **options)
    features = Features(
        {"tokens": Sequence(Value("string")), "tags": Sequence(ClassLabel(names=["O", "B-PER", "B-LOC"]))}
    )
    numbered = [{"tokens": row["tokens"], "tags": [1, 0, 2]} for row in rows]
    Dataset.from_list(numbered, features=features).save_to_disk(str(tmp_path / "saved"))
    saved = load_data(tmp_path / "saved", task="token_classification", **options)
    assert set(data.train.texts) == set(saved.train.texts)
    assert data.train.labels[0] == saved.train.labels[0] == "B-PER O B-LOC"
    assert saved.label_names == ("O", "B-PER", "B-LOC")
    with pytest.raises(InputError, match=r"expected text, got .*; pass --task token_classification, or name another"):
        load_data(tmp_path / "a.jsonl", **options)


@pytest.mark.parametrize(
    ("tokens", "tags", "message"),
    [
        (["a", "b"], ["O"], "expected a tag for each of the 2 words, got 1 tags"),
        (["a", "b c"], ["O", "O"], "expected a list of words without white space"),
        (["a", 3], ["O", "O"], "expected a list of words without white space"),
        (["a", "b"], ["O", "B X"], "expected tags without white space"),
        (["a", "b"], 3, "expected the list of the words' tags"),
        (["a", "b"], ["O", "O"], "expected at least two tags, but all words have 'O'"),
    ],
)
def test_words_and_tags_that_do_not_fit_are_one_line(tokens, tags, message, tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join([json.dumps({"tokens": tokens, "tags": tags})] * 12))
    with pytest.raises(InputError, match=message):
        load_data(tmp_path / "a.jsonl", text_column="tokens", label_column="tags", task="token_classification")


def test_a_line_of_conll_without_a_tag_names_its_place(tmp_path):
    (tmp_path / "a.conll").write_text("a O\nb\n")
    with pytest.raises(InputError, match=r"a\.conll, line 2: expected a word and its tag, got 'b"):
        load_data(tmp_path / "a.conll")
    with pytest.raises(InputError, match=r"a \.conll file is for the task token_classification, got 'regression'"):
        load_data(tmp_path / "a.conll", task="regression")


def test_brackets_at_a_words_end_stay_within_the_mark():
    for word in ("x]", "]", "[x", "x]y", "["):
        assert remove_mark(mark_word(f"a {word} b", 1)) == (f"a {word} b", (2, 2 + len(word)))


def test_white_space_at_a_words_ends_stays_outside_the_mark():
    text = "Acme Inc.\xa0 grows"
    assert remove_mark(mark_word(text, 1)) == (text, (5, 9))
    split = Split((text, "\xa0good film"), ("O B-X O", "B-X O"))
    marked = mark_texts(tokenizer("wordpiece"), split, IDS)
    encode_marked(tokenizer("wordpiece"), marked.texts)


def test_a_word_that_is_a_special_token_is_not_judged():
    words = tokenizer("wordpiece")
    split = Split(("a [SEP] film", "good [SEP]", "film"), ("O B-X O", "O B-X", "B-X"))
    marked = mark_texts(words, split, IDS)
    assert "[[[SEP]]]" not in " ".join(marked.texts)
    encode_marked(words, marked.texts)


@pytest.mark.parametrize("label", ["O O B-Z O", "O"])
def test_texts_are_marked_only_if_all_tags_fit(label):
    with pytest.raises(
        InputError, match=r"expected a tag for each of the 4 words|the tag 'B-Z' is not one of the model's"
    ):
        mark_texts(tokenizer("gpt2"), Split(("a b c d",) * 2, ("O O O O", label)), IDS)


def test_comments_and_other_white_space_of_a_conll_file(tmp_path):
    text = "# id 7 domain=train\n10\u00a0000\tO\tB-X\nNew York\tN\tI-X\n# SYM O\n\n# O\na B-X\n\n"
    (tmp_path / "a.conll").write_text(text * 12)
    with pytest.raises(
        InputError, match=r"a\.conll, line 1, column 'text': expected a list of words without white space"
    ):
        load_data(tmp_path / "a.conll")
    texts = (text.replace("New York", f"York{number}").replace("a B-X", f"a{number} B-X") for number in range(12))
    (tmp_path / "a.conll").write_text("".join(texts))
    data = load_data(tmp_path / "a.conll")
    rows = [row for split in (data.train, data.dev, data.test) for row in zip(split.texts, split.labels, strict=True)]
    assert ("10\u00a0000 York3 #", "B-X I-X O") in rows
    assert ("# a3", "O B-X") in rows
    assert len(rows) == 24


def test_rows_without_words_or_tags_are_left_out_and_counted(tmp_path):
    good = [{"tokens": ["John", f"saw{n}"], "tags": ["B-PER", "O"]} for n in range(30)]
    bad = [{"tokens": None, "tags": None}, {"tokens": ["a", ""], "tags": ["O", "O"]}, {"tokens": ["a"], "tags": None}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, good + bad)))
    options = {"text_column": "tokens", "label_column": "tags", "task": "token_classification"}
    data = load_data(tmp_path / "a.jsonl", **options)
    assert data.cleaned == {"empty text left out": 2, "missing label left out": 1}
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, [{"tokens": ["a"], "tags": [-100]}, *good])))
    with pytest.raises(InputError, match=r"-100 marks tokens without a tag, and each word needs one; write O"):
        load_data(tmp_path / "a.jsonl", **options)


def test_a_tag_that_train_lacks_is_told(tmp_path):
    write_conll(tmp_path / "train.conll")
    (tmp_path / "test.conll").write_text("a B-NEW\nb O\n\nc B-NEW\n\nd O\n")
    data = load_data(tmp_path)
    assert data.cleaned["text with the tag 'B-NEW', which train lacks, kept"] == 2
    (tmp_path / "test.conll").rename(tmp_path / "test.txt")
    with pytest.raises(InputError, match=r"expected splits of one kind, found train\.conll, test\.txt"):
        load_data(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("John\tX\tB-PER\nsaw\tX\t\n", "line 2: expected 3 columns|line 1: expected 2 columns"),
        ("\tX\tB-PER\nsaw\tX\tO\n", "line 1: expected a word and its tag"),
        ("John X B-PER\nsaw X\nParis X B-LOC\n", "line 2: expected 3 columns as in the text's last line, got 2"),
    ],
)
def test_empty_and_missing_cells_of_a_conll_file_are_refused(text, message, tmp_path):
    (tmp_path / "a.conll").write_text(text)
    with pytest.raises(InputError, match=message):
        load_data(tmp_path / "a.conll")


def test_blocks_of_comments_and_comments_with_values_are_passed_over(tmp_path):
    text = "# a comment of a file\n\n# id 7 domain=train\nJohn _ _ B-PER\n# within text\nsaw{n} _ _ O\n\n"
    (tmp_path / "a.conll").write_text("".join(text.format(n=n) for n in range(24)))
    data = load_data(tmp_path / "a.conll")
    assert data.label_names == ("B-PER", "O")
    assert len(data.train) + len(data.dev) + len(data.test) == 24
