"""How the documentation is built: `make docs`, offline, to docs/_build/html/index.html.

Sphinx, since it alone reads signatures and docstrings from the imported package (descriptors,
dataclasses and inherited docstrings included), with Markdown pages through MyST and the notebooks
of colabs/ with the outputs that are stored in them. Formulas become MathML here, which browsers
draw without scripts, fonts or a network.
"""

import re
import shutil
from pathlib import Path

from eqattn._version import __version__

HERE = Path(__file__).parent

project = "eqattn"
author = "the eqattn developers"
release = version = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb"]
exclude_patterns = ["_build", "README.md"]
html_theme = "furo"
html_title = f"eqattn {__version__}"
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks show what `make notebooks-store` stored

smartquotes_action = "De"  # H' is no quotation
default_role = "py:obj"  # single backticks in docstrings
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes have entries of their own
napoleon_attr_annotations = False  # shapes such as "*B N" are no markup
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}

OF_BUILTINS = {kind.__doc__.splitlines()[0] for kind in (bool, int, float, str, tuple, dict)}


def render_formula(translator, node):
    """Writes a formula as MathML."""
    from docutils import nodes
    from docutils.utils.math import latex2mathml

    is_block = isinstance(node, nodes.math_block)
    formula = latex2mathml.tex2mathml(node.astext(), as_block=is_block)
    translator.body.append(f"<div>{formula}</div>" if is_block else formula)
    raise nodes.SkipNode


def escape_marks(app, what, name, obj, options, lines):
    """Escapes what docstrings mean as it stands: shapes such as [*B N], and norms |x|."""
    in_example = False
    if lines and lines[0] in OF_BUILTINS:
        lines.clear()  # where a value has no docstring of its own
    elif what in ("attribute", "property", "data"):
        lines.insert(0, r"\ ")  # nothing, in which napoleon finds no colon with a type before it
    for place, line in enumerate(lines):
        in_example = bool(line.strip()) and (in_example or line.lstrip().startswith(">>>"))
        if not in_example:
            parts = re.split(r"(``.*?``|`.*?`)", line)
            parts[::2] = [re.sub(r"(?<!\\)([*|])(?! )", r"\\\1", part) for part in parts[::2]]
            lines[place] = "".join(parts)


def point_to_notebooks(app, name, source):
    """Lets links to the notebooks of the repository lead to their pages here, and back."""
    source[0] = source[0].replace("](../colabs/", "](notebooks/").replace("](../docs/", "](../")


def setup(app):
    """Registers the renderer, and puts the notebooks where Sphinx looks for pages."""
    app.add_html_math_renderer(
        "mathml", inline_renderers=(render_formula, None), block_renderers=(render_formula, None)
    )
    app.connect("autodoc-process-docstring", escape_marks, priority=400)  # before napoleon
    app.connect("source-read", point_to_notebooks)
    for notebook in (HERE.parent / "colabs").glob("*.ipynb"):
        (HERE / "notebooks").mkdir(exist_ok=True)
        shutil.copyfile(notebook, HERE / "notebooks" / notebook.name)
