from dataclasses import fields, replace
from math import isnan, log, log2, nan

import pytest
import torch
from records import KEYS, KINDS, QUERIES, random_record
from torch.special import entr

from nonlocal_lens.analysis import degeneracy, divergence, head_rows, streaming, terms
from nonlocal_lens.analysis.catalog import HEADLINES, OF_DISTRIBUTIONS, STATISTICS
from nonlocal_lens.analysis.degeneracy import QUANTILES
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.spectrum import RANKED
from nonlocal_lens.analysis.vectors import VectorDistances


def mean_cosine_distance(vectors):
    if not vectors.shape[1]:
        return nan
    cosine = torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=2)
    return ((1 - cosine) / 2).mean().item()


def brute_force(record):
    """Return the statistics straight from their definitions, over all pairs."""
    weights = terms.attention(record, range(QUERIES)).double()
    rows = weights.abs() / weights.abs().sum(dim=1, keepdim=True)
    entropy = entr(rows).sum(dim=1) / log(2)
    mean = rows.mean(dim=0)
    middle = (rows[:, None] + rows[None]) / 2
    jsd = entr(middle).sum(dim=2) - (entropy[:, None] + entropy[None]) * log(2) / 2
    singular = torch.linalg.svdvals(weights)
    grids = record.query_grid, record.key_grid
    query_at, key_at = (
        torch.tensor([grid.center(grid.cell(i)) for i in range(grid.positions)], dtype=rows.dtype)
        for grid in grids
    )
    apart = (query_at[:, None] - key_at[None]).square().sum(dim=2).sqrt()
    # a key is near where its middle is at most one cell of 8 x 8 pixels from the query's
    offset = (query_at[:, None] - key_at[None]).abs()
    near = (offset <= 8 + 1e-9).all(dim=2)
    own = torch.zeros(QUERIES, KEYS, dtype=torch.bool)
    for query, (x, y) in enumerate(query_at.tolist()):
        own[query, int(y // (40 / 3)) * 11 + int(x // (56 / 11))] = True
    sink = mean.argmax()
    selectivity, unary = log2(KEYS) - entropy.mean(), log2(KEYS) - entr(mean).sum() / log(2)
    information = torch.special.xlogy(rows / QUERIES, rows / mean).sum() / log(2)
    of_distributions = {
        "selectivity_bits": selectivity,
        "unary_bits": unary,
        "unary_information_share": unary / selectivity,
        "normalized_mutual_information": information
        / (log2(QUERIES) * entr(mean).sum() / log(2)).sqrt(),
        "participation_ratio": 1 / mean.square().sum(),
        "sink_share": mean[sink],
        "sink_concentration": mean[sink] / mean.sort().values[KEYS // 2],
        "sink_rate": (mean[sink] >= 0.3).double(),
        "sink_routed": (rows[:, sink] >= 0.5).double().mean(),
        # mutual information of query and key: the sum of p(i, j) log p(i, j) / (p(i) p(j))
        "query_information_bits": torch.special.xlogy(rows / QUERIES, rows / mean).sum() / log(2),
        "entropy_bits": entropy.mean(),
        "perplexity": (2**entropy).mean(),
        "jsd_nats": jsd.mean(),
    }
    signed = bool((weights < 0).any())
    return {
        **{name: nan if signed else value.item() for name, value in of_distributions.items()},
        "cosine_distance": mean_cosine_distance(weights),
        "effective_rank": entr(singular / singular.sum()).sum().exp().item(),
        "attention_distance": (rows * apart).sum(dim=1).mean().item(),
        "self_mass": rows[own].sum().item() / QUERIES,
        "local_mass": rows[near].sum().item() / QUERIES,
        "query_cosine_distance": mean_cosine_distance(record.query.double()),
        "key_cosine_distance": mean_cosine_distance(record.key.double()),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk_values", [1, 5 * KEYS, 10**9])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_streaming_equals_brute_force(generator, monkeypatch, kind, chunk_values, dtype, tolerance):
    monkeypatch.setattr(streaming, "CHUNK_VALUES", chunk_values)
    monkeypatch.setattr(divergence, "PAIRS", QUERIES**2)
    record = random_record(generator, dtype=dtype, **KINDS[kind])
    report = degeneracy.measure(record)
    for name, expected in brute_force(record).items():
        expected = pytest.approx(expected, abs=tolerance, rel=tolerance, nan_ok=True)
        assert getattr(report, name) == expected, name
    assert isnan(report.jsd_nats) or report.jsd_standard_error == 0
    assert report.effective_rank_rows == QUERIES


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_unary_share_equals_the_one_of_the_materialized_logits(generator, dtype, tolerance):
    record = random_record(generator, dtype=dtype)
    logits = (record.scale * record.query @ record.key.T).double()
    centered = logits - logits.mean(
        dim=1, keepdim=True
    )  # grand and row terms cancel in the softmax
    between_keys = QUERIES * centered.mean(dim=0).square().sum()
    expected = (between_keys / centered.square().sum()).item()
    assert 0.1 < expected < 0.9
    assert degeneracy.unary_share(record) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "reach" not in KINDS[kind]])
def test_unary_share_is_that_of_the_terms_the_block_uses(generator, kind):
    record = random_record(generator, **KINDS[kind])
    pairwise = terms.pairwise_logits(record, range(QUERIES)).square().sum().item()
    unary = QUERIES * terms.unary_logits(record).var(unbiased=False).item() * KEYS
    share = degeneracy.unary_share(record)
    assert share == pytest.approx(unary / (pairwise + unary))
    assert share == {"pairwise": 0, "unary": 1}.get(kind, share)


def test_a_block_without_queries_is_fully_degenerate(generator):
    report = degeneracy.measure(random_record(generator, "unary"))
    assert report.unary_share == 1
    assert report.query_information_bits == pytest.approx(0, abs=1e-12)
    assert report.cosine_distance == pytest.approx(0, abs=1e-12)
    assert 0 < report.entropy_bits < log2(KEYS)


def test_equal_queries_are_fully_degenerate(generator):
    record = random_record(generator)
    report = degeneracy.measure(replace(record, query=record.query[:1].repeat(QUERIES, 1)))
    assert report.unary_share == pytest.approx(1)
    assert report.query_information_bits == pytest.approx(0, abs=1e-12)
    assert report.cosine_distance == pytest.approx(0, abs=1e-12)


def test_a_permutation_matrix_carries_log2_n_bits(generator):
    record = random_record(generator)
    one_hot = 1e3 * torch.eye(QUERIES, dtype=torch.float64)
    report = degeneracy.measure(
        replace(
            record, query=one_hot, key=one_hot[torch.randperm(QUERIES)], key_grid=record.query_grid
        )
    )
    assert report.query_information_bits == pytest.approx(log2(QUERIES))
    assert report.entropy_bits == pytest.approx(0)
    assert report.cosine_distance == pytest.approx((1 - 1 / QUERIES) / 2)
    assert report.unary_share == pytest.approx(0)


def test_uniform_attention_has_no_share_and_full_entropy(generator):
    record = random_record(generator)
    report = degeneracy.measure(replace(record, key=torch.zeros_like(record.key)))
    assert report.unary_share != report.unary_share, "0 / 0 is NaN, not a number that could mislead"
    assert report.entropy_bits == pytest.approx(log2(KEYS))


def test_every_statistic_has_a_label_a_unit_and_bounds(generator):
    vectors = VectorDistances(0.3, 0.1)
    value = torch.randn(KEYS, 3, generator=generator)
    report = degeneracy.measure(replace(random_record(generator), value=value), vectors=vectors)
    assert set(HEADLINES) < set(STATISTICS) < {field.name for field in fields(report)}
    for name in STATISTICS:
        low, high = report.bounds(name)
        assert low <= getattr(report, name) <= high
    assert report.input_cosine_distance == 0.3
    assert report.output_cosine_distance == 0.1
    with pytest.raises(ValueError, match="available: selectivity_bits"):
        report.bounds("queries")


def test_inputs_and_outputs_are_undefined_where_the_block_was_not_watched(generator):
    report = degeneracy.measure(random_record(generator))
    assert isnan(report.input_cosine_distance)
    assert isnan(report.output_cosine_distance)


def test_quantiles_are_those_of_the_rows(generator):
    record = random_record(generator)
    rows = terms.attention(record, range(QUERIES))
    entropy = torch.special.entr(rows).sum(dim=1) / torch.tensor(2.0).log()
    report = degeneracy.measure(record)
    at = torch.tensor(QUANTILES, dtype=torch.float64)
    assert report.entropy_bits_quantiles == pytest.approx(entropy.quantile(at).tolist(), abs=1e-6)
    perplexity = (2**entropy).quantile(at).tolist()
    assert report.perplexity_quantiles == pytest.approx(perplexity, rel=1e-6)


def test_the_farthest_a_query_can_look_is_from_corner_to_corner(generator):
    # centers: queries at 4 to 52 across and 4 to 36 down, keys (56 / 11 wide) at 2.5 and 6.7 on
    report = degeneracy.measure(random_record(generator))
    across, down = 56 - 56 / 22 - 4, 40 - 40 / 6 - 4
    assert report.farthest == pytest.approx((across**2 + down**2) ** 0.5, rel=1e-6)


def clip_record(generator, frames):
    record = random_record(generator)
    cells = frames * QUERIES
    grid = Grid.tiling((40, 56), 5, 7, frames=frames)
    query = torch.randn(cells, 13, generator=generator, dtype=torch.float64)
    return replace(record, query=query, key=query.flip(0), query_grid=grid, key_grid=grid)


def test_attention_in_clips_is_listed_by_frames_from_query_to_key(generator):
    report = degeneracy.measure(clip_record(generator, 3))
    assert list(report.frame_offsets) == [-2, -1, 0, 1, 2]
    assert sum(report.frame_share) == pytest.approx(1)
    still = clip_record(generator, 3)
    # only the first frame's keys are ever attended to
    key = torch.zeros_like(still.key)
    key[:QUERIES, 0] = 1e3
    query = torch.ones_like(still.query)
    report = degeneracy.measure(replace(still, key=key, query=query))
    assert report.frame_share == pytest.approx((1 / 3, 1 / 3, 1 / 3, 0, 0))
    image = degeneracy.measure(random_record(generator))
    assert image.frame_share == ()
    assert list(image.frame_offsets) == []


def fake_attention(monkeypatch, rows):
    """Let every record have these rows of attention."""
    monkeypatch.setattr(terms, "attention", lambda _record, queries, _term="whole": rows[queries])
    monkeypatch.setattr(head_rows, "_is_one_softmax", lambda _record: False)


def test_signed_weights_have_no_distributions_but_all_else(generator, monkeypatch):
    rows = torch.randn(QUERIES, KEYS, generator=generator, dtype=torch.float64)
    fake_attention(monkeypatch, rows)
    report = degeneracy.measure(random_record(generator))
    for name in OF_DISTRIBUTIONS:
        assert isnan(getattr(report, name)), name
        assert all(isnan(value) for value in report.baselines[name]), name
    assert all(isnan(value) for value in report.entropy_bits_quantiles)
    assert report.cosine_distance == pytest.approx(mean_cosine_distance(rows))
    assert 0 < report.attention_distance < report.farthest
    assert 1 < report.effective_rank < KEYS
    assert "cosine distance" in report.verdict


def test_queries_that_attend_to_nothing_are_left_out(generator, monkeypatch):
    record = random_record(generator)
    rows = torch.rand(QUERIES, KEYS, generator=generator, dtype=torch.float64)
    fake_attention(monkeypatch, rows[:-2])
    fewer = replace(
        record,
        query=record.query[:-2],
        query_grid=Grid(3, 11, 1, 1, (40, 56)),
    )
    expected = degeneracy.measure(fewer)
    rows[-2:] = 0
    fake_attention(monkeypatch, rows)
    found = degeneracy.measure(record)
    for name in ("query_information_bits", "cosine_distance", "entropy_bits", "perplexity"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name
    rows[:] = 0
    nothing = degeneracy.measure(record)
    assert isnan(nothing.cosine_distance)
    assert isnan(nothing.query_information_bits)
    assert nothing.verdict == "There is nothing to judge: all weights are 0."


def test_the_same_seed_gives_the_same_report(generator):
    record = random_record(generator)
    query = torch.randn(700, 13, generator=generator, dtype=torch.float64)
    many = replace(record, query=query, query_grid=Grid.tiling((40, 56), 20, 35))
    first, again, other = (degeneracy.measure(many, seed=seed) for seed in (3, 3, 4))
    for name in ("jsd_nats", "effective_rank", "jsd_standard_error"):
        assert getattr(first, name) == getattr(again, name) != getattr(other, name), name
    assert first.effective_rank_rows == RANKED
    assert first.cosine_distance == other.cosine_distance


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_record_with_nan_or_infinity_is_refused_by_the_name_of_its_block(generator, bad):
    record = random_record(generator)
    record.key[2, 3] = bad
    with pytest.raises(ValueError, match=r"head\.block.*key"):
        degeneracy.measure(record)
