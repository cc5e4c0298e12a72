"""What a checkpoint's name and its own configuration tell of what no tensor tells."""

import re
from typing import Any, NamedTuple


class Hint(NamedTuple):
    """The value of a layout's option, and where it is from."""

    value: Any
    source: str


FORMS = {"dot_product": "dot_product", "embedded_gaussian": "non_local", "softmax": "non_local"}
IN_NAMES = (
    (re.compile(r"dot[-_ ]?prod(?:uct)?", re.IGNORECASE), "dot_product"),
    (re.compile(r"embedded[-_ ]?gauss", re.IGNORECASE), "non_local"),
)
IN_CONFIGURATIONS = re.compile(
    r"""(?:mode|instantiation|nltype|nl_type)['"]?\s*[=:]\s*['"]?(dot_product|embedded_gaussian|softmax)\b""",
    re.IGNORECASE,
)
SCALE = re.compile(r"""use_scale['"]?\s*[=:]\s*['"]?(True|False)""", re.IGNORECASE)
TEMPERATURE = re.compile(r"""temperature['"]?\s*[=:]\s*['"]?(\d*\.?\d+(?:e-?\d+)?)""")
THREE = r"""['"]?\s*[=:]\s*[\[(]\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*[\])]"""
MEAN = re.compile(rf"\bmean{THREE}")
STD = re.compile(rf"\bstd{THREE}")


BLUE_FIRST = re.compile(r"to_rgb[\'\"]?\s*[=:]\s*False")


def hints(name: str, about: str) -> dict[str, Hint]:
    """Return options of layouts that a file's name or what it says about itself tell.

    Where a configuration says two things, it tells nothing.

    Args:
        name: The file's name.
        about: What the file says about its training, as text.
    """
    found: dict[str, Hint] = {}
    forms = {FORMS[form.lower()] for form in IN_CONFIGURATIONS.findall(about)}
    if len(forms) == 1:
        found["form"] = Hint(forms.pop(), "its configuration")
    for text, source in ((name, "the file's name"), (about, "its metadata")):
        forms = {form for pattern, form in IN_NAMES if pattern.search(text)}
        if len(forms) == 1:
            found.setdefault("form", Hint(forms.pop(), source))
    scales = set(SCALE.findall(about))
    if len(scales) == 1:
        found["use_scale"] = Hint(scales.pop().lower() == "true", "its configuration")
    temperatures = {float(each) for each in TEMPERATURE.findall(about)}
    if len(temperatures) == 1:
        found["temperature"] = Hint(temperatures.pop(), "its configuration")
    for option, pattern in (("mean", MEAN), ("std", STD)):
        if BLUE_FIRST.search(about):  # in which order both are is another question then
            break
        triples = {tuple(float(each) for each in triple) for triple in pattern.findall(about)}
        if len(triples) == 1:
            triple = triples.pop()
            of_255 = 255 if max(triple) > 2 else 1
            found[option] = Hint(tuple(each / of_255 for each in triple), "its configuration")
    return found
