"""Small data for every task, made by grammars: pairs, any number of classes a text, and numbers to predict."""

import csv
import json
import random

from tests.tiny import BAD, GOOD, NEITHER

KINDS = {"dog": "animal", "cat": "animal", "rose": "plant", "oak": "plant", "car": "vehicle", "bus": "vehicle"}
PLACES = ("in the garden", "on the road", "near a house", "by the river")
CLASSES = {"praise": GOOD.split(), "complaint": BAD.split(), "question": ["why", "who", "where"]}

OPTIONS = {
    "pairs": ("--text-column", "premise", "hypothesis"),
    "multi_label": (),
    "regression": ("--label-column", "stars"),
}
"""What the command line is told of each."""


def write_task(task, path, rows=500, seed=0):
    """A CSV file of one task; returns its path."""
    header, make_row = {
        "pairs": (("premise", "hypothesis", "label"), make_pair),
        "multi_label": (("text", "label"), make_list),
        "regression": (("text", "stars"), make_number),
    }[task]
    draw = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *(make_row(draw, number) for number in range(rows))])
    return path


def make_pair(draw, number):
    """A premise and a hypothesis that follows from it, contradicts it, or does neither."""
    thing, label = draw.choice(list(KINDS)), draw.choice(("entailment", "contradiction", "neutral"))
    kind, place = KINDS[thing], draw.choice(PLACES)
    hypothesis = {
        "entailment": f"there is a {kind} {place}",
        "contradiction": f"there is no {kind} {place}",
        "neutral": f"the {kind} looks {draw.choice(GOOD.split())}",
    }[label]
    return (
        f"a {thing} waits {place} on a {draw.choice((GOOD + ' ' + BAD).split())} day {number % 37}",
        hypothesis,
        label,
    )


def make_list(draw, number):
    """A text with words of each of its classes; of some texts there are none."""
    names = [name for name in CLASSES if draw.random() < 0.4]
    words = [draw.choice(CLASSES[name]) for name in names]
    return mix(draw, words, number), ";".join(names) or ";"


def make_number(draw, number):
    """A text whose number of stars is the balance of good and bad words, with a little noise."""
    good, bad = draw.randint(0, 3), draw.randint(0, 3)
    words = draw.choices(GOOD.split(), k=good) + draw.choices(BAD.split(), k=bad)
    return mix(draw, words, number), round(3 + 0.7 * (good - bad) + draw.gauss(0, 0.1), 2)


def mix(draw, words, number):
    """The words among others, in any order."""
    everything = words + draw.choices(NEITHER.split(), k=draw.randint(5, 10)) + [str(number % 41)]
    draw.shuffle(everything)
    return " ".join(everything)


COLOURS = ["red", "blue", "green", "white", "black", "pink", "gold", "grey"]


def write_question(path, rows=500, seed=0):
    """A CSV file of texts with one colour among other words, and that colour as the answer; returns its path."""
    draw = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("question", "answer"))
        for _ in range(rows):
            words, colour = draw.choices(NEITHER.split(), k=9), draw.choice(COLOURS)
            words.insert(draw.randrange(10), colour)
            writer.writerow((" ".join(words), colour))
    return path


CUES = {"ANIMAL": ("wings", "cave", "blood"), "TOOL": ("game", "ball", "player")}


def write_tags(path, rows=500, seed=0):
    """A CoNLL file of texts with a bat, which is an animal or a tool by one other word; returns its path."""
    draw = random.Random(seed)
    texts = []
    for _ in range(rows):
        words = [(word, "O") for word in draw.choices(NEITHER.split(), k=7)]
        kind = draw.choice(list(CUES))
        words.insert(draw.randrange(8), (draw.choice(CUES[kind]), "O"))
        words.insert(draw.randrange(9), ("bat", f"B-{kind}"))
        texts.append("\n".join(f"{word} {tag}" for word, tag in words))
    path.write_text("\n\n".join(texts) + "\n")
    return path


ANSWERS = {
    "who": ("Anna", "Ben", "Clara", "David", "Emma", "Felix"),
    "where": ("Rome", "Paris", "Berlin", "New York", "Cairo", "Cape Town"),
    "when": ("Monday", "Friday", "June", "last year", "May", "Sunday"),
}


def write_answers(path, rows=500, seed=0):
    """A SQuAD file of texts with a person, a place and a time, and a question about one of them; returns its path."""
    draw, paragraphs = random.Random(seed), []
    for number in range(rows):
        said = {question: draw.choice(answers) for question, answers in ANSWERS.items()}
        parts = [*said.values(), *draw.choices(NEITHER.split(), k=5)]
        draw.shuffle(parts)
        question, context = draw.choice(list(ANSWERS)), " ".join(parts)
        answer = {"text": said[question], "answer_start": f" {context} ".index(f" {said[question]} ")}
        asked = {"id": str(number), "question": f"{question} was it , please ?", "answers": [answer]}
        paragraphs.append({"context": context, "qas": [asked]})
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "a title", "paragraphs": paragraphs}]}))
    return path


def write_choices(path, rows=500, seed=0):
    """A JSONL file of questions for a person, a place or a time, with one of each as choices; returns its path."""
    draw, lines = random.Random(seed), []
    for _ in range(rows):
        said = {question: draw.choice(answers) for question, answers in ANSWERS.items()}
        right, choices, words = draw.choice(list(ANSWERS)), list(said.values()), draw.choices(NEITHER.split(), k=6)
        draw.shuffle(choices)
        words.insert(draw.randrange(7), right)
        lines.append({"question": " ".join(words), "choices": choices, "answer": choices.index(said[right])})
    path.write_text("\n".join(map(json.dumps, lines)))
    return path
