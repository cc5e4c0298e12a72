"""The settings of the viewer: one schema for toolbar, view, links and what files say.

`settings.json` has an entry for each: its `name` (as in JavaScript), `type`, `default`, and where
it applies `choices`, `low` and `high`; its place on the page (`menu`, `label`, `title`, and `of`,
what must be there for it), what files say of it (`said`), and its parameter in an address (`link`,
with a word in it after a dot). One without a link is not part of a view.
"""

import json
import re
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from nonlocal_lens.analysis.render import DIVERGING_PALETTES, PALETTES

FILE = Path(__file__).with_name("settings.json")

NAMED_CHOICES = {"palettes": PALETTES, "diverging_palettes": DIVERGING_PALETTES}


@dataclass(frozen=True)
class Setting:
    """One setting of the viewer, as Python needs it."""

    name: str  # in Python
    javascript: str
    kind: str  # choice, flag, number or count
    default: Any
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    link: str = ""  # the parameter of an address
    word: str = ""  # of several that share a parameter
    count: str = ""  # of a flag: the setting, in Python, that says how many

    def read(self, value: Any) -> Any:
        """Return a value that somebody gives, or None if it can not be one."""
        if self.kind == "flag":
            return value if isinstance(value, bool) else None
        if self.kind == "choice":
            return value if isinstance(value, str) and value in self.choices else None
        known = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        if not known or not self.low <= value <= self.high:
            return None
        if self.kind == "count":
            return value if isinstance(value, int) else None
        return float(value)


def in_python(name: str) -> str:
    """Return what a setting of JavaScript is called in Python."""
    return re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name)


def _settings() -> dict[str, Setting]:
    settings = {}
    for entry in json.loads(FILE.read_text(encoding="utf-8")):
        choices = entry.get("choices", ())
        link, _, word = entry.get("link", "").partition(".")
        name = in_python(entry["name"])
        settings[name] = Setting(
            name,
            entry["name"],
            entry["type"],
            entry["default"],
            tuple(NAMED_CHOICES[choices] if isinstance(choices, str) else choices),
            entry.get("low", 0.0),
            entry.get("high", 0.0),
            link,
            word,
            in_python(entry.get("count", "")),
        )
    return settings


SETTINGS = _settings()
"""All settings, by their names in Python."""

VIEWED = {
    name: setting
    for name, setting in SETTINGS.items()
    if setting.link or any(name == other.count for other in SETTINGS.values())
}
"""Those that belong to a view; the tool in hand does not."""
