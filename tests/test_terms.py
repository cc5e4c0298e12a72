from dataclasses import replace

import pytest
import torch
from records import KEYS, KINDS, QUERIES, random_record

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.record import ROW_SUM

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


def logits_by_hand(record):
    """Return the whole logit matrix of a block that takes nothing out."""
    if record.form == "concatenation":
        return (record.query + record.key.T).relu()
    return record.scale * record.query @ record.key.T


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("form", ["dot_product", "concatenation"])
def test_without_a_softmax_all_four_terms_add_up_to_the_logit(generator, form, dtype):
    record = random_record(generator, "unnormalized", dtype, form=form)
    expected = logits_by_hand(record)
    pairwise, unary = terms.pairwise_logits(record, EVERY_QUERY), terms.unary_logits(record)
    row, grand = terms.row_logits(record, EVERY_QUERY), terms.grand_logit(record)
    tolerance = TOLERANCE[dtype] * expected.abs().max()

    assert (grand + row[:, None] + unary + pairwise - expected).abs().max() < tolerance
    assert (grand - expected.mean()).abs() < tolerance
    assert (grand + row - expected.mean(dim=1)).abs().max() < tolerance
    assert (grand + unary - expected.mean(dim=0)).abs().max() < tolerance
    assert pairwise.sum(dim=0).abs().max() < 100 * tolerance
    assert pairwise.sum(dim=1).abs().max() < 100 * tolerance

    whole = terms.attention(record, EVERY_QUERY)
    assert (whole - expected / KEYS).abs().max() < tolerance
    for term, part in (("pairwise", pairwise), ("unary", unary.expand(QUERIES, -1))):
        shown = terms.attention(record, EVERY_QUERY, term)
        assert (shown - part / KEYS).abs().max() < tolerance


def test_the_random_concatenation_rectifies_some_pairs_and_not_others(generator):
    record = random_record(generator, **KINDS["concatenation"])
    rectified = (logits_by_hand(record) == 0).double().mean()
    assert 0.2 < rectified < 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_rows_sum_to_what_their_coupling_says(generator, kind):
    record = random_record(generator, **KINDS[kind])
    for term in terms.TERMS:
        rows = terms.attention(record, EVERY_QUERY, term)
        assert rows.shape == (QUERIES, KEYS)
        if record.coupling != "unnormalized":
            row_sum = ROW_SUM[record.coupling] if term == "whole" else 1
            assert (rows.sum(dim=1) - row_sum).abs().max() < 1e-12
            assert rows.min() >= 0


@pytest.mark.parametrize("learned", [False, True], ids=["derived", "learned"])
@pytest.mark.parametrize(
    ("coupling", "whole_of"),
    [
        ("coupled", lambda pairwise, unary: (pairwise + unary).softmax(1)),
        ("disentangled", lambda pairwise, unary: pairwise.softmax(1) + unary.softmax(0)),
        ("unary", lambda pairwise, unary: unary.softmax(0).expand(QUERIES, -1)),
    ],
)
def test_how_terms_couple_and_where_the_unary_one_comes_from_are_two_choices(
    generator, coupling, whole_of, learned
):
    record = random_record(generator, coupling, form="embedded_gaussian", learned=learned)
    query, key = (x - x.mean(0) for x in (record.query, record.key))
    unary = record.unary if learned else record.scale * key @ record.query.mean(0)
    expected = whole_of(record.scale * query @ key.T, unary)
    assert (terms.attention(record, EVERY_QUERY) - expected).abs().max() < 1e-12


def test_a_term_that_the_block_does_not_have_is_uniform(generator):
    pairwise_only = random_record(generator, "pairwise")
    assert not terms.unary_logits(pairwise_only).any()
    unary_only = random_record(generator, "unary")
    assert not terms.pairwise_logits(unary_only, EVERY_QUERY).any()
    for record, missing in ((pairwise_only, "unary"), (unary_only, "pairwise")):
        present = "pairwise" if missing == "unary" else "unary"
        rows = {term: terms.attention(record, EVERY_QUERY, term) for term in terms.TERMS}
        assert (rows[missing] - 1 / KEYS).abs().max() < 1e-15
        assert torch.equal(rows["whole"], rows[present])


def test_disentangled_whole_is_the_sum_of_its_terms_and_uses_the_learned_unary_logits(generator):
    record = random_record(generator, "disentangled")
    parts = [terms.attention(record, [3], term) for term in ("pairwise", "unary")]
    assert torch.equal(terms.attention(record, [3]), parts[0] + parts[1])
    assert torch.equal(parts[1][0], record.unary.softmax(dim=0))


@pytest.mark.parametrize("whitened", [True, False])
@pytest.mark.parametrize("gain", [0.0, 0.3, -0.7, 2.5])
def test_a_gain_weighs_the_pairwise_softmax_alone(generator, gain, whitened):
    record = random_record(generator, "disentangled")
    record = replace(record, pairwise_gain=gain, whitened=whitened)
    query, key = record.query, record.key
    if whitened:
        query, key = query - query.mean(0), key - key.mean(0)
    pairwise = (record.scale * query @ key.T).softmax(1)
    expected = gain * pairwise + record.unary.softmax(0)
    rows = terms.attention(record, EVERY_QUERY)
    assert (rows - expected).abs().max() < 1e-12
    assert (terms.attention(record, EVERY_QUERY, "pairwise") - pairwise).abs().max() < 1e-12
    assert (rows.sum(1) - record.row_sum).abs().max() < 1e-12
    assert record.row_sum == 1 + gain


def test_a_value_worked_by_hand():
    from nonlocal_lens.analysis.grid import Grid
    from nonlocal_lens.analysis.record import AttentionRecord

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


def test_rectified_means_worked_by_hand():
    from nonlocal_lens.analysis.grid import Grid
    from nonlocal_lens.analysis.record import AttentionRecord

    # logits ReLU(q + k): rows (0, 3), (2, 6); so grand 2.75, rows -+1.25, unary -+1.75
    record = AttentionRecord(
        block="b",
        form="concatenation",
        coupling="unnormalized",
        scale=1.0,
        query=torch.tensor([[0.0], [3.0]]),
        key=torch.tensor([[-1.0], [3.0]]),
        unary=None,
        query_grid=Grid.tiling((8, 16), 1, 2),
        key_grid=Grid.tiling((8, 16), 1, 2),
    )
    assert terms.grand_logit(record).item() == 2.75
    assert terms.row_logits(record, [0, 1]).tolist() == [-1.25, 1.25]
    assert terms.unary_logits(record).tolist() == [-1.75, 1.75]
    assert terms.pairwise_logits(record, [0, 1]).tolist() == [[0.25, -0.25], [-0.25, 0.25]]
    assert terms.attention(record, [1])[0].tolist() == [1, 3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3])
def test_heads_at_a_time_attend_as_each_of_them(generator, kind, count):
    first = random_record(generator, **KINDS[kind])
    heads = [first] + [
        replace(
            first,
            query=torch.randn_like(first.query) + 0.7,
            key=first.key + torch.randn_like(first.key),
            scale=first.scale if first.key.shape[1] == 1 else 0.1 * (at + 1),
        )
        for at in range(count - 1)
    ]
    rows = [3, 0, 17]
    together = terms.rows_of_heads(heads, rows)
    for found, alone in ((together.logits, terms.logits), (together.attention, terms.attention)):
        expected = torch.stack([alone(head, rows) for head in heads])
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def test_tensors_that_lie_side_by_side_are_stacked_without_a_copy():
    whole = torch.randn(3, 5, 7)
    parts = list(whole)
    assert terms.stacked(parts).data_ptr() == whole.data_ptr()
    assert torch.equal(terms.stacked(parts[::2]), whole[::2])
    for others in (parts[::-1], parts[:2], [parts[0]] * 3, [x.clone() for x in parts]):
        assert torch.equal(terms.stacked(others), torch.stack(others))
    turned = list(whole.mT.contiguous().mT)
    assert torch.equal(terms.stacked(turned), whole)
