"""The tokens that a model which writes text is trained on and judged by."""

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from safr.data import Split
from safr.data.encoding import count_end_tokens, encode
from safr.data.targets import IGNORED, find_common_mark, make_prompts, make_target_dataset, tokenize_targets
from safr.errors import InputError
from tests.tiny_tokenizers import TEXTS
from tests.tiny_tokenizers import tokenizer as of_family

CAUSAL = ("gpt2", "metaspace")
TEXT, TARGET = "the film was unbelievably good", "the cast moves"
WORDS = st.text(alphabet="abc é漢👩🏽.,'’ \u0300\n", max_size=40)


@functools.cache
def tokenizer(family):
    """A tokenizer of a family, or one as Llama's, whose words begin with a mark."""
    if family != "metaspace":
        return of_family(family)
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    backend.train_from_iterator(TEXTS, trainers.BpeTrainer(special_tokens=special, vocab_size=400))
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def rows(family, texts, targets, max_tokens=None, *, encoder_decoder=False):
    split = Split(tuple(texts), tuple(targets))
    return tokenize_targets(tokenizer(family), split, max_tokens, encoder_decoder=encoder_decoder)


@pytest.mark.parametrize("family", CAUSAL)
def test_a_causal_model_learns_the_target_and_its_end_but_not_the_text(family):
    words = tokenizer(family)
    (row,) = rows(family, [TEXT], [TARGET])
    joined = encode(words, [f"{TEXT} {TARGET}"])[0].ids
    end = () if words.eos_token_id is None else (words.eos_token_id,)
    assert row.ids == joined + end
    count = len(encode(words, [TEXT])[0].ids)
    assert row.labels == (IGNORED,) * count + row.ids[count:]


@pytest.mark.parametrize("family", CAUSAL)
def test_a_text_without_a_target_is_learned_whole(family):
    (row,) = rows(family, [TEXT], [""])
    assert row.labels == row.ids
    assert row.ids[: len(encode(tokenizer(family), [TEXT])[0].ids)] == encode(tokenizer(family), [TEXT])[0].ids


@pytest.mark.parametrize(("text", "target"), [("a ", "b"), ("a", " b"), ("a\n", "b"), ("a", "b")])
def test_there_is_one_space_between_text_and_target_unless_there_is_white_space(text, target):
    (row,) = rows("gpt2", [text], [target])
    expected = text + target if " " in text + target or "\n" in text else f"{text} {target}"
    assert tokenizer("gpt2").decode(row.ids, skip_special_tokens=True) == expected


@pytest.mark.parametrize("family", CAUSAL)
def test_a_long_text_loses_its_beginning_before_the_target_loses_its_end(family):
    (whole,) = rows(family, [TEXT], [TARGET])
    most = len(whole.ids) - 3
    (cut,) = rows(family, [TEXT], [TARGET], most)
    leading = whole.ids[0] in tokenizer(family).all_special_ids
    assert cut.ids == whole.ids[:leading] + whole.ids[leading + 3 :]
    assert cut.labels == whole.labels[:leading] + whole.labels[leading + 3 :]
    (cut,) = rows(family, [TEXT], [f"{TARGET} " * 9], most)
    assert len(cut.ids) == len(cut.labels) == most
    assert cut.labels.count(IGNORED) == leading + 1  # one token of the text stays


def test_a_long_text_without_a_target_is_learned_in_pieces():
    (whole,), pieces = rows("gpt2", [TEXT * 3], [""]), rows("gpt2", ["good", TEXT * 3], ["", ""], 10)
    assert [piece.text for piece in pieces] == [0] + [1] * (len(pieces) - 1)
    assert all(piece.ids == piece.labels and 0 < len(piece.ids) <= 10 for piece in pieces)
    assert sum((piece.ids for piece in pieces[1:]), ()) == whole.ids


def test_texts_with_and_without_a_target_may_stand_together():
    split = Split(("good", "good film moves", "film"), (TARGET, "", TARGET))
    prompts, left_out = make_prompts(tokenizer("gpt2"), split, 6, encoder_decoder=False)
    assert ([text.strip() for text in prompts.texts], left_out) == (["good", "good film", "film"], 0)


def test_an_encoder_decoder_reads_the_text_and_writes_the_target():
    words = tokenizer("t5")
    (row,) = rows("t5", [TEXT], [TARGET], encoder_decoder=True)
    assert row.ids == tuple(words(TEXT)["input_ids"])
    end = () if words.eos_token_id is None else (words.eos_token_id,)
    written = tuple(words(text_target=TARGET)["input_ids"])
    assert row.labels == written or row.labels == written + end
    (cut,) = rows("t5", [TEXT], [TARGET], 4, encoder_decoder=True)
    assert (len(cut.ids), len(cut.labels)) == (4, 4)


def test_rows_without_a_label_are_no_training_rows():
    split = Split(("a", "b"), ("x", "y"))
    made = tokenize_targets(tokenizer("gpt2"), split, encoder_decoder=False)
    dataset = make_target_dataset(
        [made[0], type(made[0])(made[1].ids, (IGNORED,) * len(made[1].ids)), made[0]], shifted=True
    )
    assert dataset["input_ids"][:] == [list(made[0].ids)] * 2
    assert dataset["length"][:] == [len(made[0].ids)] * 2
    with pytest.raises(
        InputError, match="expected at least 2 texts with tokens to learn, got 0 of 2; raise `max_tokens`"
    ):
        make_target_dataset([type(made[0])((5,), (5,))] * 2, shifted=True)


@pytest.mark.parametrize("family", CAUSAL)
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(WORDS.filter(str.strip), min_size=2, max_size=3), targets=st.lists(WORDS, min_size=3, max_size=3))
def test_the_token_that_comes_next_comes_next_in_the_whole_text(family, texts, targets):
    words, targets = tokenizer(family), targets[: len(texts)]
    split = Split(tuple(texts), tuple(targets))
    whole = tokenize_targets(words, split, encoder_decoder=False)
    try:
        prompts, left_out = make_prompts(words, split, encoder_decoder=False)
    except InputError:  # too little is left
        return
    assert len(prompts) + left_out == len(texts)
    sequences = [row.ids for row in whole]
    for text, token in zip(prompts.texts, prompts.labels, strict=True):
        before = encode(words, [text])[0].ids
        assert any(ids[: len(before) + 1] == (*before, token) for ids in sequences)


@pytest.mark.parametrize("family", CAUSAL)
def test_a_text_alone_is_cut_before_a_word_with_two_before_it_and_always_there(family):
    texts = ("the film was unbelievably good and the cast was dull", "a premise says that the story moves", "good film")
    prompts, left_out = make_prompts(tokenizer(family), Split(texts, ("", "", "")), encoder_decoder=False)
    assert left_out == 1
    for text, prompt in zip(texts, prompts.texts, strict=False):
        assert text.startswith(prompt)
        assert len(prompt.split()) >= 2
    assert prompts == make_prompts(tokenizer(family), Split(texts, ("", "", "")), encoder_decoder=False)[0]


def test_the_first_token_of_an_encoder_decoders_output_is_no_special_one():
    words = tokenizer("roberta")
    prompts, _ = make_prompts(words, Split((TEXT, TEXT), (TARGET, "good")), encoder_decoder=True)
    assert prompts.texts == (TEXT, TEXT)
    assert words.decode(prompts.labels[:1]).strip() in TARGET
    assert not set(prompts.labels) & set(words.all_special_ids)


def test_a_causal_text_whose_end_is_cut_off_has_no_next_token():
    split = Split((TEXT, "good", "film"), (TARGET,) * 3)
    prompts, left_out = make_prompts(tokenizer("gpt2"), split, 6, encoder_decoder=False)
    assert (prompts.texts, left_out) == (("good", "film"), 1)


@pytest.mark.parametrize(
    ("split", "encoder_decoder", "message"),
    [
        (Split((("a", "b"), ("c", "d")), ("x", "y")), False, "reads single texts, but these are pairs"),
        (Split(("a", "b"), ("", "")), True, "an encoder-decoder writes one text after reading another"),
        (
            Split(("a b", "c d"), ("", "")),
            False,
            "expected at least 2 texts with a token to write after them, got 0 of 2",
        ),
    ],
)
def test_what_can_not_be_written_is_one_line(split, encoder_decoder, message):
    family = "t5" if encoder_decoder else "gpt2"
    with pytest.raises(InputError, match=message):
        make_prompts(tokenizer(family), split, encoder_decoder=encoder_decoder)


def test_a_long_target_keeps_its_beginning_and_its_end_token():
    words = of_family("roberta")
    (whole,), (cut,) = (rows("roberta", [TEXT], [TARGET], most, encoder_decoder=True) for most in (None, 5))
    assert cut.labels == (*whole.labels[:4], whole.labels[-1])
    assert cut.labels[-1] == words.eos_token_id


def test_white_space_at_a_texts_end_goes_to_the_target():
    split = Split((f"{TEXT} \nA: ", "good: "), ("film", "good"))
    prompts, left_out = make_prompts(tokenizer("metaspace"), split, encoder_decoder=False)
    assert left_out == 0
    assert [prompt.rstrip() for prompt in prompts.texts] == [f"{TEXT} \nA:", "good:"]


def test_tokens_behind_every_text_are_not_between_text_and_target():
    words = of_family("roberta")  # <s> text </s>
    split = Split(("the film", "good film"), ("was good", "moves"))
    prompts, _ = make_prompts(words, split, encoder_decoder=False)
    made = tokenize_targets(words, split, encoder_decoder=False)
    for text, token in zip(prompts.texts, prompts.labels, strict=True):
        before = encode(words, [text])[0].without_end(count_end_tokens(words)).ids
        assert any(row.ids[: len(before) + 1] == (*before, token) for row in made)


def test_no_mark_of_a_space_is_judged():
    split = Split(("how many", "how many films"), ("漢", "字"))
    words = tokenizer("metaspace")
    prompts, _ = make_prompts(words, split, encoder_decoder=False)
    assert all(words.decode([token]).strip() for token in prompts.labels)


@pytest.mark.parametrize("family", CAUSAL)
def test_more_white_space_than_the_tokens_own_is_part_of_the_text(family):
    split = Split(("def f():", "def g(): "), ("\n    return red", " blue"))
    prompts, left_out = make_prompts(tokenizer(family), split, encoder_decoder=False)
    assert left_out == 0
    made = tokenize_targets(tokenizer(family), split, encoder_decoder=False)
    for text, token, row in zip(prompts.texts, prompts.labels, made, strict=True):
        before = encode(tokenizer(family), [text])[0].ids
        assert row.ids[: len(before) + 1] == (*before, token)


def test_a_special_token_at_a_targets_beginning_is_not_judged():
    words = tokenizer("metaspace")
    prompts, _ = make_prompts(words, Split(("good", "film"), ("</s> moves", "</s> film")), encoder_decoder=False)
    assert not set(prompts.labels) & set(words.all_special_ids)


def test_the_mark_that_begins_all_targets_is_found_and_not_judged():
    words, split = tokenizer("metaspace"), Split(("good", "film"), ("語", "書"))
    mark = find_common_mark(words, split)
    assert words.convert_ids_to_tokens(mark) == "▁"
    prompts, left_out = make_prompts(words, split, encoder_decoder=True, forced=mark)
    assert (left_out, mark in prompts.labels) == (0, False)
    assert find_common_mark(words, Split(("a", "b"), ("good", "語"))) is None
