"""Files of options, in YAML and TOML, that are no options or take hours to read."""

from collections.abc import Iterator


def option_files() -> Iterator[tuple[str, str]]:
    """Yield names of files, and what is in them."""
    inner = ", ".join(
        ["&a0 [x, x, x, x, x, x, x, x, x]"]
        + [f"&a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    )
    files = {
        "aliases": f"layout: [{inner}]\n",
        "nested": "style: " + "[" * 3000 + "]" * 3000,
        "braces": "style: " + "{a: " * 3000 + "}" * 3000,
        "itself": "inputs: &a [*a]\n",
        "merges": "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nc: {<<: [*b, *b, *b]}\n",
        "python": "inputs: !!python/object/apply:os.system ['true']\n",
        "binary": "\x00\x01",
        "words": "just words",
        "list": "[1, 2, 3]",
        "number_keys": "1: 2\n",
        "many": "inputs:\n" + "- a\n" * 30_000,
        "large": "inputs: " + "a" * 2_000_000,
        "figures": "figures: 3\n",
        "many_figures": "figures:\n" + "- {}\n" * 2000,
        "tab": "inputs:\n\t- a\n",
        "base_60": "dpi: 1" + ":1" * 400_000,
        "number": "dpi: 0x" + "f" * 900_000,
        "figure_without_name": "figures:\n- {? : 1}\n",
        "terminal": 'layout: "\\e]0;mine\\a"\n',
        "date": "inputs: 2020-01-01\nnetworks: streets-nl\n",
    }
    for name, value in {
        "dpi": (".inf", ".nan", "[1]", "{a: 1}", "-1", "1e999", "true", "9" * 400),
        "width_in": (".inf", ".nan", "[1, 2]", "0", "x"),
        "opacity": (".inf", "[]", "2"),
        "arrows": (".inf", "-.inf", "1.5"),
        "layout": ("[grid]", "3", "{a: b}", "x" * 5000),
        "style": ("[a, b]", ".inf"),
        "terms": ("{a: 1}", "[[whole]]", "[1.5]", "x"),
        "formats": ("[[png]]", "exe", "true"),
        "inputs": ("{a: 1}", "[[a]]", "[{}]", "rendered:0-300000000", "nowhere"),
        "queries": ("[grid:999999x999999]", "auto:99999", "[1e999,2]", "['nan,nan']", "cell:x"),
        "networks": ("[[a]]", "{a: b}", "x" * 70_000),
        "head": (".inf", "-1", "[0]"),
        "frames": (".inf", "0", "10000000"),
        "stride": ("0", ".nan"),
        "caption": ("[true]", "maybe"),
        "font": ("[a]",),
        "scale": ("[a]", "fixed:1", "fixed:nan,inf"),
        "colormap": ("[viridis]", "nonsense"),
        "void": ("[0]", "0-999999999", "x"),
        "unknown": ("1",),
        "y" * 5000: ("1",),
    }.items():
        for number, text in enumerate(value):
            start = "inputs: [samples:coffee]\nnetworks: [streets-nl]\n"
            kept = "".join(
                line + "\n" for line in start.splitlines() if not line.startswith(f"{name}:")
            )
            files[f"{name[:20]}_{number}"] = f"{kept}{name}: {text}\n"
    queries = "\n".join(f"- {n},{n}" for n in range(20_000))
    files["queries"] = f"inputs: [samples:coffee]\nnetworks: [streets-nl]\nqueries:\n{queries}\n"
    for name, text in files.items():
        yield f"{name}.yaml", text
    for name, text in {
        "dotted": "a." * 400_000 + "a = 1\n",
        "dotted_table": "[" + "a." * 400_000 + "a]\n",
        "nested": "a = " + "[" * 3000 + "]" * 3000,
        "tables": "a = " + "{a = " * 1900 + "1" + "}" * 1900,
    }.items():
        yield f"{name}.toml", text
