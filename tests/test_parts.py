"""Blocks that look at part of a clip: what is measured of them is measured within the parts."""

from dataclasses import replace
from math import log2

import pytest
import torch
from records import KINDS, random_record

from analysis import degeneracy, terms
from analysis.capture import recording
from analysis.over_time import degeneracy_over_time
from analysis.parts import part_records, parts_of, unmarked
from analysis.record import AttentionRecord
from analysis.variance import unary_share
from analysis.vectors import cosine_distance
from models.blocks import NonLocalBlock, SpaceOnlyNonLocalBlock, TimeOnlyNonLocalBlock

FRAMES, ROWS, COLS = 3, 5, 7
PLACES = ROWS * COLS
COUNTS = {SpaceOnlyNonLocalBlock: ("frame", FRAMES), TimeOnlyNonLocalBlock: ("place", PLACES)}


@torch.no_grad()
def captured(kind, dtype=torch.float64, **options):
    """Return the record of a random block on a random clip."""
    torch.manual_seed(0)
    block = kind(6, dimension=3, init="awake", **options).to(dtype).eval()
    x = torch.randn(1, 6, FRAMES, ROWS, COLS, dtype=dtype) + 1
    with recording(block, (50, 70)) as records:
        block(x)
    return records[0]


def by_hand(record):
    """Return SS(unary) and SS(pairwise) of the logits that no penalty lowers, part by part."""
    logits = terms.logits(record, range(len(record.query))).double()
    seen = logits > -100
    unary = pairwise = 0.0
    for pattern in seen.unique(dim=0):
        part = logits[(seen == pattern).all(dim=1)][:, pattern]
        of_keys = part.mean(dim=0) - part.mean()
        rest = part - part.mean(dim=1, keepdim=True) - of_keys
        unary += len(part) * of_keys.square().sum().item()
        pairwise += rest.square().sum().item()
    return unary, pairwise


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", COUNTS)
def test_the_unary_share_is_that_of_the_logits_that_a_softmax_sees(kind, dtype):
    record = captured(kind, dtype)
    assert parts_of(record) == COUNTS[kind]
    unary, pairwise = by_hand(record)
    close = {"rel": 1e-4 if dtype == torch.float32 else 1e-9}
    assert unary_share(record) == pytest.approx(unary / (unary + pairwise), **close)
    found = degeneracy_over_time(record)
    assert found.whole.unary_share == pytest.approx(unary / (unary + pairwise), **close)
    frames = [frame.unary_share for frame in found.frames]
    assert 0 < min(frames) < max(frames) < 1
    if kind is SpaceOnlyNonLocalBlock:
        expected = [unary_share(part) for part in part_records(record)]
        assert frames == pytest.approx(expected, **close)


@pytest.mark.parametrize("kind", COUNTS)
def test_marks_are_no_embedding(kind):
    record, plain = captured(kind), captured(NonLocalBlock)
    assert parts_of(plain) is None
    torch.testing.assert_close(unmarked(record)[0], plain.query)
    report = degeneracy.measure(record)
    assert report.query_cosine_distance == pytest.approx(cosine_distance(plain.query))
    assert report.key_cosine_distance == pytest.approx(cosine_distance(plain.key))
    together = len(record.query) // parts_of(record).number
    assert report.baselines["unary_share"].shuffled == 1 / together


def test_parts_of_a_space_only_block_are_its_frames(tmp_path):
    record = captured(SpaceOnlyNonLocalBlock)
    record.save(tmp_path / "a.safetensors")
    parts = list(part_records(AttentionRecord.load(tmp_path / "a.safetensors")))
    assert [part.query_grid.shape for part in parts] == [(1, ROWS, COLS)] * FRAMES
    whole = terms.attention(record, [PLACES + 3])[0]
    alone = terms.attention(parts[1], [3])[0]
    torch.testing.assert_close(whole[PLACES : 2 * PLACES], alone)


def test_pooled_keys_have_parts_too():
    record = captured(SpaceOnlyNonLocalBlock, subsample=True)
    assert parts_of(record) == ("frame", FRAMES)
    unary, pairwise = by_hand(record)
    assert unary_share(record) == pytest.approx(unary / (unary + pairwise))


@pytest.mark.parametrize("kind", COUNTS)
def test_to_look_at_the_own_part_is_no_merit_of_the_query(kind):
    """A block whose queries all attend alike is degenerate, though none leaves its part."""
    record = captured(kind)
    parts = parts_of(record)
    query = record.query.clone()
    query[:, : -parts.number] = 5
    report = degeneracy.measure(replace(record, query=query))
    assert report.query_information_bits == pytest.approx(log2(parts.number))
    assert report.unary_share == pytest.approx(1)
    assert report.verdict.startswith("Degenerate: ")
    assert f"within its own {parts.kind} the query tells 0.000 bits" in report.verdict


@pytest.mark.parametrize("kind", KINDS)
def test_others_are_one_part(generator, kind):
    record = random_record(generator, **KINDS[kind])
    assert parts_of(record) is None
    (part,) = part_records(record)
    assert part is record
