"""Texts in several scripts, by the command line from training to the explorer's page."""

import csv
import json
import random

import pytest

from safr.cli import main
from safr.runs import Run

OPTIONS = [
    *("--width", "16", "--heads", "2", "--feed-forward", "32", "--vmask-width", "8"),
    *("--epochs", "8", "--batch-size", "8", "--learning-rate", "0.01"),
]
SENTENCES = {
    "English": ("The {}, honestly, was {}!", "film cast plot scene", "GREAT moving funny", "Dull boring awful"),
    "Chinese": ("这部{}非常{}。", "电影 作品 喜剧 电视剧", "精彩 好看 感人", "无聊 糟糕 失败"),
    "Japanese": ("この{}は本当に{}です。", "映画 作品 喜劇 物語", "面白い 素晴らしい 楽しい", "退屈 残念 最悪"),
    "Thai": ("{}เรื่องนี้{}มาก", "หนัง ละคร นิยาย เพลง", "สนุก ดี น่ารัก", "น่าเบื่อ แย่ เศร้า"),
    "Hindi": ("यह {} बहुत {} है।", "फ़िल्म कहानी नाटक गीत", "अच्छी सुंदर मज़ेदार", "बुरी उबाऊ बेकार"),
    "Arabic": ("هذا {} {} جدا", "الفيلم العمل المشهد النص", "رائع جميل ممتع", "ممل سيئ ضعيف"),
    "Hebrew": ("ה{} הזה {} מאוד", "סרט סיפור מחזה ספר", "נפלא מצחיק מרגש", "משעמם גרוע חלש"),
    "emoji": ("{} {} 👩‍🎤", "🎬 🎭 📖 🎵", "👍🏽 ❤️ 😀", "👎🏿 💩 😡"),
}
"""By script: a sentence, its subjects, and what makes it good or bad."""

WORDS = {
    "English": "The film , honestly , was GREAT !",
    "Chinese": "这 部 电影 非常 精彩 。",
    "Japanese": "この 映画は 本当に 面白いです 。",
    "Thai": "หนัง เรื่อง นี้ สนุก มาก",
    "Hindi": "यह फ़िल्म बहुत अच्छी है ।",
    "Arabic": "هذا الفيلم رائع جدا",
    "Hebrew": "הסרט הזה נפלא מאוד",
    "emoji": "🎬 👍🏽 👩‍🎤",
}
"""The words of the first good sentence, as readers of the script part them."""


def write_sentences(script, folder):
    """Write a script's sentences with their labels, in three splits; returns the first good one."""
    pattern, subjects, *answers = SENTENCES[script]
    draw = random.Random(0)
    folder.mkdir()
    for split, count in (("train", 120), ("dev", 12), ("test", 12)):
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            for number in range(count):
                words = draw.choice(subjects.split()), draw.choice(answers[number % 2].split())
                rows.writerow([pattern.format(*words), ("good", "bad")[number % 2]])
    return pattern.format(subjects.split()[0], answers[0].split()[0])


@pytest.mark.slow
@pytest.mark.parametrize("script", SENTENCES)
def test_words_and_numbers_are_true_in_every_script(script, tmp_path, capsys):
    data, run, page = tmp_path / "texts", tmp_path / "run", tmp_path / "page.html"
    text = write_sentences(script, data)
    assert main(["train", "--data", str(data), "--output", str(run), *OPTIONS]) == 0
    scores = Run(run).scores
    assert scores["accuracy"]["value"] > 0.8
    assert (scores["undeletable"], scores["unknown"], scores["truncated"]) == (0, 0, 0)
    assert scores["srs"]["30"]["high"] > 0
    capsys.readouterr()
    assert main(["explain", str(run), text, "--json"]) == 0
    explanation = json.loads(capsys.readouterr().out)
    assert explanation["words"] == WORDS[script].split()
    assert explanation["prediction"] == "good"
    assert main(["explore", str(run), "--export", str(page), "--texts", "12"]) == 0
    assert json.dumps(WORDS[script].split()[1])[1:-1] in page.read_text(encoding="utf-8")
