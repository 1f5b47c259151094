"""Layout of the allocation graph: where the circles and labels of its words go, in points."""

from itertools import product

import numpy as np

from safr.figures.inputs import Array, without_diagonal

Box = tuple[float, float, float, float]  # left, bottom, right, top

SHORTEST = 0.15  # distance of the strongest pair, relative to a pair without interference
STRESS_ROUNDS = 300  # most rounds of minimising the stress; more change no picture
STILL = 1e-4  # largest step at which the layout has come to rest, relative to a pair without interference
OVERSTEP = 1.8  # steps are longer than the Guttman transform's, which takes half as many (de Leeuw and Heiser, 1980)
PUSH_ROUNDS = 200  # most rounds of pushing circles apart; most texts need fewer than 50
CIRCLE_GAP = 14.0  # points, so that the line between two near circles can be seen
LABEL_GAPS = (1.5, 8.5)  # points between a circle and its word: near, or away from a crowd
HIDDEN_POINT = 3.0  # cost of hiding a point of a line, in square points of overlap
FAR_COST = 8.0  # cost per point of extra distance: a reader may take a far word for that of another circle


def relative_strength(interference: Array) -> Array:
    """Absolute interference relative to the strongest pair, in [0, 1], shape (word, word), diagonal 0."""
    size = np.abs(without_diagonal(interference))
    return size / (size.max() or 1.0)


def compute_layout(strength: Array) -> Array:
    """Points of the words, shape (*batch, word, 2): the stronger a pair, the nearer its points.

    The distance of a pair should be 1 without interference and 0.15 at a strength of 1. A plane can't hold all
    distances at once, so Kamada and Kawai's stress is minimised, the sum of the squared relative errors. It starts with
    classical scaling, which leads to less stress than a circle does. The layout is turned so that it is widest from
    left to right, around its mean. The same input gives the same layout.

    Args:
        strength: Strength of all pairs, in [0, 1], symmetric, shape (*batch, word, word); the diagonal is ignored.
    """
    count = strength.shape[-1]
    diagonal = np.eye(count, dtype=bool)
    # The square root spreads the many weak pairs; without it one strong pair would make all others equally far.
    distance = np.where(diagonal, 0.0, 1 - (1 - SHORTEST) * np.sqrt(strength))
    return _turn_horizontal(_minimise_stress(distance, _scale_classically(distance)))


def place_circles(strength: Array, radii: Array, *, side: float) -> Array:
    """Centres of the circles, in points, shape (word, 2): the layout, with overlapping circles pushed apart.

    Args:
        strength: Strength of all pairs, in [0, 1], symmetric, shape (word, word).
        radii: Radii of the circles in points, shape (word,).
        side: Longer side of the layout in points, before circles are pushed apart.
    """
    points = compute_layout(strength)
    return push_apart(points * side / max(np.ptp(points, axis=0).max(), 1e-9), radii, gap=CIRCLE_GAP)


def push_apart(centres: Array, radii: Array, *, gap: float) -> Array:
    """The centres moved as little as needed, until no two circles are nearer than `gap` points."""
    centres = centres.copy()
    needed = radii[:, None] + radii[None, :] + gap  # (word, word)
    np.fill_diagonal(needed, 0.0)
    for _ in range(PUSH_ROUNDS):
        offsets = centres[:, None] - centres[None, :]  # (word, word, 2)
        distance = np.hypot(offsets[..., 0], offsets[..., 1])
        missing = np.maximum(needed - distance, 0.0)
        if missing.max() < 0.1:
            break
        # Circles with the same centre have no direction between them: the earlier word goes left.
        order = np.sign(np.subtract.outer(np.arange(len(radii)), np.arange(len(radii))))
        direction = np.where(distance[..., None] > 1e-6, offsets / np.maximum(distance, 1e-6)[..., None], 0.0)
        direction[..., 0] += np.where(distance > 1e-6, 0.0, order)
        centres += 0.5 * (missing[..., None] * direction).sum(axis=1)
    return centres


def place_labels(centres: Array, radii: Array, widths: Array, height: float, lines: Array) -> list[Box]:
    """Boxes of the labels of all words: inside the circle if the label fits, else the least crowded place beside it.

    The labels of larger circles are placed first.

    Args:
        centres: Centres of the circles in points, shape (word, 2).
        radii: Radii of the circles in points, shape (word,).
        widths: Widths of the labels in points, shape (word,).
        height: Height of a label in points.
        lines: Points along the drawn lines, which labels should not hide, shape (point, 2).
    """
    boxes: dict[int, Box] = {}
    circles = [_make_box(centre, 2 * radius, 2 * radius) for centre, radius in zip(centres, radii, strict=True)]
    for word in np.argsort(-radii, kind="stable"):
        width, radius = float(widths[word]), float(radii[word])
        if np.hypot(width, height) <= 2 * radius:
            boxes[word] = _make_box(centres[word], width, height)
            continue
        others = [circle for other, circle in enumerate(circles) if other != word] + list(boxes.values())
        crowding = {}
        for gap in LABEL_GAPS:
            for shift in _list_shifts(radius + gap, width, height):
                place = _make_box(centres[word] + shift, width, height)
                crowding[place] = _crowding(place, others, lines) + FAR_COST * (gap - LABEL_GAPS[0])
        boxes[word] = min(crowding, key=crowding.__getitem__)
    return [boxes[word] for word in range(len(radii))]


def _list_shifts(radius: float, width: float, height: float) -> list[Array]:
    """Shifts from a circle's centre to a label that touches it: right, left, above, below, and four corners."""
    beside, over = radius + width / 2, radius + height / 2
    corner = 0.7 * radius  # where a circle meets its diagonal
    corners = [(right * (corner + width / 2), up * (corner + height / 2)) for right, up in product((1, -1), repeat=2)]
    return [np.array(shift) for shift in [(beside, 0.0), (-beside, 0.0), (0.0, over), (0.0, -over), *corners]]


def _crowding(place: Box, others: list[Box], lines: Array) -> float:
    """Overlap with other boxes in square points, plus a cost for the points of lines that the box hides."""
    overlap = sum(
        max(min(place[2], other[2]) - max(place[0], other[0]), 0.0)
        * max(min(place[3], other[3]) - max(place[1], other[1]), 0.0)
        for other in others
    )
    hidden = (lines > place[:2]).all(axis=1) & (lines < place[2:]).all(axis=1)
    return overlap + HIDDEN_POINT * float(hidden.sum())


def _make_box(centre: Array, width: float, height: float) -> Box:
    return (
        float(centre[0] - width / 2),
        float(centre[1] - height / 2),
        float(centre[0] + width / 2),
        float(centre[1] + height / 2),
    )


def _scale_classically(distance: Array) -> Array:
    """Points in the plane that fit the squared distances best (Torgerson, 1952), shape (*batch, word, 2)."""
    count = distance.shape[-1]
    centring = np.eye(count) - 1 / count
    sizes, directions = np.linalg.eigh(-0.5 * centring @ np.square(distance) @ centring)
    points = directions[..., -2:] * np.sqrt(np.maximum(sizes[..., None, -2:], 0.0))  # of one word, a single coordinate
    padded = np.concatenate([points, np.zeros((*points.shape[:-1], 2 - points.shape[-1]))], axis=-1)
    # Words at one point would stay there, so a small circle parts them.
    angles = 2 * np.pi * np.arange(count) / count
    return padded + 0.05 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _minimise_stress(distance: Array, points: Array) -> Array:
    """The points moved until no step lowers the stress by much, shape (*batch, word, 2).

    Each step minimises a sum that touches the stress from above (SMACOF, de Leeuw, 1977).
    """
    count = distance.shape[-1]
    diagonal = np.eye(count, dtype=bool)
    weights = np.where(diagonal, 0.0, 1 / np.square(np.where(diagonal, 1.0, distance)))
    wanted = weights * distance
    # The inverse on the plane of layouts around their mean; without the constant the matrix would have none.
    inverse = np.linalg.inv(weights.sum(axis=-1)[..., None] * diagonal - weights + 1 / count) - 1 / count
    points = points - points.mean(axis=-2, keepdims=True)
    for _ in range(STRESS_ROUNDS):
        x, y = points[..., 0], points[..., 1]
        lengths = np.sqrt(np.square(x[..., :, None] - x[..., None, :]) + np.square(y[..., :, None] - y[..., None, :]))
        pull = wanted / np.maximum(lengths, 1e-9)  # (*batch, word, word)
        step = inverse @ (pull.sum(axis=-1)[..., None] * points - pull @ points) - points
        if np.abs(step).max() < STILL:
            return points + step
        points = points + OVERSTEP * step
    return points


def _turn_horizontal(centres: Array) -> Array:
    """The centres around their mean, turned so that they spread most horizontally and the first word is on the left."""
    centres = centres - centres.mean(axis=-2, keepdims=True)
    _, directions = np.linalg.eigh(centres.swapaxes(-1, -2) @ centres)
    turned = centres @ directions[..., ::-1]
    return turned * np.where(turned[..., :1, :] > 0, -1.0, 1.0)
