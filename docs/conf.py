"""How Sphinx builds the site: `make docs`.

Nothing is fetched, neither here nor by whoever reads the pages: formulae become MathML, which
browsers draw by themselves, and fonts are the reader's own.
"""

import sys
from pathlib import Path

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from docs import from_code  # noqa: E402  (needs the path)

project = "Nonlocal Lens"
author = "the authors of Nonlocal Lens"
copyright = "the authors of Nonlocal Lens"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
nitpicky = False

html_theme = "furo"
html_title = "Nonlocal Lens"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_theme_options = {"source_view_link": ""}

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]  # the viewer: the still picture stands beside it

# `make docs` runs the notebooks that changed since the last time; tests only lay out their text.
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # by default, scripts from elsewhere
nb_mime_priority_overrides = [
    ("html", "application/vnd.jupyter.widget-view+json", None),  # needs a kernel
]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are documented by autodoc, too
default_role = "code"  # docstrings are plain text with `names` in it


def setup(app: Sphinx) -> ExtensionMetadata:
    """Write the generated pages, and let formulae become MathML."""
    app.connect("builder-inited", lambda app: from_code.write(Path(app.srcdir) / "generated"))
    app.connect("autodoc-process-docstring", _tables)
    app.add_html_math_renderer(
        "mathml", inline_renderers=(_inline, None), block_renderers=(_block, None)
    )
    return {"parallel_read_safe": True}


html_math_renderer = "mathml"


def _tables(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Turn tables as they stand in docstrings, with bars, into reStructuredText's."""
    found, table = [], False
    for line in lines:
        row = line.strip()
        if not (row.startswith("|") and row.endswith("|")):
            found += ["", line] if table else [line]
            table = False
            continue
        indent = line[: len(line) - len(line.lstrip())]
        if not table:
            found += ["", f"{indent}.. list-table::", f"{indent}   :header-rows: 1", ""]
            table = True
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if set("".join(cells)) == {"-"}:
            continue
        found += [
            f"{indent}   {'* -' if place == 0 else '  -'} {cell}"
            for place, cell in enumerate(cells)
        ]
    lines[:] = found


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(latex2mathml.converter.convert(node.astext(), display="block"))
    raise nodes.SkipNode
