"""Settings of the documentation: Sphinx with MyST-NB and numpydoc, built by ``make docs``.

Sphinx, because the docstrings are numpydoc's, as librosa's and scikit-learn's are, and it checks
every reference. MyST-NB takes the Markdown of ``docs/`` and the notebooks as they lie. What is
generated goes to ``docs/_generated``: the notebooks' copies, the commands, the list of the API.
"""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent), str(DOCS.parent / "notebooks")]

import generate  # noqa: E402

import spectro  # noqa: E402

generate.all_pages(DOCS)

project = "spectro"
author = "The spectro authors"
version = release = spectro.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["_build", "Thumbs.db", ".DS_Store"]
html_theme = "furo"
html_title = f"spectro {release}"
html_copy_source = False

nb_execution_mode = "off"  # they hold no output; a test runs them
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings tell types, in words
autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_mock_imports: list[str] = []
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False
