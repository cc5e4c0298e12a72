"""The proof of records: what rounding explains is let through, what it does not is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import tiny_network

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.own_blocks import TOLERANCE, proved_by
from nonlocal_lens.analysis.tracing.proof import UnprovedError, differences, prove, tolerance

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
ROWS = torch.tensor([[0.5, 0.25, 0.25], [0.01, 0.02, 0.97]])


@pytest.mark.parametrize(
    ("precision", "logit", "expected"),
    [
        (torch.float32, 0.0, 1e-5),
        (torch.float32, 100.0, 2 * 2.0**-23 * 100),
        (torch.float32, 1e6, 2e-4),
        (torch.float64, 100.0, 1e-5),
        (torch.float16, 0.0, 1e-2),
        (torch.float16, 10.0, 2 * 2.0**-10 * 10),
        (torch.bfloat16, 1e6, 5e-2),
    ],
)
def test_what_rounding_explains_grows_with_the_logits_up_to_a_bound(precision, logit, expected):
    assert tolerance(precision, logit) == pytest.approx(expected)


@pytest.mark.parametrize(("precision", "most"), [(torch.float32, 1e-5), (torch.float16, 1e-2)])
def test_rows_may_differ_by_rounding_of_the_largest_weight_of_each(precision, most):
    own = ROWS.double()
    for row, largest in enumerate(ROWS.amax(dim=1).tolist()):
        near, far = own.clone(), own.clone()
        near[row, 0] += 0.9 * most * largest
        far[row, 0] -= 1.1 * most * largest
        errors = differences(torch.stack((near, own, far)), torch.stack((own, own, own)))
        assert errors == pytest.approx([0.9 * most, 0, 1.1 * most], rel=1e-4)
        proof = prove(errors[0], how="rows", queries=2, precision=precision)
        assert (proof.how, proof.queries, proof.tolerance) == ("rows", 2, most)
        assert proof.error == errors[0]
        with pytest.raises(UnprovedError, match=r"rounding explains 1\.0e-0"):
            prove(errors[2], how="rows", queries=2, precision=precision)


def test_what_is_no_number_is_refused():
    (error,) = differences(ROWS[None] * float("nan"), ROWS[None])
    with pytest.raises(UnprovedError, match="are nan from"):
        prove(error, how="", queries=2, precision=torch.float32)


@pytest.mark.parametrize("block", ["non_local", "disentangled"])
def test_projections_of_our_own_blocks_are_held_to_the_rows_that_were_traced(block):
    (record,) = capture(tiny_network(block), IMAGE)
    key = record.key + 0.1 * torch.randn(record.key.shape, generator=torch.manual_seed(0))
    record = replace(record, key=key)  # weights of any size, proved by themselves
    assert proved_by(record, record).proof.error == record.proof.error

    def scaled(by):
        return replace(record, scale=record.scale * by)

    assert proved_by(scaled(1 + 1e-7), record).proof.error < TOLERANCE == 1e-4
    factors = (1 + 1e-6 * 2**step for step in range(40))
    far = next(scaled(by) for by in factors if apart(scaled(by), record) > 5 * TOLERANCE)
    assert apart(far, record) < 0.05
    with pytest.raises(UnprovedError, match="the weights that lead from its projections"):
        proved_by(far, record)


def apart(one, other):
    rows = [terms.attention(record, range(len(record.query))).double() for record in (one, other)]
    return float(((rows[0] - rows[1]).abs() / rows[1].amax(dim=1, keepdim=True)).max())
