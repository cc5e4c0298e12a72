"""Plain ES modules as one text: hosts and strict pages take a single script."""

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from nonlocal_lens.app.viewer.template import template

HERE = Path(__file__).parent

VIEWER = tuple(
    HERE / name
    for name in (
        "buffer.js",
        "geometry.js",
        "axis.js",
        "forms.js",
        "attention.js",
        "over_time.js",
        "color.js",
        "elements.js",
        "charts.js",
        "marks.js",
        "panel.js",
        "icons.js",
        "settings.json",
        "controls.js",
        "query_list.js",
        "help.js",
        "figure.js",
        "save_record.js",
        "selection.js",
        "camera.js",
        "pointer.js",
        "keyboard.js",
        "choices.js",
        "readout.js",
        "stages.js",
        "saving.js",
        "timeline.js",
        "tokens.js",
        "keys.js",
        "dependence.js",
        "color_bar.js",
        "viewer.js",
    )
)
"""The viewer, in an order in which each module imports from earlier ones only."""

IMPORT = re.compile(
    r'^import (?:\{[^}]*\} from "(\.[\w./-]+\.js)"|[A-Z]+ from "(\.[\w./-]+\.json)");\n',
    re.MULTILINE,
)
DECLARATION = re.compile(
    r"^(?:export )?(?:async )?(?:const|let|var|class|function\*?) (\w+)", re.MULTILINE
)


def joined(modules: Sequence[Path]) -> str:
    """Return modules as the text of one: imports go, for what they name is in the same scope.

    A JSON file is a module that exports its contents by its name in capitals.

    Raises:
        ValueError: One imports from a module that does not come before it, imports in another way
            than `import { names } from "./file.js";`, or declares a name that another has.
    """
    texts: list[str] = []
    declared: dict[str, str] = {}
    before: set[Path] = set()
    for path in modules:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            text = f"export const {path.stem.upper()} = {text.strip()};\n"
        for source in ("".join(found) for found in IMPORT.findall(text)):
            if (path.parent / source).resolve() not in before:
                raise ValueError(
                    f"{path.name} must import from earlier modules only, got {source!r}"
                )
        text = IMPORT.sub("", text)
        left = re.search(r"^(import\b|export\s*[{*]).*", text, re.MULTILINE)
        if left:
            raise ValueError(
                f'{path.name} must import as `import {{ names }} from "./file.js";`, '
                f"got {left[0]!r}"
            )
        for declaration in DECLARATION.findall(text):
            if declaration in declared:
                raise ValueError(
                    f"modules that become one must not share names: {declaration!r} is declared "
                    f"by {declared[declaration]} and by {path.name}"
                )
            declared[declaration] = path.name
        texts.append(text)
        before.add(path.resolve())
    return "\n".join(texts)


@cache
def page_template() -> str:
    """Return the page of its own that the viewer is saved as, see template.py."""
    return template(joined((*VIEWER, HERE / "standalone.js")), viewer_css())


@cache
def viewer_js(*host: Path) -> str:
    """Return the viewer and a host's modules (Streamlit's) as one, with the page it can save."""
    host = host or (HERE / "streamlit.js",)
    page = json.dumps(page_template()).replace("</", r"<\/")
    return f"const STANDALONE_PAGE = {page};\n{joined((*VIEWER, *host))}"


@cache
def viewer_css() -> str:
    """Return the viewer's style."""
    return "".join(
        (HERE / name).read_text(encoding="utf-8") for name in ("viewer.css", "timeline.css")
    )
