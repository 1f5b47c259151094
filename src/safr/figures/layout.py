"""Layout of the allocation graph: where the circles and labels of its words go, in points."""

from itertools import product

import networkx as nx
import numpy as np

from safr.figures.inputs import Array, without_diagonal

Box = tuple[float, float, float, float]  # left, bottom, right, top

SHORTEST = 0.15  # distance of the strongest pair, relative to a pair without interference
ROUNDS = 200  # most rounds of pushing circles apart; most texts need fewer than 50
CIRCLE_GAP = 14.0  # points, so that the line between two near circles can be seen
LABEL_GAPS = (1.5, 8.5)  # points between a circle and its word: near, or away from a crowd
HIDDEN_POINT = 3.0  # cost of hiding a point of a line, in square points of overlap
FAR_COST = 8.0  # cost per point of extra distance: a reader may take a far word for that of another circle


def relative_strength(interference: Array) -> Array:
    """Absolute interference relative to the strongest pair, in [0, 1], shape (word, word), diagonal 0."""
    size = np.abs(without_diagonal(interference))
    return size / (size.max() or 1.0)


def place_circles(strength: Array, radii: Array, *, side: float) -> Array:
    """Centres of the circles, in points, shape (word, 2): the stronger a pair, the nearer its circles.

    The layout of Kamada and Kawai, with distances that fall from 1 to 0.15 with the strength. It is turned so that its
    longest direction is horizontal; then overlapping circles are pushed apart. The same input gives the same layout.

    Args:
        strength: Strength of all pairs, in [0, 1], symmetric, shape (word, word).
        radii: Radii of the circles in points, shape (word,).
        side: Longer side of the layout in points, before circles are pushed apart.
    """
    count = len(strength)
    if count == 1:
        return np.zeros((1, 2))
    # The square root spreads the many weak pairs; without it one strong pair would make all others equally far.
    distance = 1 - (1 - SHORTEST) * np.sqrt(strength)
    graph = nx.empty_graph(count)
    distances = {i: {j: float(distance[i, j]) for j in range(count)} for i in range(count)}
    positions = nx.kamada_kawai_layout(graph, dist=distances)
    centres = _turn_horizontal(np.array([positions[i] for i in range(count)]))
    centres *= side / max(np.ptp(centres, axis=0).max(), 1e-9)
    return push_apart(centres, radii, gap=CIRCLE_GAP)


def push_apart(centres: Array, radii: Array, *, gap: float) -> Array:
    """The centres moved as little as needed, until no two circles are nearer than `gap` points."""
    centres = centres.copy()
    needed = radii[:, None] + radii[None, :] + gap  # (word, word)
    np.fill_diagonal(needed, 0.0)
    for _ in range(ROUNDS):
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


def _turn_horizontal(centres: Array) -> Array:
    """The centres around their mean, turned so that they spread most horizontally and the first word is on the left."""
    centres = centres - centres.mean(axis=0)
    _, _, directions = np.linalg.svd(centres, full_matrices=False)
    turned = centres @ directions.T
    return turned * np.where(turned[0] > 0, -1.0, 1.0)
