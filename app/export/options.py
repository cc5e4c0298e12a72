"""What an export is asked for: one set of options for the shell, YAML files, pages and replay."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.clips import check_choice
from analysis.figures.look import Look
from analysis.figures.panels import DEFAULT_SHOWN, MAPS, SHOWN, Shown
from analysis.figures.queries import QuerySpec
from analysis.figures.scales import Scale
from app.batch.inputs import moves
from app.export.clip_queries import ClipQuery, has_frame
from app.uploads import in_users_words

LAYOUTS = {
    "grid": "one figure per input: a row per query, a column per map",
    "queries": "one figure per query, all of an input on one scale",
    "panels": "every map in a file of its own, and the color bars, to arrange elsewhere",
    "sheet": "one figure for some inputs: a row per input, a column per query",
    "statistics": "one figure for all inputs: bars with intervals, a bar per network",
}
FORMATS = ("png", "pdf", "svg", "html", "safetensors", "mp4", "gif")
MOVIES = ("mp4", "gif")
CLIP_TERMS: tuple[Shown, ...] = ("input", "whole", "pairwise", "unary")
DRAWN = ("png", "pdf", "svg")

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
    queries: tuple[str, ...] = ("auto:4",)  # see QuerySpec.parse
    terms: tuple[Shown, ...] = DEFAULT_SHOWN
    layout: str = "grid"
    formats: tuple[str, ...] = ("png",)
    look: Look = USUAL_LOOK
    caption: bool = False
    labels: str | None = None  # folder of label images, named like the inputs
    per_sheet: int = 6  # inputs in one figure of the sheet layout
    start: int = 0  # of clips: the first frame
    stride: int | None = None  # of clips: from frame to frame; None spreads them to the end
    frames: int | None = None  # of clips: how many; None is what the first network looks at
    track: bool = False  # of clips: queries follow what moves, by optical flow

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
        if self.head is not None and self.head < 0:
            raise ValueError(f"head must be at least 0, got {self.head}")
        if self.layout in ("sheet", "statistics"):
            undrawn = [name for name in self.formats if name not in DRAWN]
            if undrawn:
                raise ValueError(
                    f"the {self.layout} layout has the formats {', '.join(DRAWN)}, "
                    f"got {', '.join(undrawn)}"
                )
        if self.layout == "sheet" and not set(self.terms) & set(MAPS):
            raise ValueError(f"a sheet needs at least one of the terms {', '.join(MAPS)}")
        unlabeled = [name for name in self.inputs if not name.startswith("rendered:")]
        if "labels" in self.terms and self.labels is None and unlabeled:
            raise ValueError("the term labels needs a folder of label images (--labels)")
        if self.layout != "statistics":
            self.query_specs()
        if self.moving:
            self.check_clips()

    @cached_property
    def moving(self) -> bool:
        """Whether the inputs are to be read as clips, as far as the options themselves say so.

        A network that looks at clips says so, too: see `app.batch.clips.of_clips`.
        """
        asked = self.start or self.stride or self.frames or self.track
        return bool(
            asked
            or set(self.formats) & set(MOVIES)
            or any(has_frame(query) for query in self.queries)
            or any(moves(name) for name in self.inputs)
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
        given = {name.replace("-", "_"): value for name, value in given.items()}
        known = [field.name for field in fields(cls) if field.name != "look"] + [*_LOOK_FIELDS]
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(
                f"unknown option {unknown[0]!r}; available: {', '.join(sorted(known))}"
            )
        look = {name: given.pop(name) for name in _LOOK_FIELDS if name in given}
        look = {name: value for name, value in look.items() if value is not None}
        if "scale" in look:
            look["scale"] = Scale.parse(str(look["scale"]))
        for name in ("opacity", "width_in"):
            if name in look:
                look[name] = _number(name, look[name], float)
        for name in ("arrows", "dpi"):
            if name in look:
                look[name] = _number(name, look[name], int)
        for name in ("head", "per_sheet", "start", "stride", "frames"):
            if given.get(name) is not None:
                given[name] = _number(name, given[name], int)
        for name in ("inputs", "queries"):
            if name in given:
                given[name] = _words(name, given[name], split=False)
        for name in ("networks", "terms", "formats"):
            if name in given:
                given[name] = _words(name, given[name], split=True)
        for name in ("inputs", "networks"):
            given.setdefault(name, ())
        for name in ("block", "labels", "layout"):
            if given.get(name) is not None:
                given[name] = str(given[name])
        return cls(look=Look(**look), **{k: v for k, v in given.items() if v is not None})

    def query_specs(self) -> list[QuerySpec]:
        """Return the queries, read; of those in clips without the frame."""
        return [query.spec for query in self.clip_queries()]

    def clip_queries(self) -> list[ClipQuery]:
        """Return the queries, read, each with the frame that it names."""
        return [ClipQuery.parse(query) for query in self.queries]

    @property
    def query_count(self) -> int:
        """How many queries every input has."""
        return sum(spec.count for spec in self.query_specs())

    def in_users_terms(self) -> "Options":
        """Return options that name uploaded files as the user does, not as the app does."""
        return replace(
            self,
            inputs=tuple(map(in_users_words, self.inputs)),
            networks=tuple(map(in_users_words, self.networks)),
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

    def command(self) -> str:
        """Return the shell command that gives the same files."""
        words = ["python", "-m", "app", "export"]
        given = self.to_json()
        words += ["./" + name if name.startswith("-") else name for name in given.pop("inputs")]
        for network in given.pop("networks"):
            words += ["--network", network]
        for query in given.pop("queries", ()):
            kind, _, rest = query.partition(":")
            words += ["--query-cell", rest] if kind == "cell" else ["--query", query]
        for name, value in given.items():
            option = "--" + {"formats": "format"}.get(name, name).replace("_", "-")
            if isinstance(value, list):
                words += [option, ",".join(value)]
            else:
                words += [option] if value is True else [option, str(value)]
        return shlex.join(words)


def _known(name: str, values: Sequence[str], choices: Sequence[str] | Mapping[str, str]) -> None:
    for value in values:
        if value not in choices:
            raise ValueError(f"unknown {name} {value!r}; available: {', '.join(choices)}")
    if not values:
        raise ValueError(f"at least one {name} must be given: {', '.join(choices)}")
    if len(set(values)) < len(values):
        raise ValueError(f"every {name} can be given once, got {', '.join(values)}")


def _words(name: str, value: Any, *, split: bool) -> tuple[str, ...]:
    """Return a list of words; one string is split at commas unless it names a file."""
    if not isinstance(value, list | tuple):
        value = [value]
    if not all(isinstance(word, str | int) for word in value):
        raise ValueError(f"{name} must be words or a list of words, got {value!r}")
    words: list[str] = []
    for word in map(str, value):
        parts = word.split(",") if split and not Path(word).exists() else [word]
        words += [part.strip() for part in parts] if split else parts
    return tuple(word for word in words if word)


def _number(name: str, value: Any, kind: type) -> Any:
    try:
        number = kind(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, bool) or float(value) != number:
        raise ValueError(f"{name} must be a {'whole ' if kind is int else ''}number, got {value!r}")
    return number
