"""Blocks whose queries do not look at all keys: what is measured is of the keys in reach."""

from dataclasses import replace
from math import isnan, log2

import pytest
import torch
from records import KEYS, KINDS, OVERLAPPING, PARTS, QUERIES, random_record

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.capture import recording
from nonlocal_lens.analysis.over_time import degeneracy_over_time, unary_maps
from nonlocal_lens.analysis.parts import part_records, restriction
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.variance import squares_of_rows, unary_share
from nonlocal_lens.models.blocks import NonLocalBlock, SpaceOnlyNonLocalBlock, TimeOnlyNonLocalBlock

FRAMES, ROWS, COLS = 3, 5, 7
PLACES = ROWS * COLS
COUNTS = {SpaceOnlyNonLocalBlock: ("frame", FRAMES), TimeOnlyNonLocalBlock: ("place", PLACES)}
RESTRICTED = [kind for kind, options in KINDS.items() if "reach" in options]
EVERY_QUERY = range(QUERIES)


@torch.no_grad()
def captured(kind, dtype=torch.float64, **options):
    """Return the record of a random block on a random clip."""
    torch.manual_seed(0)
    block = kind(6, dimension=3, init="awake", **options).to(dtype).eval()
    x = torch.randn(1, 6, FRAMES, ROWS, COLS, dtype=dtype) + 1
    with recording(block, (50, 70)) as records:
        block(x)
    return records[0]


def parts_by_hand(record):
    """Yield which queries and which keys look at each other, part by part."""
    seen = record.reach.sees(torch.arange(len(record.query)))
    for pattern in seen.unique(dim=0):
        yield (seen == pattern).all(dim=1), pattern


def squares_by_hand(record):
    """Return SS(unary) and SS(pairwise) of the logits that a softmax sees, part by part."""
    logits = terms.logits(record, range(len(record.query))).double()
    unary = pairwise = 0.0
    for queries, keys in parts_by_hand(record):
        part = logits[queries][:, keys]
        of_keys = part.mean(dim=0) - part.mean()
        rest = part - part.mean(dim=1, keepdim=True) - of_keys
        unary += len(part) * of_keys.square().sum().item()
        pairwise += rest.square().sum().item()
    return unary, pairwise


@pytest.mark.parametrize("kind", RESTRICTED)
def test_no_weight_is_out_of_reach(generator, kind):
    record = random_record(generator, **KINDS[kind])
    seen = record.reach.sees(torch.arange(QUERIES))
    assert 0 < seen.sum() < QUERIES * KEYS
    for term in terms.TERMS:
        rows = terms.attention(record, EVERY_QUERY, term)
        assert torch.equal(rows > 0, seen), term


def test_with_overlapping_reaches_a_row_is_the_softmax_of_what_it_sees(generator):
    record = random_record(generator, **KINDS["overlapping"])
    query = 17  # row 2, column 3 of 5 x 7; keys are 3 x 11, and row 2 of queries reaches row 2
    (seen,) = record.reach.sees(torch.tensor([query]))
    assert seen.nonzero()[:, 0].tolist() == [3, 14, *range(22, 33)]
    expected = (record.scale * record.key[seen] @ record.query[query]).softmax(dim=0)
    torch.testing.assert_close(terms.attention(record, [query])[0, seen], expected)


@pytest.mark.parametrize("kind", ["parts", "disentangled_parts"])
def test_the_terms_are_those_of_every_part_by_itself(generator, kind):
    record = random_record(generator, **KINDS[kind])
    alone = list(part_records(record))
    assert len(alone) == 3
    every = torch.arange(QUERIES)
    for number, part in enumerate(alone):
        queries, keys = (side == number for side in record.reach.parts[:2])
        for term in terms.TERMS:
            rows = terms.attention(record, every[queries], term)[:, keys]
            own = terms.attention(part, range(len(part.query)), term)
            torch.testing.assert_close(rows, own, msg=f"{kind} {term} {number}")
        torch.testing.assert_close(
            terms.pairwise_logits(record, every[queries])[:, keys],
            terms.pairwise_logits(part, range(len(part.query))),
        )
        unary = terms.unary_map(record)
        assert unary[keys].sum().item() == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", COUNTS)
def test_the_unary_share_is_that_of_the_logits_that_a_softmax_sees(kind, dtype):
    record = captured(kind, dtype)
    assert (record.reach.kind, record.reach.parts.number) == COUNTS[kind]
    unary, pairwise = squares_by_hand(record)
    close = {"rel": 1e-4 if dtype == torch.float32 else 1e-9}
    assert unary_share(record) == pytest.approx(unary / (unary + pairwise), **close)
    found = degeneracy_over_time(record)
    assert found.whole.unary_share == pytest.approx(unary / (unary + pairwise), **close)
    frames = [frame.unary_share for frame in found.frames]
    assert 0 < min(frames) < max(frames) < 1
    if kind is SpaceOnlyNonLocalBlock:
        expected = [unary_share(part) for part in part_records(record)]
        assert frames == pytest.approx(expected, **close)


def test_scattered_parts_of_unequal_size_have_a_unary_share_too(generator):
    record = random_record(generator, **KINDS["parts"])
    squares = squares_by_hand(record)
    assert unary_share(record) == pytest.approx(squares[0] / sum(squares))
    assert squares_of_rows(record, torch.arange(QUERIES)) == pytest.approx(squares)


def test_overlapping_reaches_have_no_unary_share(generator):
    report = degeneracy.measure(random_record(generator, **KINDS["overlapping"]))
    assert isnan(report.unary_share)
    assert report.query_information_bits > 0


@pytest.mark.parametrize("kind", COUNTS)
def test_reach_leaves_the_embeddings_alone(kind):
    record, plain = captured(kind), captured(NonLocalBlock)
    assert plain.reach is None
    assert torch.equal(record.query, plain.query)
    assert torch.equal(record.key, plain.key)
    together = len(record.query) / record.reach.parts.number
    report = degeneracy.measure(record)
    assert report.baselines["unary_share"].shuffled == pytest.approx(1 / together)


def test_parts_of_a_space_only_block_are_its_frames(tmp_path):
    record = captured(SpaceOnlyNonLocalBlock)
    record.save(tmp_path / "a.safetensors")
    parts = list(part_records(AttentionRecord.load(tmp_path / "a.safetensors")))
    assert [part.query_axis.all_cells.tolist() for part in parts] == [
        list(range(frame * PLACES, (frame + 1) * PLACES)) for frame in range(FRAMES)
    ]
    whole = terms.attention(record, [PLACES + 3])[0]
    alone = terms.attention(parts[1], [3])[0]
    torch.testing.assert_close(whole[PLACES : 2 * PLACES], alone)
    maps = torch.stack([terms.attention(part, [0], "unary")[0] for part in parts])
    torch.testing.assert_close(unary_maps(record), maps)


def test_pooled_keys_have_parts_too():
    record = captured(SpaceOnlyNonLocalBlock, subsample=True)
    assert (record.reach.kind, record.reach.parts.number) == ("frame", FRAMES)
    unary, pairwise = squares_by_hand(record)
    assert unary_share(record) == pytest.approx(unary / (unary + pairwise))


@pytest.mark.parametrize("kind", COUNTS)
def test_to_look_at_the_own_part_is_no_merit_of_the_query(kind):
    """A block whose queries all attend alike is degenerate, though none leaves its part."""
    record = captured(kind)
    report = degeneracy.measure(replace(record, query=torch.full_like(record.query, 5)))
    assert report.query_information_bits == pytest.approx(log2(record.reach.parts.number))
    assert report.unary_share == pytest.approx(1)
    assert report.verdict.startswith("Degenerate: ")
    assert f"within its own {record.reach.kind} the query tells 0.000 bits" in report.verdict


@pytest.mark.parametrize("reach", [PARTS, OVERLAPPING], ids=["parts", "overlapping"])
def test_the_information_of_a_reach_is_that_of_rows_uniform_in_it(generator, reach):
    """What a query tells by its reach alone is what is measured where it tells nothing else."""
    record = random_record(generator, reach=reach)
    uniform = replace(record, query=torch.zeros_like(record.query))
    known = restriction(record)
    report = degeneracy.measure(uniform)
    assert known.kind == reach.kind
    assert known.information_bits == pytest.approx(report.query_information_bits)
    assert known.width_bits == pytest.approx(report.entropy_bits)
    assert report.verdict.startswith("Degenerate: every query looks everywhere alike")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in RESTRICTED])
def test_others_are_one_part(generator, kind):
    record = random_record(generator, **KINDS[kind])
    assert restriction(record) is None
    (part,) = part_records(record)
    assert part is record
