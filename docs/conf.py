"""How Sphinx builds these pages. Nothing is fetched from the network."""

import sys
from pathlib import Path

import tegu

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "Tegu"
author = "the Tegu contributors"
copyright = "the Tegu contributors"
version = release = tegu.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "from_the_code", "mathml"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries = False

html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["tegu.css"]
html_title = f"Tegu {version}"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2f7a46", "color-brand-content": "#2f7a46"},
    "dark_css_variables": {"color-brand-primary": "#7cc48f", "color-brand-content": "#7cc48f"},
}
pygments_style = "friendly"
pygments_dark_style = "monokai"
