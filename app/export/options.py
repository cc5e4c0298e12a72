"""What an export is asked for: one set of options for the shell, YAML files, pages and replay."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from nonlocal_lens.analysis.clips import check_choice
from nonlocal_lens.analysis.figures.look import Look
from nonlocal_lens.analysis.figures.panels import DEFAULT_SHOWN, MAPS, SHOWN, Shown
from nonlocal_lens.analysis.figures.queries import MOST_QUERIES, QuerySpec
from nonlocal_lens.analysis.figures.scales import Scale
from nonlocal_lens.analysis.labels import Void
from nonlocal_lens.app.batch.inputs import is_video
from nonlocal_lens.app.export.declared import OPTIONS
from nonlocal_lens.app.export.formats import DRAWN, FORMATS, MOVIES
from nonlocal_lens.app.uploads import user_message
from nonlocal_lens.models.limits import did_you_mean, shortened
from nonlocal_lens.models.local_files import is_regular

LAYOUTS = {
    "grid": "one figure per input: a row per query, a column per map",
    "stacked": "as grid, the networks below one another: maps are larger",
    "queries": "one figure per query, all of an input on one scale",
    "panels": "every map in a file of its own, and the color bars, to arrange elsewhere",
    "sheet": "one figure for some inputs: a row per input, a column per query",
    "atlas": "all heads of a network on one sheet, a figure for every query",
    "atlas-means": "as atlas, one sheet for all inputs: the means of numbers and maps over them",
    "statistics": "one figure for all inputs: bars with intervals, a bar per network",
}
MEANS = "atlas-means"
ATLASES = ("atlas", MEANS)
DRAWN_ONLY = ("sheet", *ATLASES, "statistics")
"""Layouts that are figures and nothing else."""

CLIP_TERMS: tuple[Shown, ...] = ("input", "whole", "pairwise", "unary")

LISTS = ("inputs", "networks", "queries", "terms", "formats")
"""Options that may have several values."""

USUAL_LOOK = Look()
_LOOK_FIELDS = tuple(field.name for field in fields(Look))


@dataclass(frozen=True)
class Options:
    """All that decides what the files of an export hold.

    Raises:
        ValueError: A choice that does not exist, or choices that contradict each other.
    """

    inputs: tuple[str, ...]  # files, folders, globs, samples, samples:NAME, rendered:SEED
    networks: tuple[str, ...]  # bundled names or weight files
    block: str | None = None  # None: the first that a network has
    head: int | None = None  # None: the first that a block has
    call: int | None = None  # None: the first run of a block on an input
    queries: tuple[str, ...] = ("auto:4",)  # see QuerySpec.parse
    terms: tuple[Shown, ...] = DEFAULT_SHOWN
    layout: str = "grid"
    formats: tuple[str, ...] = ("png",)
    look: Look = USUAL_LOOK
    caption: bool = False
    letters: bool = False  # on every panel: a, b, c
    names: bool = False  # of rows: the query's number and its predicted class
    labels: str | None = None  # folder of label images, named like the inputs
    void: str | None = None  # which labels are of no class, see `analysis.labels.Void.parse`
    per_sheet: int = 6  # inputs in one figure of the sheet layout
    start: int = 0  # of clips: the first frame
    stride: int | None = None  # of clips: from frame to frame; None spreads them to the end
    frames: int | None = None  # of clips: how many; None is what the first network looks at
    batch: int = 1  # pictures of one size that go through a network together
    on_picture: bool = False  # maps are of what falls on the picture, and say so
    track: bool = False  # of clips: queries follow what is_video, by optical flow

    def __post_init__(self) -> None:
        for name, values in [("input", self.inputs), ("network", self.networks)]:
            if not values:
                raise ValueError(f"at least one {name} must be given")
        _known("term", self.terms, SHOWN)
        _known("format", self.formats, FORMATS)
        _known("layout", (self.layout,), LAYOUTS)
        if not self.queries and self.layout != "statistics":
            raise ValueError("at least one query must be given")
        if not 1 <= self.per_sheet <= 50:
            raise ValueError(f"per_sheet must be from 1 to 50, got {self.per_sheet}")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")
        for name, number in (("head", self.head), ("call", self.call)):
            if number is not None and number < 0:
                raise ValueError(f"{name} must be at least 0, got {number}")
        if self.layout in DRAWN_ONLY:
            undrawn = [name for name in self.formats if name not in DRAWN]
            if undrawn:
                raise ValueError(
                    f"the {self.layout} layout has the formats {', '.join(DRAWN)}, "
                    f"got {', '.join(undrawn)}"
                )
        if self.layout in ("sheet", *ATLASES) and not set(self.terms) & set(MAPS):
            article = "an" if self.layout in ATLASES else "a"
            raise ValueError(
                f"{article} {self.layout} needs at least one of the terms {', '.join(MAPS)}"
            )
        if self.layout == MEANS and not set(self.terms) & {"whole", "unary"}:
            raise ValueError(
                "atlas-means shows the mean row, for the term whole, or the unary term; got "
                f"{', '.join(self.terms)}"
            )
        Void.parse(self.void)
        unlabeled = [name for name in self.inputs if not name.startswith("rendered:")]
        if "labels" in self.terms and self.labels is None and unlabeled:
            raise ValueError("the term labels needs a folder of label images (--labels)")
        check_choice(self.start, self.stride, self.frames)
        many = len(self.queries) > MOST_QUERIES
        if self.layout != "statistics" and (many or self.query_count > MOST_QUERIES):
            raise ValueError(
                f"at most {MOST_QUERIES} queries can be shown; these {len(self.queries)} are, or "
                "stand for, more"
            )
        if self.asks_for_clips:
            self.check_clips()

    @cached_property
    def asks_for_clips(self) -> bool:
        """Whether the inputs are to be read as clips, as far as the options themselves say so.

        A network that looks at clips says so, too: see `app.batch.clips.of_clips`.
        """
        asked = self.start or self.stride or self.frames or self.track
        return bool(
            asked
            or set(self.formats) & set(MOVIES)
            or any(":" not in query and query.count(",") == 2 for query in self.queries)
            or any(is_video(name) for name in self.inputs)
        )

    def check_clips(self) -> None:
        """Raise ValueError for what clips do not have."""
        if self.layout != "grid":
            raise ValueError(f"clips have the layout grid, got {self.layout}")
        if self.look.scale.kind == "per-map":
            raise ValueError("clips have one scale for all frames: shared, log or fixed:LO,HI")
        _known("term of clips", self.terms, CLIP_TERMS)
        check_choice(self.start, self.stride, self.frames)
        if self.labels is not None:
            raise ValueError("clips have no labels")

    @classmethod
    def build(cls, given: Mapping[str, Any]) -> "Options":
        """Return options from words and numbers, as a shell or a YAML file gives them.

        Lists may be given as one string with commas, except inputs and queries.

        Raises:
            ValueError: A name or a value that does not exist.
        """
        given = {str(name).replace("-", "_"): value for name, value in given.items()}
        known = [field.name for field in fields(cls) if field.name != "look"] + [*_LOOK_FIELDS]
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(
                f"unknown option {shortened(unknown[0], 40)!r}; available: "
                f"{', '.join(sorted(known))}"
            )
        for name, value in given.items():
            if name not in LISTS and isinstance(value, list | tuple | dict | set):
                raise ValueError(f"{name} must be one word or number, got {_short(value)}")
        look = {name: given.pop(name) for name in _LOOK_FIELDS if name in given}
        look = {name: value for name, value in look.items() if value is not None}
        if "scale" in look:
            look["scale"] = Scale.parse(str(look["scale"]))
        for name in ("inputs", "queries"):
            if name in given:
                given[name] = _words(name, given[name], split=False)
        if "networks" in given:
            given["networks"] = _words("networks", given["networks"], split=True)
        for option in OPTIONS:
            held = look if option.name in _LOOK_FIELDS else given
            value = held.get(option.name)
            if value is None or option.name == "scale":
                continue
            if option.listed:
                held[option.name] = _words(option.name, value, split=True)
            elif option.kind in (int, float):
                held[option.name] = _number(option.name, value, option.kind)
            elif option.kind is str and held is given:
                held[option.name] = str(value)
        for name in ("inputs", "networks"):
            given.setdefault(name, ())
        for name in ("caption", "letters", "names", "track", "on_picture"):
            if not isinstance(given.get(name, False), bool | None):
                raise ValueError(f"{name} must be true or false, got {_short(given[name])}")
        try:
            return cls(look=Look(**look), **{k: v for k, v in given.items() if v is not None})
        except (TypeError, OverflowError, AttributeError) as error:
            words = shortened(str(error), 150)
            raise ValueError(f"an option has a value of the wrong kind: {words}") from error

    def query_specs(self) -> list[QuerySpec]:
        """Return the queries, read."""
        return [QuerySpec.parse(query) for query in self.queries]

    @property
    def query_count(self) -> int:
        """How many queries every input has."""
        return sum(spec.count for spec in self.query_specs())

    def in_users_terms(self) -> "Options":
        """Return options that name uploaded files as the user does, not as the app does."""
        return replace(
            self,
            inputs=tuple(map(user_message, self.inputs)),
            networks=tuple(map(user_message, self.networks)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `build` turns into the same options; choices left alone are left out."""
        flat = {**asdict(self), **asdict(self.look), "scale": str(self.look.scale)}
        usual = {field.name: field.default for field in fields(self)} | asdict(USUAL_LOOK)
        usual["scale"] = str(USUAL_LOOK.scale)
        del flat["look"]
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in flat.items()
            if value != usual.get(name)
        }

    def only_looking(self, *, as_clip: bool) -> dict[str, Any]:
        """Return those choices of `to_json` that decide what is looked at, not how it is drawn."""
        names = ["inputs", "networks", "block", "head", "call", "queries", "layout", "on_picture"]
        names += ["start", "stride", "frames", "track"] if as_clip else []
        found = {name: value for name, value in self.to_json().items() if name in names}
        if self.layout == "stacked":  # it shows what the grid shows
            del found["layout"]
        return found

    def command(self) -> str:
        """Return the shell command that gives the same files."""
        words = ["nonlocal-lens", "export"]
        given = self.to_json()
        words += ["./" + name if name.startswith("-") else name for name in given.pop("inputs")]
        for network in given.pop("networks"):
            words += ["--network", network]
        for query in given.pop("queries", ()):
            kind, _, rest = query.partition(":")
            words += ["--query-cell", rest] if kind == "cell" else ["--query", query]
        for name, value in given.items():
            option = next(one.option for one in OPTIONS if one.name == name)
            if isinstance(value, list):
                words += [option, ",".join(value)]
            else:
                words += [option] if value is True else [option, str(value)]
        return shlex.join(words)


def _known(name: str, values: Sequence[str], choices: Sequence[str] | Mapping[str, Any]) -> None:
    for value in values:
        if value not in choices:
            raise ValueError(
                f"unknown {name} {shortened(str(value), 40)!r}{did_you_mean(str(value), choices)}; "
                f"available: {', '.join(choices)}"
            )
    if not values:
        raise ValueError(f"at least one {name} must be given: {', '.join(choices)}")
    if len(set(values)) < len(values):
        raise ValueError(f"every {name} can be given once, got {', '.join(values)}")


def _words(name: str, value: Any, *, split: bool) -> tuple[str, ...]:
    """Return a list of words; one string is split at commas unless it names a file."""
    if not isinstance(value, list | tuple):
        value = [value]
    if not all(isinstance(word, str | int) for word in value):
        raise ValueError(f"{name} must be words or a list of words, got {_short(value)}")
    words: list[str] = []
    for word in map(str, value):
        whole = not split or is_regular(Path(word))
        parts = [word] if whole else word.split(",")
        words += [part.strip() for part in parts] if split else parts
    return tuple(word for word in words if word)


def _number(name: str, value: Any, kind: type) -> Any:
    try:
        number = kind(value)
        fits = not isinstance(value, bool) and isfinite(number) and float(value) == number
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        whole = "whole " if kind is int else ""
        raise ValueError(f"{name} must be a {whole}number, got {_short(value)}")
    return number


def _short(value: Any) -> str:
    """Return a value as a sentence repeats it."""
    if isinstance(value, list | tuple | dict | set):
        return f"{len(value)} values" if len(value) != 1 else "a list"
    return shortened(repr(value), 60)
