import pytest
import torch
from records import KEYS, QUERIES, random_record

from analysis import terms

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
EVERY_QUERY = range(QUERIES)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_pairwise_and_unary_rebuild_the_softmax_of_the_logits(generator, dtype):
    record = random_record(generator, dtype=dtype)
    expected = (record.scale * record.query @ record.key.T).softmax(dim=1)

    rebuilt = (terms.pairwise_logits(record, EVERY_QUERY) + terms.unary_logits(record)).softmax(
        dim=1
    )

    assert (rebuilt - expected).abs().max() < TOLERANCE[dtype]
    assert (terms.attention(record, EVERY_QUERY) - expected).abs().max() < TOLERANCE[dtype]


def test_the_four_terms_are_an_analysis_of_variance(generator):
    record = random_record(generator)
    logits = record.scale * record.query @ record.key.T
    pairwise, unary = terms.pairwise_logits(record, EVERY_QUERY), terms.unary_logits(record)
    grand, row = logits.mean(), logits.mean(dim=1, keepdim=True) - logits.mean()

    assert (grand + row + unary + pairwise - logits).abs().max() < 1e-12
    assert pairwise.sum(dim=0).abs().max() < 1e-12
    assert pairwise.sum(dim=1).abs().max() < 1e-12
    assert abs((pairwise * unary).sum()) < 1e-11, "the terms are orthogonal"


@pytest.mark.parametrize(
    ("coupling", "term", "row_sum"),
    [
        ("coupled", "whole", 1),
        ("coupled", "pairwise", 1),
        ("coupled", "unary", 1),
        ("disentangled", "whole", 2),
        ("disentangled", "pairwise", 1),
        ("disentangled", "unary", 1),
    ],
)
def test_rows_sum_to_what_their_coupling_says(generator, coupling, term, row_sum):
    record = random_record(generator, coupling)
    rows = terms.attention(record, EVERY_QUERY, term)
    assert rows.shape == (QUERIES, KEYS)
    assert (rows.sum(dim=1) - row_sum).abs().max() < 1e-12
    assert rows.min() >= 0


def test_disentangled_whole_is_the_sum_of_its_terms_and_uses_the_learned_unary_logits(generator):
    record = random_record(generator, "disentangled")
    parts = [terms.attention(record, [3], term) for term in ("pairwise", "unary")]
    assert torch.equal(terms.attention(record, [3]), parts[0] + parts[1])
    assert torch.equal(parts[1][0], record.unary.softmax(dim=0))


def test_a_value_worked_by_hand():
    from analysis.grid import Grid
    from analysis.record import AttentionRecord

    # logits 2 * q * k: rows (0, 0), (0, 4); so grand 1, unary (-1, 1), pairwise +-1
    record = AttentionRecord(
        block="b",
        form="embedded_gaussian",
        coupling="coupled",
        scale=2.0,
        query=torch.tensor([[0.0], [1.0]]),
        key=torch.tensor([[0.0], [2.0]]),
        unary=None,
        query_grid=Grid.tiling((8, 16), 1, 2),
        key_grid=Grid.tiling((8, 16), 1, 2),
    )
    assert terms.unary_logits(record).tolist() == [-1, 1]
    assert terms.pairwise_logits(record, [0, 1]).tolist() == [[1, -1], [-1, 1]]
    assert terms.attention(record, [0])[0].tolist() == [0.5, 0.5]


def test_queries_may_be_a_tensor_a_list_or_a_range(generator):
    record = random_record(generator)
    rows = terms.attention(record, [4, 2])
    assert torch.equal(terms.attention(record, torch.tensor([4, 2])), rows)
    assert torch.equal(terms.attention(record, range(4, 0, -2)), rows)


@pytest.mark.parametrize("query", [-1, QUERIES])
def test_a_query_off_the_grid_is_refused(generator, query):
    with pytest.raises(ValueError, match=rf"positions in \[0, {QUERIES}\), got {query}"):
        terms.attention(random_record(generator), [0, query])


@pytest.mark.usefixtures("as_users_run")
def test_an_unknown_term_is_refused_with_the_valid_ones(generator):
    with pytest.raises(ValueError, match="available: whole, pairwise, unary"):
        terms.attention(random_record(generator), [0], "both")
