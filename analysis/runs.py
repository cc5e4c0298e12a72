"""Which run of its block a record is of: two runs of one block are two maps, and two rows."""

from collections import defaultdict
from collections.abc import Sequence

from nonlocal_lens.analysis.record import AttentionRecord


def runs(records: Sequence[AttentionRecord]) -> list[int]:
    """Return the run of its block that every record is of, from 0, on the frames that it sees.

    It is the record's `call`, but where a block sees one group of a clip's frames after another:
    there the first run on every group is run 0.

    Args:
        records: All that a network gave for one input.
    """
    calls: dict[str, dict[float, list[int]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        of_group = calls[record.block][_first_frame(record)]
        if record.call not in of_group:
            of_group.append(record.call)
    return [
        record.call
        if len(calls[record.block]) == 1
        else sorted(calls[record.block][_first_frame(record)]).index(record.call)
        for record in records
    ]


def _first_frame(record: AttentionRecord) -> float:
    grid = record.query_axis.grid
    return 0.0 if grid is None else grid.first_frame
