"""How Sphinx builds the documentation's site from the pages that `assemble.py` puts together."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

import safr

# Set before a tutorial's kernel starts: the build is offline, and its machine may have few cores.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

project = "SAFR"
author = "The SAFR developers"
copyright = author
release = safr.__version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
exclude_patterns = ["images"]
root_doc = "index"

html_theme = "furo"
html_title = f"SAFR {release}"
html_static_path = [str(Path(__file__).parent / "static")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False

# From a package, so that formulas are shown without a network, too.
MATHJAX = "tex-svg.js"
mathjax_path = MATHJAX

nb_execution_mode = "force"
nb_execution_raise_on_error = False  # a failing cell is a warning, which is an error, and all others are run too
nb_execution_timeout = 300
nb_execution_in_temp = True
nb_execution_show_tb = True
nb_output_stderr = "remove"  # notes of other packages on this machine
nb_merge_streams = True
nb_render_markdown_format = "gfm"  # which has tables

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_type_aliases = {"ArrayLike": "ArrayLike", "Layers": "Layers"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "code"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
copybutton_prompt_text = r">>> |\$ "
copybutton_prompt_is_regexp = True

nitpicky = True
nitpick_ignore_regex = [("py:class", ".*"), ("py:obj", r"typing\..*")]  # types in signatures have no entries


def setup(app: Sphinx) -> None:
    """Connect what the extensions leave open."""
    app.connect("autodoc-process-docstring", write_as_rest)
    app.connect("env-check-consistency", check_public_names)
    app.connect("build-finished", copy_mathjax)


def write_as_rest(_app: Sphinx, what: str, _name: str, _value: object, _options: object, lines: list[str]) -> None:
    """Change what Markdown a docstring holds, formulas between dollars, to what Sphinx reads."""
    text = "\n".join(lines)
    # Napoleon takes what stands before the first colon of what is returned for its type, which ours do not name.
    if kind := re.search(r"\n:rtype: (.*)", text):
        text = text.replace(kind[0], "").replace(":returns: ", f":returns: {kind[1]}: ", 1)
    if what == "attribute" and (kind := re.search(r"\n:type: (.*)", text)):
        text = f"{kind[1]}: {text.replace(kind[0], '')}"
    text = re.sub(
        r"^( *)\$\$(.+?)\$\$",
        lambda found: f"{found[1]}.. math::\n\n{found[1]}   {' '.join(found[2].split())}\n",
        text,
        flags=re.DOTALL | re.MULTILINE,
    )
    text = re.sub(r"(?<![\w$`])\$([^$\n`]+)\$(?![\w$])", r":math:`\1`", text)
    lines[:] = text.split("\n")


def check_public_names(_app: Sphinx, env: object) -> None:
    """Warn, and so fail the build, where a public name has no entry or its entry says nothing."""
    entries = env.get_domain("py").objects  # type: ignore[attr-defined]
    for name in safr.__all__:
        if f"safr.{name}" not in entries or not getattr(safr, name).__doc__:
            logging.getLogger(__name__).warning("safr.%s has no entry in the reference", name)


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Put MathJax's one file beside the pages."""
    places = (Path(place) for place in sys.path)
    package = next(place / "sphinx-mathjax-offline" for place in places if (place / "sphinx-mathjax-offline").is_dir())
    if error is None:
        shutil.copy(package / "static" / "mathjax" / MATHJAX, Path(app.outdir) / "_static" / MATHJAX)
