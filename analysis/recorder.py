"""Watches a network run: a record of each attention block, or why there is none."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from nonlocal_lens.analysis.adapters import Call, Reader, reader_for
from nonlocal_lens.analysis.own_blocks import (
    proved_by,
    proved_by_output,
    record_of,
    sees_one_key,
)
from nonlocal_lens.analysis.reach_kind import named
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.refusals import Refusals
from nonlocal_lens.analysis.registered import records_of
from nonlocal_lens.analysis.tracing.attended import Refused
from nonlocal_lens.analysis.tracing.computation import Computation
from nonlocal_lens.analysis.tracing.layout import Layout
from nonlocal_lens.analysis.tracing.mode import watched
from nonlocal_lens.analysis.tracing.proof import Proof, UnprovedError
from nonlocal_lens.analysis.tracing.provenance import Provenance
from nonlocal_lens.analysis.tracing.reading import Read, read_each
from nonlocal_lens.models.blocks import AttentionBlock, Projections

Recorded = Callable[[str, AttentionBlock, Tensor, Projections], None]
"""Called with a block's name, the block, its input and its projections."""


class _Said(NamedTuple):
    """What a block of this package, or a registered reader, says of one run of a block."""

    picture: int  # of the batch
    name: str
    call: int
    at: float  # when, as operations are counted
    is_own: bool
    records: list[AttentionRecord]
    is_cut_off: bool = False  # whether the pass ended before it attended

    def is_of(self, block: str, call: int) -> bool:
        """Return whether attention that was found is of this run."""
        inside = not self.is_own and (not self.name or block.startswith(f"{self.name}."))
        return call == self.call and (block == self.name or inside)


class Recorder:
    """Collects a record each time a block runs, of where `recording` says.

    Args:
        network: Any module.
        image_hw: Height and width of the image that its input is made of.
        recorded: See `Recorded`.
        pictures: Of how many pictures of a batch records are made, the first ones.

    Attributes:
        records: Of all passes, in the order in which blocks ran, by picture.
    """

    def __init__(
        self,
        network: nn.Module,
        image_hw: tuple[int, int],
        recorded: Recorded | None = None,
        pictures: int = 1,
    ) -> None:
        self.records: list[list[AttentionRecord]] = [[] for _ in range(pictures)]
        self._network, self._image_hw, self._recorded = network, image_hw, recorded
        self._provenance = Provenance(tiled=image_hw)
        self._computation = Computation(self._provenance.lookup)
        self._refusals = Refusals()
        self._readers: dict[int, Reader] = {}
        self._said: list[_Said] = []
        self._is_open = False  # whether a pass has begun and not ended

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch whatever the network computes until the `with` ends."""
        network, modules = self._network, list(self._network.modules())
        self._readers = {
            id(module): reader
            for module in modules
            if not isinstance(module, AttentionBlock) and (reader := reader_for(module))
        }
        observers = [self._provenance, self._computation]
        with ExitStack() as stack:
            self._running = stack.enter_context(
                watched(
                    network,
                    observers,
                    entered=self._enter,
                    left=self._leave if self._readers else None,
                )
            )
            for handle in (
                network.register_forward_pre_hook(self._begin, with_kwargs=True),
                network.register_forward_hook(self._end),
            ):
                stack.callback(handle.remove)
            stack.callback(_project_anew, modules)
            self._computation.begin(network, (), {}, self._running)
            self._provenance.begin(network, (), {}, self._running)
            yield
            self._end_early()
        self._refusals.warn()

    def _begin(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._running.begin()
        self._provenance.begin(network, args, kwargs, self._running)
        self._computation.begin(network, args, kwargs, self._running)
        self._layout = Layout(self._provenance, self._image_hw)
        self._said, self._is_open = [], True
        if isinstance(network, AttentionBlock):
            self._project("", network, args[0])

    def _enter(self, name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        if isinstance(module, AttentionBlock) and self._is_open and args:
            self._project(name, module, args[0])

    def _project(self, name: str, block: AttentionBlock, x: Tensor) -> None:
        """Record what a block of this package projects, before it attends."""
        projections = None
        with self._surviving(name):
            projections = block.project(x)
            _project_once(block, x, projections)
            for picture in range(len(self.records)):
                with self._running.unseen():
                    records = self._own_records(name, block, x, projections, picture)
                self._say(picture, name, records, is_own=True)
        if projections is not None and self._recorded is not None:
            self._recorded(name, block, x, projections)

    def _own_records(
        self, name: str, block: AttentionBlock, x: Tensor, projections: Projections, picture: int
    ) -> list[AttentionRecord]:
        """Return the record of a picture; none where several items of a batch are of it."""
        provenance = self._provenance
        keys = projections.key if projections.key.shape[2] else projections.value
        query_from = provenance.tokens(x, channels=1)
        key_from = provenance.tokens(keys, channels=2)
        if query_from is None or key_from is None:
            return [record_of(name, block, projections, self._image_hw, picture=picture)]
        item = provenance.item_of(query_from, picture)
        if item is None:
            return []
        sides = self._layout.sides(query_from[item], key_from[item])
        made = record_of(name, block, projections, self._image_hw, sides, picture=item)
        if not _shows_weights(block):
            made = proved_by_output(made, block, projections, item)
        return [made]

    def _leave(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        reader = self._readers.get(id(module))
        if reader is None or not self._is_open:
            return
        with self._surviving(name):  # what a reader makes of tensors is seen: it has places, too
            heads = reader(module, Call(args, kwargs, out))
            self._say(0, name, records_of(name, heads, self._layout), is_own=False)

    def _say(
        self, picture: int, name: str, records: list[AttentionRecord], *, is_own: bool
    ) -> None:
        call = self._running.call_of(name)
        records = [replace(record, call=call) for record in records]
        at = self._computation.number + 0.5
        self._said.append(_Said(picture, name, call, at, is_own, records))

    @contextmanager
    def _surviving(self, name: str) -> Iterator[None]:
        """Leave a block out, with the reason, if it cannot be read; the network goes on."""
        try:
            yield
        except ValueError as error:
            self._refusals.add(self._network, name, str(error))
        except Exception as error:  # whatever a reader raises
            message = str(error).strip().split("\n")[0]
            reason = f"reading it fails with {type(error).__name__}: {message}"
            self._refusals.add(self._network, name, reason)

    def _end(self, *_: Any) -> None:
        """Make records of a pass that has ended."""
        if self._is_open:
            self._is_open = False
            with self._running.unseen():
                pictures = range(len(self.records))
                traced, refused = read_each(self._computation, self._layout, pictures)
                for picture, of_picture in enumerate(traced):
                    self._add(picture, of_picture, refused)

    def _end_early(self) -> None:
        """Make records of a pass that was ended: its last block may have said, but not attended."""
        if self._is_open and self._said:
            *_, last = self._said
            self._said = [
                said._replace(is_cut_off=said.name == last.name and said.call == last.call)
                for said in self._said
            ]
        self._end()

    def _add(self, picture: int, traced: list[Read], refused: list[Refused]) -> None:
        found: list[Read] = []
        for said in self._said:
            if said.picture != picture:
                continue
            same = [one for one in traced if said.is_of(one.record.block, one.record.call)]
            traced = [one for one in traced if one not in same]
            with self._surviving(said.name):
                found += self._agreed(said, same, refused)
            refused = [one for one in refused if not said.is_of(one.module, one.call)]
        for refusal in refused:
            self._refusals.add(self._network, refusal.module, refusal.why)
        for one in sorted([*found, *traced], key=lambda one: one.at):
            with self._surviving(one.record.block):
                self.records[picture].append(_shown(one.record))

    def _agreed(self, said: _Said, same: list[Read], refused: list[Refused]) -> list[Read]:
        """Return what was said of a block, if what it computed proves it.

        Raises:
            UnprovedError: It does not.
        """
        if not said.records:  # a batch that holds several parts of the picture
            return same
        if len(same) == len(said.records):
            return [
                Read(one.at, proved_by(record, one.record))
                for record, one in zip(said.records, same, strict=True)
            ]
        if said.is_own and all(sees_one_key(record) for record in said.records):
            alone = Proof("a single key, whose weight is 1", len(said.records[0].query), 0.0, 0.0)
            return [Read(said.at, replace(record, proof=alone)) for record in said.records]
        reasons = [one.why for one in refused if said.is_of(one.module, one.call)]
        is_proved = said.is_cut_off or all(record.proof for record in said.records)
        if not is_proved and (said.is_own or reasons or same):
            why = reasons[0] if reasons else "what it computes is not what it projects"
            raise UnprovedError(why)
        return [Read(said.at, record) for record in said.records]


def _shown(record: AttentionRecord) -> AttentionRecord:
    """Return a record as it is shown: its reach by name."""
    if record.reach is None or record.reach.kind not in ("mask", "window"):
        return record
    return replace(record, reach=named(record.reach, record.query_axis, record.key_axis))


def _shows_weights(block: AttentionBlock) -> bool:
    """Return whether a block attends by products: sums of numbers it sorts instead."""
    return block.form != "concatenation"


def _project_once(block: AttentionBlock, x: Tensor, projections: Projections) -> None:
    """Let a block that is about to project its input take what it has projected already."""

    def project(given: Tensor) -> Projections:
        vars(block).pop("project", None)
        return projections if given is x else block.project(given)

    vars(block)["project"] = project


def _project_anew(modules: Sequence[nn.Module]) -> None:
    for block in modules:
        if isinstance(block, AttentionBlock):
            vars(block).pop("project", None)
