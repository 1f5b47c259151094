import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer, ByT5Tokenizer

from safr.data.batches import LengthGroupedSampler, iter_batches
from safr.data.encoding import EncodedText, encode, replace_surrogates, special_token_ids
from safr.data.tokenizer import train_word_tokenizer
from safr.errors import InputError
from tests.tiny_tokenizers import FAMILIES, tokenizer

# [CLS] un ##believ ##able film [SEP]
TEXT = EncodedText((1, 5, 6, 7, 8, 2), ("unbelievable", "film"), (None, 0, 0, 0, 1, None), truncated=True)
# [CLS] a film [SEP] dull [SEP]
PAIR = EncodedText(
    (1, 4, 8, 2, 9, 2),
    ("a", "film", "dull"),
    (None, 0, 1, None, 2, None),
    False,
    second=2,
    token_types=(0, 0, 0, 0, 1, 1),
)
PADDING = 99

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates and NULs included
words_and_space = st.lists(st.sampled_from(["good", "film", "rare", "[PAD]", "[UNK]", " ", "\n", "\u3000"])).map(
    "".join
)


@pytest.fixture(scope="module")
def words():
    return train_word_tokenizer(["a good film", "a good day", "a film"])


@pytest.fixture(scope="module")
def pieces(minilm):
    return AutoTokenizer.from_pretrained(minilm)


def plain(ids):
    return EncodedText(tuple(ids), tuple(map(str, ids)), tuple(range(len(ids))), truncated=False)


def check_words_lie_in_order_in_the_text(encoded, text):
    place = 0
    for word in encoded.words:
        place = replace_surrogates(text).index(word, place) + len(word)
    numbers = [number for number in encoded.word_of_token if number is not None]
    assert numbers == sorted(numbers)
    assert sorted(set(numbers)) == list(range(len(encoded.words)))
    assert len(encoded.word_of_token) == len(encoded.ids)


@given(any_text | words_and_space)
@example("\ud800")
@example("a\x00b \x00")
def test_the_words_of_any_text_are_those_between_its_white_space(words, text):
    encoded = encode(words, [text])[0]
    check_words_lie_in_order_in_the_text(encoded, text)
    special = "[PAD]" in text or "[UNK]" in text  # these stand apart from the letters around them
    if not special and not set(text) & set("\x1c\x1d\x1e\x1f"):  # white space in Python, not in Unicode
        assert encoded.words == tuple(replace_surrogates(text).split())


@given(any_text)
@example("\ud83d")
@example("a\x00b é 漢字 👩‍👩‍👧 \u202e \u0301")
def test_word_pieces_of_any_text_lie_in_order_in_it(pieces, text):
    encoded = encode(pieces, [text])[0]
    check_words_lie_in_order_in_the_text(encoded, text)
    assert (encoded.ids[0], encoded.ids[-1]) == (pieces.cls_token_id, pieces.sep_token_id)
    assert encoded.word_of_token[0] is encoded.word_of_token[-1] is None


@given(any_text)
def test_a_readable_text_keeps_everything_but_lone_surrogates(text):
    assert replace_surrogates(text) == "".join(
        "\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text
    )


def test_texts_are_encoded_one_by_one(words):
    texts = ["a good film", "", "rare"]
    assert encode(words, texts) == [encode(words, [text])[0] for text in texts]
    assert encode(words, []) == []


def test_words_of_several_pieces_stay_whole(pieces):
    encoded = encode(pieces, ["Unbelievably good"])[0]
    assert encoded.words == ("Unbelievably", "good")
    assert encoded.word_of_token == (None, 0, 0, 0, 0, 0, 1, None)


def test_a_text_that_is_too_long_is_cut_and_says_so(words, pieces):
    cut, whole = encode(words, ["a good film", "a good"], max_tokens=2)
    assert (cut.words, cut.truncated) == (("a", "good"), True)
    assert (whole.words, whole.truncated) == (("a", "good"), False)
    cut = encode(pieces, ["a good film"], max_tokens=4)[0]  # with [CLS] and [SEP]
    assert (len(cut.ids), cut.words, cut.truncated) == (4, ("a", "good"), True)


@pytest.mark.parametrize("text", ["[PAD] good [SEP]", "[CLS]good[PAD]"])
def test_special_tokens_written_into_a_text_are_no_words(pieces, text):
    encoded = encode(pieces, [text])[0]
    assert encoded.words == ("good",)
    assert set(encoded.ids) - {pieces.convert_tokens_to_ids("good")} <= special_token_ids(pieces)


@pytest.mark.parametrize("family", FAMILIES)
@given(any_text | words_and_space)
@example("the  film\n\n of\tthe  cast ")
@example("\ud800 👩‍👩‍👧 e\u0301 ½")
def test_every_fast_tokenizers_words_lie_in_order_in_the_text(family, text):
    encoded = encode(tokenizer(family), [text])[0]
    check_words_lie_in_order_in_the_text(encoded, text)
    assert all(word == word.strip() != "" for word in encoded.words)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_words_of_a_plain_text_are_the_same_for_every_tokenizer(family):
    text = " xqz  jkv\nwyx "
    assert encode(tokenizer(family), [text])[0].words == tuple(text.split())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pair_holds_the_words_of_both_texts(family):
    first, second = "xqz jkv", "wyx jkv xqz"
    pair = encode(tokenizer(family), [(first, second)])[0]
    assert pair.words == (*first.split(), *second.split())
    assert pair.second == 2
    assert pair.text_of_word == (0, 0, 1, 1, 1)
    assert list(pair.ids) == tokenizer(family)(first, second)["input_ids"]
    assert pair.token_types == tuple(tokenizer(family)(first, second).get("token_type_ids", ()))


@given(any_text, any_text)
@example("", "")
@example("", "film")
def test_any_pair_is_two_texts(pieces, first, second):
    pair = encode(pieces, [(first, second)])[0]
    alone = encode(pieces, [first, second])
    assert pair.words == alone[0].words + alone[1].words
    assert pair.second == len(alone[0].words)
    check_words_lie_in_order_in_the_text(pair, f"{first} {second}")


def test_pairs_and_single_texts_may_come_together(pieces):
    texts = ["a good film", ("a film", "it is good"), "", ("", "")]
    assert encode(pieces, texts) == [encode(pieces, [text])[0] for text in texts]
    assert [text.second for text in encode(pieces, texts)] == [None, 2, None, 0]


def test_the_longer_text_of_a_pair_is_cut_first(pieces):
    cut = encode(pieces, [("a good film it is", "a day")], max_tokens=7)[0]
    assert (cut.words, cut.second, cut.truncated) == (("a", "good", "a", "day"), 2, True)
    assert len(cut.ids) == len(cut.token_types) == 7
    whole = encode(pieces, [("a good", "a day")], max_tokens=7)[0]
    assert (len(whole.ids), whole.truncated) == (7, False)


@pytest.mark.parametrize(("text", "needed"), [("a film", 2), (("a film", "a day"), 3)])
def test_a_limit_without_room_for_any_word_is_refused(pieces, text, needed):
    with pytest.raises(InputError, match=f"`max_tokens` must be at least {needed}, .* got {needed - 1}"):
        encode(pieces, [text], max_tokens=needed - 1)
    assert encode(pieces, [text], max_tokens=needed)[0].words == ()


def test_a_tokenizer_that_does_not_know_its_places_is_refused():
    with pytest.raises(InputError, match="expected a fast tokenizer, got ByT5Tokenizer"):
        encode(ByT5Tokenizer(), ["a film"])


def test_unknown_and_masked_words_count(pieces):
    assert encode(pieces, ["good [MASK] [UNK]"])[0].words == ("good", "[MASK]", "[UNK]")


def test_deleting_takes_out_a_words_tokens_and_renumbers_the_rest():
    assert TEXT.without({0}) == EncodedText((1, 8, 2), ("film",), (None, 0, None), truncated=True)
    assert TEXT.without({1}) == EncodedText((1, 5, 6, 7, 2), ("unbelievable",), (None, 0, 0, 0, None), truncated=True)
    assert TEXT.without({0, 1}) == EncodedText((1, 2), (), (None, None), truncated=True)
    assert TEXT.without(()) == TEXT


def test_deleting_in_a_pair_keeps_both_texts_and_the_types_of_their_tokens():
    assert PAIR.without({0}) == EncodedText(
        (1, 8, 2, 9, 2), ("film", "dull"), (None, 0, None, 1, None), False, second=1, token_types=(0, 0, 0, 1, 1)
    )
    assert PAIR.without({2}) == EncodedText(
        (1, 4, 8, 2, 2), ("a", "film"), (None, 0, 1, None, None), False, second=2, token_types=(0, 0, 0, 0, 1)
    )
    assert PAIR.without({0, 1}).text_of_word == (1,)


@given(st.lists(st.none() | st.integers(1, 3), max_size=8), st.data())
def test_deletion_removes_the_deleted_words_tokens_and_nothing_else(parts, data):
    owners, names = [], []
    for part in parts:  # None is a special token, a number is a word of so many pieces
        owners += [None] if part is None else [len(names)] * part
        names += [] if part is None else [f"word{len(names)}"]
    deleted = data.draw(st.sets(st.integers(0, max(len(names) - 1, 0))))
    text = EncodedText(tuple(range(100, 100 + len(owners))), tuple(names), tuple(owners), truncated=False)
    left = text.without(deleted)
    expected = [
        (token, None if owner is None else names[owner])
        for token, owner in zip(text.ids, owners, strict=True)
        if owner not in deleted
    ]
    named = [None if owner is None else left.words[owner] for owner in left.word_of_token]
    assert list(zip(left.ids, named, strict=True)) == expected
    assert left.words == tuple(name for number, name in enumerate(names) if number not in deleted)


@given(
    st.lists(st.integers(0, 12), max_size=30),
    st.integers(1, 40),
    st.none() | st.integers(1, 20),
)
def test_every_text_is_in_exactly_one_batch_with_its_own_tokens(lengths, tokens_per_batch, padded_length):
    texts = [plain(range(length)) for length in lengths]
    made = list(iter_batches(texts, PADDING, tokens_per_batch=tokens_per_batch, padded_length=padded_length))
    assert sorted(number for batch in made for number in batch.indices) == list(range(len(texts)))
    for batch in made:
        ids, attended = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        for row, number in enumerate(batch.indices):
            size = lengths[number]
            assert ids[row].tolist() == list(range(size)) + [PADDING] * (ids.shape[1] - size)
            assert attended[row].tolist() == [1] * size + [0] * (ids.shape[1] - size)
            assert batch.content_mask[row].tolist() == [True] * size + [False] * (ids.shape[1] - size)
        assert len(batch.indices) == 1 or ids.numel() <= tokens_per_batch
        assert ids.shape[1] == max(padded_length or 1, *(lengths[number] for number in batch.indices))


def test_special_tokens_are_attended_to_and_do_not_count():
    batch = next(iter_batches([TEXT], PADDING, padded_length=7))
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 1, 0]]
    assert batch.content_mask.tolist() == [[False, True, True, True, True, False, False]]


def test_token_types_are_given_for_pairs_only_and_to_models_that_read_them():
    alone, together, without = (
        next(iter_batches(texts, PADDING, padded_length=7, **options)).inputs
        for texts, options in (([TEXT], {}), ([TEXT, PAIR], {}), ([PAIR], {"token_types": False}))
    )
    assert alone.keys() == without.keys() == {"input_ids", "attention_mask"}
    assert together["token_type_ids"].tolist() == [[0] * 7, [0, 0, 0, 0, 1, 1, 0]]


def test_batches_come_with_the_longest_texts_first():
    texts = [plain(range(length)) for length in (3, 9, 1, 7)]
    assert [batch.indices for batch in iter_batches(texts, PADDING, tokens_per_batch=18)] == [(1, 3), (0, 2)]


@given(st.lists(st.integers(0, 50), max_size=80), st.integers(1, 5), st.integers(0, 99))
def test_length_groups_are_a_permutation_that_a_seed_repeats(lengths, batch_size, seed):
    groups = LengthGroupedSampler(lengths, batch_size)
    torch.manual_seed(seed)
    order = list(groups)
    torch.manual_seed(seed)
    assert list(groups) == order
    assert sorted(order) == list(range(len(lengths)))
    assert len(groups) == len(lengths)


def test_length_groups_come_in_another_order_in_every_epoch():
    groups = LengthGroupedSampler(list(range(100)), batch_size=8)
    assert list(groups) != list(groups)


def test_length_groups_put_other_texts_together_in_every_epoch():
    groups = LengthGroupedSampler([5] * 64, batch_size=2)
    first, second = ({frozenset(pair) for pair in torch.tensor(list(groups)).view(-1, 2).tolist()} for _ in range(2))
    assert len(first & second) < 8


def test_length_groups_pad_far_less_than_a_random_order():
    lengths = torch.randint(1, 60, (1000,)).tolist()

    def padded(order):
        cut = [order[start : start + 32] for start in range(0, len(order), 32)]
        return sum(max(lengths[number] for number in group) * len(group) for group in cut)

    grouped, shuffled = padded(list(LengthGroupedSampler(lengths, 32))), padded(torch.randperm(1000).tolist())
    assert grouped - sum(lengths) < (shuffled - sum(lengths)) / 5


def test_length_groups_do_not_drift_from_long_to_short():
    lengths = torch.randint(1, 60, (4096,)).tolist()
    means = (
        torch.tensor([lengths[number] for number in LengthGroupedSampler(lengths, 32)]).float().view(-1, 32).mean(dim=1)
    )
    place = torch.arange(len(means)).float()
    assert torch.corrcoef(torch.stack([means, place]))[0, 1].abs() < 0.4


def test_length_groups_are_cut_where_the_batches_are():
    """Two pools of 16 batches of 2, and one text over: every batch holds neighbours of its pool's lengths."""
    groups = LengthGroupedSampler([5, 50] * 32 + [7], batch_size=2)
    for _ in range(10):
        order = list(groups)
        pairs = [{groups.lengths[number].item() for number in order[start : start + 2]} for start in range(0, 64, 2)]
        assert sum(len(pair) > 1 for pair in pairs) <= 4  # a pool may hold odd numbers of either, and the 7
