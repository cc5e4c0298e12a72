"""What is exchanged in mutants: one operator, number or word, in Python and in JavaScript."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

OPERATORS: dict[type[ast.AST], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "/",
    ast.Mod: "//",
    ast.Pow: "*",
    ast.MatMult: "*",
    ast.And: "or",
    ast.Or: "and",
}
"""An operator of Python -> what takes its place."""

WORDS = {"min": "max", "max": "min", "any": "all", "all": "any", "argmax": "argmin"}
"""A function -> what takes its place; tensors have them as methods."""

TOLERANCE = 0.01
"""A number below is one; it becomes so large that nothing is refused by it."""

IN_JAVASCRIPT = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "===": "!==",
    "!==": "===",
    "+": "-",
    "-": "+",
    "*": "/",
    "/": "*",
    "%": "*",
    "&&": "||",
    "||": "&&",
    "Math.min": "Math.max",
    "Math.max": "Math.min",
    "Math.floor": "Math.ceil",
    "Math.round": "Math.floor",
    "true": "false",
    "false": "true",
}
"""A piece of JavaScript, as the formatter writes it -> what takes its place."""

PIECE = re.compile(
    r"(?P<skipped>/\*.*?\*/|//[^\n]*|`(?:\\.|[^`\\])*`|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    r"|(?P<between>(?<= )(?:<=|>=|===|!==|&&|\|\||[<>+*/%-])(?= ))"
    r"|(?P<word>\bMath\.(?:min|max|floor|round)\b|\b(?:true|false)\b)"
    r"|(?P<number>(?<![\w.$])\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.]))",
    re.DOTALL,
)


At = Callable[[int, int], int]
"""From a line and a column to a place among the bytes of a file."""

Exchange = tuple[ast.AST, str, str, int, int]
"""Where, what, what instead, and from which byte to which."""


@dataclass(frozen=True)
class Mutant:
    """A file with one thing exchanged.

    Attributes:
        path: Of the file.
        line: Where it is.
        what: Before, after, and the line.
        text: Of the whole file.
        lines: Whoever runs one of them meets it.
        constant: The name of a number of the module, if it is that, and the other number.
    """

    path: Path
    line: int
    what: str
    text: str
    lines: tuple[int, ...]
    constant: tuple[str, float] | None = None


def python_mutants(path: Path) -> list[Mutant]:
    """Return all mutants of the functions of a file, and of its numbers that have a name.

    Annotations and what is said in errors are left as they are.
    """
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def at(line: int, column: int) -> int:
        return starts[line - 1] + column

    found = []
    for node, before, after, begin, end in _in_functions(ast.parse(source), source, at):
        text = source[:begin] + after.encode() + source[end:]
        what = f"{before} -> {after} in {_line(source, begin)}"
        found.append(Mutant(path, node.lineno, what, text.decode(), (node.lineno,)))
    return found + _named(path, source.decode())


def _named(path: Path, source: str) -> list[Mutant]:
    """Return the mutants of numbers that have a name in a module: who reads the name meets them."""
    tree, found = ast.parse(source), []
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name, value = node.targets[0].id, node.value
        if isinstance(value, ast.Constant) and type(value.value) in (int, float):
            readers = tuple(
                other.lineno
                for other in ast.walk(tree)
                if isinstance(other, ast.Name) and other.id == name and other is not node.targets[0]
            )
            after = _changed(value.value)
            what = f"{value.value!r} -> {after} in {ast.unparse(node)}"
            mutant = Mutant(path, node.lineno, what, source, readers, (name, float(after)))
            found.append(mutant)
    return found


def javascript_mutants(path: Path) -> list[Mutant]:
    """Return all mutants of a module, comments and texts left as they are."""
    source = path.read_text(encoding="utf-8")
    found = []
    for match in PIECE.finditer(source):
        if match["skipped"] is not None:
            continue
        before = match[0]
        after = _other_number(before) if match["number"] else IN_JAVASCRIPT[before]
        text = source[: match.start()] + after + source[match.end() :]
        line = source.count("\n", 0, match.start()) + 1
        what = f"{before} -> {after} in {source.splitlines()[line - 1].strip()}"
        found.append(Mutant(path, line, what, text, (line,)))
    return found


def _line(source: bytes, at: int) -> str:
    begin = source.rfind(b"\n", 0, at) + 1
    end = source.find(b"\n", at)
    return source[begin : end if end >= 0 else len(source)].decode().strip()


def _other_number(text: str) -> str:
    value = float(text)
    if 0 < value < TOLERANCE:
        return "0.1"
    return repr(value + 1) if set(text) & set(".e") else str(int(text) + 1)


def _in_functions(tree: ast.AST, source: bytes, at: At) -> Iterator[Exchange]:
    """Yield (node, before, after, begin, end) of what can be exchanged within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            outer = [other for other in ast.walk(node) if other is not node]
            nested = {
                id(inner)
                for other in outer
                if isinstance(other, ast.FunctionDef | ast.AsyncFunctionDef)
                for inner in ast.walk(other)
            }
            for statement in node.body:
                yield from _within(statement, source, at, nested)


def _within(node: ast.AST, source: bytes, at: At, nested: set[int]) -> Iterator[Exchange]:
    if id(node) in nested or isinstance(node, ast.Raise | ast.JoinedStr | ast.ClassDef):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    yield from _exchanged(node, source, at)
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _within(child, source, at, nested)


def _exchanged(node: ast.AST, source: bytes, at: At) -> Iterator[Exchange]:
    pairs: list[tuple[ast.expr, ast.AST, ast.expr]] = []
    if isinstance(node, ast.Compare):
        pairs = list(zip([node.left, *node.comparators], node.ops, node.comparators, strict=False))
    elif isinstance(node, ast.BinOp):
        pairs = [(node.left, node.op, node.right)]
    elif isinstance(node, ast.BoolOp) and len(node.values) == 2:  # of more, one binds otherwise
        pairs = [(node.values[0], node.op, node.values[1])]
    for left, operator, right in pairs:
        after = OPERATORS.get(type(operator))
        begin, end = at(left.end_lineno, left.end_col_offset), at(right.lineno, right.col_offset)
        between = source[begin:end].decode()
        core = between.strip(" ()\n")
        if after is not None and core and "#" not in between:
            start = begin + len(between[: between.index(core)].encode())
            yield left, core, after, start, start + len(core.encode())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        begin = at(node.lineno, node.col_offset)
        yield node, "not", "", begin, begin + 3
    if isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
        begin = at(node.lineno, node.col_offset)
        end = at(node.end_lineno, node.end_col_offset)
        before = source[begin:end].decode()
        after = str(not node.value) if isinstance(node.value, bool) else _changed(node.value)
        yield node, before, after, begin, end
    if isinstance(node, ast.Call):
        function = node.func
        name = getattr(function, "attr", getattr(function, "id", None))
        if name in WORDS:
            end = at(function.end_lineno, function.end_col_offset)
            yield function, name, WORDS[name], end - len(name), end


def _changed(value: float) -> str:
    if isinstance(value, float) and 0 < value < TOLERANCE:
        return "0.1"
    return repr(value + 1)
