"""Text that others wrote, in places where Streamlit reads Markdown."""

import re

SPECIAL = re.compile(r"[\\`*\[\]<$~:&]")


def literal(text: str) -> str:
    """Return Markdown that shows a text as it is: no pictures, formulas, icons or renamed links.

    A picture in a file's name or in somebody's link would be fetched from wherever it says.
    """
    return SPECIAL.sub(r"\\\g<0>", text)
