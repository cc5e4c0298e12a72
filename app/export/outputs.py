"""From what was looked at to files: named, and drawn one at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite

from nonlocal_lens.analysis.degeneracy import STATISTICS
from nonlocal_lens.analysis.figures.bars import Bar, statistics_figure
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.scene import Records
from nonlocal_lens.app.batch.inputs import safe_name
from nonlocal_lens.app.batch.networks import load
from nonlocal_lens.app.export.formats import DRAWN, FORMATS, MOVIES, Note
from nonlocal_lens.app.export.layouts import layout_of
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.scene import Subject


@dataclass(frozen=True)
class Output:
    """One file, not drawn yet. Outputs are to be encoded in their order: they share a canvas."""

    name: str  # of the file
    encode: Callable[[Note], bytes]
    about: Note = field(default_factory=dict)  # what the file's note says of this one alone


def output_names(stem: str, titles: Sequence[str], options: Options, *, as_clip: bool) -> list[str]:
    """Return the files that a job will write, before anything is looked at; `titles` are networks'.

    What depends on the input is left out: color bars in files of their own, the records of a clip.
    """
    stems = layout_of(options, as_clip=as_clip).stems(stem, titles, options)
    names = [f"{one}.{kind}" for one in stems for kind in _drawn(options)]
    names += [f"{stem}.html"] if "html" in options.formats else []
    if "safetensors" in options.formats and not as_clip:
        names += [f"{stem}.{safe_name(title)}.safetensors" for title in titles]
    return names


def outputs(stem: str, subjects: Sequence[Subject], options: Options) -> Iterator[Output]:
    """Yield the files of one job: of one input or, in the sheet layout, of some."""
    drawn = _drawn(options)
    if drawn:
        layout = layout_of(options, as_clip=subjects[0].scene.is_clip)
        for name, drawing, about in layout.draw(stem, subjects, options):
            for kind in drawn:
                yield Output(f"{name}.{kind}", partial(FORMATS[kind].encode, drawing), about)
    for one in subjects:
        if "html" in options.formats:
            yield Output(f"{stem}.html", partial(FORMATS["html"].encode, one))
        if "safetensors" in options.formats:
            encode = FORMATS["safetensors"].encode
            for title, over in one.scene.records.items():
                for part, record in record_parts(over):
                    name = f"{stem}.{safe_name(title)}{part}.safetensors"
                    yield Output(name, partial(encode, record))


def record_parts(over: Records) -> Iterator[tuple[str, AttentionRecord]]:
    """Yield every record with what its file's name adds: nothing, or the first frame it is of."""
    for frame, record in enumerate(over.records):
        first = int(record.query_grid.first_frame) if over.of_clips else frame
        yield ("" if len(over.records) == 1 else f".f{first:03d}"), record


def statistics_outputs(
    stem: str, bars: dict[str, dict[str, Bar]], options: Options
) -> Iterator[Output]:
    """Yield the files of the statistics of all inputs; their notes hold the numbers.

    Statistics and networks are in the order of the catalog and of the options; statistics that no
    network has are left out.
    """
    titles = [load(name).title for name in options.networks]
    bars = {
        statistic: {title: bars[statistic][title] for title in titles if title in bars[statistic]}
        for statistic in STATISTICS
        if any(isfinite(bar.mean) for bar in bars.get(statistic, {}).values())
    }
    figure = statistics_figure(bars, look=options.look)
    numbers = {
        statistic: {network: bar.to_json() for network, bar in of_network.items()}
        for statistic, of_network in bars.items()
    }
    for kind in options.formats:
        yield Output(
            f"{stem}.{kind}", partial(FORMATS[kind].encode, figure), {"statistics": numbers}
        )


def _drawn(options: Options) -> list[str]:
    return [kind for kind in options.formats if kind in DRAWN or kind in MOVIES]
