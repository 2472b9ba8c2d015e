"""How Sphinx builds the documentation: ``make docs``."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Understudy"
author = "The Understudy authors"
project_copyright = author
release = version = version_of("understudy")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
root_doc = "index"

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
maximum_signature_line_length = 88

html_theme = "furo"
html_title = "Understudy"
html_static_path = ["_static"]
html_css_files = ["understudy.css"]
html_show_sourcelink = False
html_show_copyright = False


def name_the_clock(
    _app: Sphinx,
    _what: str,
    _name: str,
    _object: object,
    _options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """Default values are shown as they are, and a built-in function has no other text."""
    if signature is not None:
        signature = signature.replace("=<built-in function time>", " = time.time")
    return signature, returned


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", name_the_clock)
