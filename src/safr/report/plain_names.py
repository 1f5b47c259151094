"""Plain names of scores, methods and measures, in place of those that files and options have for them."""

from __future__ import annotations

import re

from safr.attribution.registry import ABSOLUTE_PREFIX, METHODS

METHOD_NAMES = {
    "capacity": "capacity",
    "keep": "probability that the mask keeps a word (VMASK)",
    "attention": "attention that a word receives",
    "attention_rollout": "attention followed through the layers (rollout)",
    "gradient_x_input": "gradient times input",
    "relevance": "relevance",
    "smooth_grad": "gradient with noise (SmoothGrad)",
    "integrated_gradients": "integrated gradients",
    "occlusion": "leaving out one word (occlusion)",
    "shapley": "Shapley values",
    "kernel_shap": "Kernel SHAP",
    "lime": "LIME",
    "random": "random scores",
}
"""Names of the attribution methods, which are a file's and an option's short ones elsewhere."""

AUDIT_NAMES = {
    "keep": "share of a word that the mask keeps",
    "norm": "length of the vectors that go on",
    "embedding_norm": "length of the embeddings",
    "shared_directions": "sharing of directions (polysemanticity)",
    "attention_entropy": "evenness of attention (entropy)",
}
"""Names of the audit's measures."""

_SITE_NAMES = {
    "embedding": "the embedding",
    "vmask": "the mask",
    "fc1": "FC1",
    "fc1_out": "FC1 after the activation",
    "fc2": "FC2",
}
_SITE = re.compile(r"capacity[@_](?P<kind>[a-z]+[0-9]?(?:_out)?)(?:[._](?P<layer>[0-9]+))?")


def name_method(method: str) -> str:
    """Plain name of an attribution method or of a score in `scores.json`; of an unknown one, its own with spaces.

    >>> name_method("capacity_fc1_out_0"), name_method("capacity@fc2.3"), name_method("absolute_relevance")
    ('capacity at FC1 after the activation, layer 0', 'capacity at FC2, layer 3', 'relevance, its size alone')
    """
    if method in METHOD_NAMES:
        return METHOD_NAMES[method]
    if method.startswith(ABSOLUTE_PREFIX):
        return f"{name_method(method.removeprefix(ABSOLUTE_PREFIX))}, its size alone"
    if site := _SITE.fullmatch(method):
        kind = _SITE_NAMES.get(site["kind"], site["kind"])
        return f"capacity at {kind}" + (f", layer {site['layer']}" if site["layer"] else "")
    return method.replace("_", " ")


def name_methods_in(sentence: str) -> str:
    """The sentence with spaces in the short names of methods and metrics.

    >>> name_methods_in("Capacity is more faithful than integrated_gradients.")
    'Capacity is more faithful than integrated gradients.'
    """
    return re.sub(r"\b(" + "|".join(name for name in METHODS if "_" in name) + r")\b", _write_spaces, sentence)


def _write_spaces(found: re.Match[str]) -> str:
    return found[0].replace("_", " ")
