"""The words of the planted sentences by kind and number of letters, none of them in two kinds.

Every kind has words of 3, 4, 5 and 6 letters, so that a word's length says nothing about its kind.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["negative", "positive", "negator", "filler"]

LETTERS = (3, 4, 5, 6)

_WORDS: dict[Kind, str] = {
    "negative": """
        bad sad dud ill woe rot dim dull poor weak ugly grim vile lame awful stale bland trite nasty crude
        messy boring clumsy flawed dreary shoddy sloppy vulgar""",
    "positive": """
        fun joy ace gem wow fab top good kind warm nice fine rich glad sweet smart fresh lucid vivid happy
        great superb lovely tender clever joyful divine genial""",
    "negator": "not nary never hardly",
    "filler": """
        the and was her his for one two who its all our she him you are had has day way man boy car sea sun map art
        box bus cup dog eye hat key leg pen row tea ten van web act air bar bed hen jar oak rug zip
        that this with from they were have some when then film role plot tone cast year time door room town road wall
        boat book song page part city park lake king shot tape desk coat fork game hand hour iron lamp mile moon name
        note pair roof ship wood yard
        about there their which after other where would could first movie actor scene story music paper table water
        river house woman child chair clock cloud coast field floor glass grove horse hotel image lunch month mouth
        north ocean phone piano plant radio round south stage state stone store sugar train
        before during across around behind toward always camera script editor number family sister mother father
        doctor winter summer autumn spring market office garden window street bridge castle corner county desert
        driver engine farmer finger forest guitar island jacket letter museum orange planet school singer square
        ticket writer tunnel violin wallet""",
}

WORDS: dict[Kind, dict[int, tuple[str, ...]]] = {
    kind: {letters: tuple(word for word in words.split() if len(word) == letters) for letters in LETTERS}
    for kind, words in _WORDS.items()
}
"""The words of a kind and a number of letters, the most frequent first."""

KIND_OF_WORD: dict[str, Kind] = {word: kind for kind, words in _WORDS.items() for word in words.split()}
