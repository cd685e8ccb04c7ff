"""How Sphinx builds these pages: ``make docs``, without network."""

from __future__ import annotations

import sys
from pathlib import Path

import scrapy_capsolver

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "scrapy-capsolver"
author = "the scrapy-capsolver contributors"
version = release = scrapy_capsolver.__version__

extensions = ["sphinx.ext.doctest", "sphinx_copybutton", "reference"]
exclude_patterns = ["_ext"]
default_role = "code"
highlight_language = "none"
nitpicky = True
# Names of other projects, in signatures: there is no inventory of theirs at hand without a network.
nitpick_ignore_regex = [("py:.*", r"(scrapy|twisted)\..*")]

html_theme = "furo"
html_title = "scrapy-capsolver"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_copy_source = False
html_show_copyright = False
# Furo names fonts of the system, and loads none.
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5d8c", "color-brand-content": "#0b5d8c"},
    "dark_css_variables": {"color-brand-primary": "#7cc4ee", "color-brand-content": "#7cc4ee"},
}

# A prompt is not part of the command.
copybutton_prompt_text = "$ "
