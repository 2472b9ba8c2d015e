"""How Sphinx builds the documentation: ``make docs``."""

from importlib.metadata import version as version_of

project = "Understudy"
author = "The Understudy authors"
project_copyright = author
release = version = version_of("understudy")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
root_doc = "index"

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "Understudy"
html_show_sourcelink = False
html_show_copyright = False
