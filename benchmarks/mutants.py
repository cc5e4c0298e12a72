"""Breaks one thing at a time in what computes, and counts what the tests see of it.

    python -m benchmarks.mutants                          # 150 in Python, 50 in JavaScript
    python -m benchmarks.mutants --only terms --python 30 --seed 1

A mutant is this package with one operator, number or word exchanged: in a function of `analysis`,
or in a module of the viewer that computes without a page. A sample of all mutants is drawn by a
seed. Each is met by the tests that run its line (found once, and kept in a file), in a process of
its own with a limit of time, in a copy of the checkout; it is killed when one of them fails.
Mutants that mean the same are not told apart: they count as survivors.

Tools that do this for any package (mutmut, cosmic-ray) know neither rooms that lie beside their
package nor JavaScript, and start a process that imports torch for every mutant: this one forks.
"""

import gc
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FunctionType
from typing import Annotated, Any

import typer

from benchmarks.mutations import Mutant, javascript_mutants, python_mutants

ROOT = Path(__file__).parents[1]
ROOMS = ("streets", "models", "analysis", "app")
KEPT = ROOT / ".mutants.json"
"""Which tests run which line, by test file; a file that changed is looked at anew."""

PURE = ("axis", "buffer", "color", "forms", "geometry", "attention", "over_time", "charts")
"""Modules of the viewer that compute without a page."""

IN_BROWSER = (
    "test_colorize.py",
    "test_viewer_pure.py",
    "test_viewer.py",
    "test_viewer_looks.py",
    "test_viewer_tokens.py",
    "test_viewer_queries.py",
    "test_viewer_token_queries.py",
    "test_viewer_saving.py",
)
"""Tests of the viewer, those of its values first; without those that start the app."""

OUTCOMES = {0: "survived", 1: "killed", 2: "not tried"}
"""By the status that a process ends with; a signal ends it, too, where a mutant breaks memory."""

PATIENCE = 8_000  # milliseconds: of a page that a mutant broke

QUIET = (
    "-q",
    "-x",
    "--no-header",
    "-p",
    "no:cacheprovider",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)
DAILY = ("-m", "not slow and not browser")
OURS = "NONLOCAL_LENS_MUTANTS"  # set in the process that works in the copy


def main(
    python: Annotated[int, typer.Option(help="How many mutants of analysis.")] = 150,
    javascript: Annotated[int, typer.Option(help="How many of the viewer.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    only: Annotated[str, typer.Option(help="Modules whose path has this in it.")] = "",
    seconds: Annotated[float, typer.Option(help="That a mutant may run for.")] = 300,
    files: Annotated[int, typer.Option(help="Test files that a module is held to.")] = 12,
) -> None:
    """Make mutants, run the tests that run their lines, and say which are still alive."""
    if OURS not in os.environ:
        in_a_copy()
    prepare()
    draws = random.Random(seed)
    sources = {
        "Python": (python, sorted((ROOT / "analysis").rglob("*.py")), python_mutants),
        "JavaScript": (
            javascript,
            [ROOT / "app" / "viewer" / f"{name}.js" for name in PURE],
            javascript_mutants,
        ),
    }
    for language, (count, paths, mutants_of) in sources.items():
        chosen = [path for path in paths if only in str(path.relative_to(ROOT))]
        every = [mutant for path in chosen for mutant in mutants_of(path)]
        sample = draws.sample(every, min(count, len(every)))
        if not sample:
            continue
        tests = of_lines(sample, files) if language == "Python" else in_browser(sample)
        begun, killed, slow, unseen = time.monotonic(), 0, 0, 0
        for number, (mutant, named) in enumerate(zip(sample, tests, strict=True), 1):
            outcome = met(mutant, named, seconds) if named else "run by no test"
            killed += outcome in ("killed", "too slow")
            slow += outcome == "too slow"
            unseen += outcome == "run by no test"
            where = f"{mutant.path.relative_to(ROOT)}:{mutant.line}"
            print(f"{number}/{len(sample)} {outcome}: {where}: {mutant.what}", flush=True)
        print(
            f"{language}: {killed} of {len(sample)} killed ({killed / len(sample):.0%}; {slow} by "
            f"running too long), {unseen} of the others on lines that no test runs; sampled of "
            f"{len(every)} with seed {seed}, {(time.monotonic() - begun) / 60:.0f} minutes",
            flush=True,
        )


# ---------------------------------------------------------------- a copy to work in


def in_a_copy() -> None:
    """Go on in a copy of the checkout, which what imports the package finds first; then end."""
    with TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder) / "checkout"
        leave = shutil.ignore_patterns(
            ".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "node_modules", "runs"
        )
        shutil.copytree(ROOT, copy, ignore=leave, symlinks=True)
        for room in ROOMS:
            (copy / "nonlocal_lens" / room).symlink_to(copy / room)
        if KEPT.exists():
            shutil.copy(KEPT, copy)
        paths = os.pathsep.join((str(copy), str(copy / "tests")))
        environment = {**os.environ, "PYTHONPATH": paths, OURS: "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "benchmarks.mutants", *sys.argv[1:]]
        status = os.waitstatus_to_exitcode(os.waitpid(_started(command, copy, environment), 0)[1])
        if (copy / KEPT.name).exists():
            shutil.copy(copy / KEPT.name, KEPT)
    raise typer.Exit(status)


def _started(command: list[str], folder: Path, environment: dict[str, str]) -> int:
    process = os.fork()
    if not process:
        os.chdir(folder)
        os.execve(command[0], command, environment)
    return process


# ---------------------------------------------------------------- which tests run a line


def of_lines(sample: Sequence[Mutant], files: int) -> Iterator[list[str]]:
    """Yield, for every mutant, the tests that run its line, quick ones first."""
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for mutant in sample:
        near = nearest(mutant.path, files)
        for name in near:
            stamp = (ROOT / "tests" / name).stat().st_mtime
            if name not in kept or kept[name]["stamp"] != stamp:
                seen = in_a_process(lambda name=name: watched(name))
                kept[name] = {"stamp": stamp, "tests": seen or {}}
                KEPT.write_text(json.dumps(kept))
        keys = {f"{mutant.path.relative_to(ROOT)}:{line}" for line in mutant.lines}
        tests = [
            (taken, test)
            for name in near
            for test, (taken, lines) in kept[name]["tests"].items()
            if keys & set(lines)
        ]
        yield [test for _, test in sorted(tests)]


def in_browser(sample: Sequence[Mutant]) -> Iterator[list[str]]:
    """Yield the tests that run the viewer: its modules are one text, whatever a test asks."""
    tests = [f"tests/{name}" for name in IN_BROWSER]
    whole = sample[0].path.read_text(encoding="utf-8")
    if met(replace(sample[0], text=whole), tests, 3600) != "survived":
        raise SystemExit("the tests of the viewer fail without a mutant")
    for _ in sample:
        yield tests


def prepare() -> None:
    """Import what tests import, checked as in the tests: mutants fork from here."""
    from annotations import check_annotations

    check_annotations(["nonlocal_lens.models", "nonlocal_lens.analysis"])
    for path in sorted((ROOT / "analysis").rglob("*.py")):
        if path.stem != "__main__":
            import_module(_module(path))


def _code_of(path: Path) -> Path:
    """Return where the package finds a file of the checkout: by a link."""
    package = import_module("nonlocal_lens").__file__
    assert package is not None
    return Path(package).parent / path.relative_to(ROOT)


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("nonlocal_lens", *parts)).removesuffix(".__init__")


def nearest(path: Path, files: int) -> list[str]:
    """Return the test files that name a module, its package in their name, or what imports it."""
    words = [_module(path).removeprefix("nonlocal_lens.")]
    importers = [
        _module(other).removeprefix("nonlocal_lens.")
        for other in sorted((ROOT / "analysis").rglob("*.py"))
        if other != path and _names(other.read_text(encoding="utf-8"), words[0])
    ]
    texts = {test.name: test.read_text("utf-8") for test in sorted((ROOT / "tests").glob("test_*"))}
    found: list[str] = []
    for word in (*words, *importers):
        stem = word.rpartition(".")[2]
        naming = [name for name in texts if name not in found and _names(texts[name], word)]
        found += sorted(naming, key=lambda name: (stem not in name, -texts[name].count(stem)))
        if word == words[0] and "." in word:
            package = f"test_{word.partition('.')[0].removesuffix('s')}"
            found += [name for name in texts if name.startswith(package) and name not in found]
    return found[:files]


def _names(text: str, module: str) -> bool:
    package, _, name = module.rpartition(".")
    package = f"nonlocal_lens.{package}"
    return f"from {package}.{name} import" in text or any(
        name in line.replace(",", " ").split()
        for line in text.splitlines()
        if line.startswith(f"from {package} import")
    )


def watched(name: str) -> dict[str, tuple[float, list[str]]]:
    """Run a test file; return for each test its seconds and the lines of `analysis` it ran.

    What is set up for several tests counts for all of the file.
    """
    import pytest

    code = _code_of(ROOT / "analysis")
    within = str(code) + os.sep
    lines: dict[tuple[str, int], None] = {}

    def enters(frame: Any, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(within):
            return None
        file = frame.f_code.co_filename
        return lambda frame, event, argument: _noted(lines, file, frame, event)

    found: dict[str, tuple[float, list[str]]] = {}
    shared: set[str] = set()

    class Watch:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_setup(self, item: Any) -> Any:
            with tracing(enters, lines, shared.update, code):
                return (yield)

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(self, item: Any) -> Any:
            begun, own = time.perf_counter(), set()
            with tracing(enters, lines, own.update, code):
                result = yield
            found[item.nodeid] = (time.perf_counter() - begun, sorted(own))
            return result

    arguments = [f"tests/{name}", *(flag for flag in QUIET if flag != "-x"), *DAILY]
    pytest.main(arguments, plugins=[Watch()])
    return {test: (taken, sorted(shared | set(own))) for test, (taken, own) in found.items()}


def _noted(lines: dict[tuple[str, int], None], file: str, frame: Any, event: str) -> Any:
    def noting(frame: Any, event: str, argument: Any) -> Any:
        lines[file, frame.f_lineno] = None
        return noting

    return noting(frame, event, None)


@contextmanager
def tracing(
    enters: Callable[..., Any],
    lines: dict[tuple[str, int], None],
    keep: Callable[[Any], None],
    code: Path,
) -> Iterator[None]:
    """Trace what runs until the `with` ends, then keep the lines as texts."""
    lines.clear()
    sys.settrace(enters)
    try:
        yield
    finally:
        sys.settrace(None)
        keep(f"analysis/{Path(file).relative_to(code)}:{line}" for file, line in lines)


# ---------------------------------------------------------------- a mutant and its tests


def met(mutant: Mutant, tests: Sequence[str], seconds: float) -> str:
    """Return what became of a mutant that its tests met."""
    whole = mutant.path.read_text(encoding="utf-8")
    mutant.path.write_text(mutant.text, encoding="utf-8")
    try:
        process = os.fork()
        if not process:
            ended = 2
            try:
                os.setsid()
                _silently()
                ended = _failed(mutant, tests)
            finally:
                os._exit(ended)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return OUTCOMES.get(os.waitstatus_to_exitcode(status), "killed")
            time.sleep(0.02)
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        return "too slow"
    finally:
        mutant.path.write_text(whole, encoding="utf-8")


def _failed(mutant: Mutant, tests: Sequence[str]) -> int:
    import pytest

    if mutant.path.suffix == ".py":
        exchange(mutant)
    else:
        import_module("browser").PATIENCE = PATIENCE
    status = int(pytest.main([*tests, *QUIET]))
    return (
        2
        if status in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED)
        else int(status != 0)
    )


def exchange(mutant: Mutant) -> None:
    """Give the functions that are loaded from a file the code that they have in a mutant."""
    if mutant.constant is not None:
        _rename(mutant)
        return
    codes = {(code.co_qualname, code.co_firstlineno): code for code in _codes(mutant)}
    name = str(_code_of(mutant.path))
    for function in [one for one in gc.get_objects() if isinstance(one, FunctionType)]:
        code = function.__code__
        if code.co_filename == name:
            new = codes.get((code.co_qualname, code.co_firstlineno))
            if new is not None and new.co_freevars == code.co_freevars:
                function.__code__ = new


def _rename(mutant: Mutant) -> None:
    """Give a name of a module its other number, wherever it was imported to or is a default."""
    assert mutant.constant is not None
    name, number = mutant.constant
    old = getattr(sys.modules[_module(mutant.path)], name)
    number = type(old)(number)
    for module in list(sys.modules.values()):
        if vars(module).get(name) is old:
            setattr(module, name, number)
    for function in [one for one in gc.get_objects() if isinstance(one, FunctionType)]:
        if function.__module__ and function.__module__.startswith("nonlocal_lens."):
            defaults = function.__defaults__ or ()
            if type(old) is float and any(one is old for one in defaults):
                function.__defaults__ = tuple(number if one is old else one for one in defaults)
            for key, value in (function.__kwdefaults__ or {}).items():
                if value is old and type(old) is float:
                    function.__kwdefaults__[key] = number


def _codes(mutant: Mutant) -> Iterator[CodeType]:
    waiting = [compile(mutant.text, str(mutant.path), "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        waiting += [one for one in code.co_consts if isinstance(one, CodeType)]
        yield code


def in_a_process(function: Callable[[], Any]) -> Any:
    """Return what a function returns in a fork of this process; None if it ended otherwise."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.close(reading)
        _silently()
        with open(writing, "w") as sink:  # noqa: PTH123
            json.dump(function(), sink)
        os._exit(0)
    os.close(writing)
    with open(reading) as source:  # noqa: PTH123
        text = source.read()
    os.waitpid(process, 0)
    return json.loads(text) if text else None


def _silently() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)


if __name__ == "__main__":
    typer.run(main)
