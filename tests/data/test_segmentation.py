import itertools
import sys
import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from safr.data.encoding import find_word_spans
from safr.data.segmentation import SPACELESS, find_boundaries
from tests.tiny_tokenizers import tokenizer

SCRIPTS = {
    "Chinese": ("这部电影非常无聊，演员很好", "这 部 电影 非常 无聊 ， 演员 很 好"),
    "Japanese": ("この映画はとても面白かった。", "この 映画は とても 面白かった 。"),
    "Thai": ("หนังเรื่องนี้สนุกมาก", "หนัง เรื่อง นี้ สนุก มาก"),
    "Lao": ("ຂ້ອຍຮັກ", "ຂ້ ອ ຍ ຮັ ກ"),
    "Hindi": ("नमस्ते दुनिया", "नमस्ते दुनिया"),
    "Arabic": ("هذا فيلم رائع", "هذا فيلم رائع"),
    "Hebrew": ("הסרט היה נפלא", "הסרט היה נפלא"),
    "Korean": ("이 영화는 정말 재미있다", "이 영화는 정말 재미있다"),
    "Chinese with Latin": ("看AI电影", "看 AI 电影"),
    "emoji": ("👨‍👩‍👧 🇩🇪 👍🏽", "👨‍👩‍👧 🇩🇪 👍🏽"),
    "accents of their own": ("cafe\u0301 nai\u0308ve", "cafe\u0301 nai\u0308ve"),
}


def read_words(text, pieces):
    """Words of a text that a tokenizer has cut into these pieces, without any group of its own."""
    spans, start = [], 0
    for piece in pieces:
        start = text.index(piece, start)
        spans.append((start, start + len(piece)))
        start += len(piece)
    return [text[start:end] for start, end in find_word_spans(text, spans, [0] * len(spans))[0]]


@pytest.mark.parametrize("script", SCRIPTS)
def test_single_characters_come_together_to_the_words_of_their_script(script):
    text, words = SCRIPTS[script]
    assert read_words(text, [character for character in text if not character.isspace()]) == words.split()


def test_a_token_that_crosses_a_boundary_joins_the_words_on_both_sides():
    assert read_words("这部电影非常无聊", ["这部", "电", "影非", "常", "无聊"]) == ["这部", "电影非常", "无聊"]


def test_a_word_of_hindi_is_not_cut_at_its_vowel_signs():
    text = "नमस्ते दुनिया"
    encoding = tokenizer("gpt2")(text).encodings[0]
    spans, _ = find_word_spans(text, encoding.offsets, encoding.word_ids)
    assert [text[start:end] for start, end in spans] == text.split()


def test_tokenizers_see_every_letter_of_the_scripts_that_are_split_here():
    letters = [character for character in map(chr, range(sys.maxunicode + 1)) if character.isalpha()]
    split = "".join(letter for letter in letters if find_boundaries(f"a{letter}").get(1))
    assert len(split) > 90_000
    others = pre_tokenizers.Split(Regex(f"[{SPACELESS}]"), "removed").pre_tokenize_str(split)
    assert [(part, unicodedata.name(part[0])) for part, _ in others] == []


def test_a_text_in_ascii_is_left_to_its_tokenizer():
    assert find_boundaries("a film\r\nwith words") == {}


@given(st.text(st.sampled_from("a é\u0301\u200d👩👧🇩🇪नम्स्ते很无聊映画はねหนังເຮົາ.,").filter(str)))
def test_boundaries_lie_in_the_text_and_never_inside_a_grapheme_cluster(text):
    boundaries = find_boundaries(text)
    edges = {cluster.start() for cluster in regex.finditer(r"\X", text)} | {len(text)}
    assert {position for position, meet in boundaries.items() if meet} <= edges
    assert all(0 <= position <= len(text) for position in boundaries)


@pytest.mark.parametrize("family", ["wordpiece", "gpt2", "roberta", "t5", "llama"])
@given(text=st.text(st.sampled_from("a é\u0301\u200d👩👧🇩🇪नम्स्ते很无聊映画はねหนังເຮົາ.,")))
def test_no_tokenizer_cuts_a_word_inside_a_grapheme_cluster(family, text):
    encoding = tokenizer(family)(text).encodings[0]
    spans, _ = find_word_spans(text, encoding.offsets, encoding.word_ids)
    edges = {cluster.start() for cluster in regex.finditer(r"\X", text)} | {len(text)}
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert end < start or end in edges
