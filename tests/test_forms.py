import pytest
import torch
from records import KEYS, QUERIES, random_record

from nonlocal_lens.analysis import degeneracy, forms, terms

EVERY_QUERY = range(QUERIES)


@pytest.fixture
def distance(monkeypatch):
    """Add a form whose logits are no products: minus the squared distance of query and key."""

    def logits(query, key, scale):
        return (
            -scale * torch.cdist(query, key, compute_mode="donot_use_mm_for_euclid_dist").square()
        )

    def means(query, key):
        every = logits(query.double(), key.double(), 0.3)
        return every.mean(1), every.mean(0)

    form = forms.Form(("unnormalized", "coupled"), logits, means=means)
    monkeypatch.setitem(forms.FORMS, "distance", form)


@pytest.mark.parametrize("coupling", ["unnormalized", "coupled"])
@pytest.mark.usefixtures("distance")
def test_a_form_that_nobody_foresaw_is_an_entry(generator, coupling):
    record = random_record(generator, coupling, form="distance")
    raw = -0.3 * (record.query[:, None] - record.key).square().sum(2)
    grand, row, column = raw.mean(), raw.mean(1), raw.mean(0)
    pairwise = raw - row[:, None] - column + grand
    assert raw.shape == (QUERIES, KEYS)
    assert (terms.logits(record, EVERY_QUERY) - raw).abs().max() < 1e-10
    assert (terms.pairwise_logits(record, EVERY_QUERY) - pairwise).abs().max() < 1e-10
    assert (terms.unary_logits(record) - (column - grand)).abs().max() < 1e-10
    assert (terms.row_logits(record, EVERY_QUERY) - (row - grand)).abs().max() < 1e-10
    assert (terms.grand_logit(record) - grand).abs() < 1e-10
    whole = raw / KEYS if coupling == "unnormalized" else raw.softmax(1)
    assert (terms.attention(record, EVERY_QUERY) - whole).abs().max() < 1e-10

    report = degeneracy.measure(record)
    of_unary, of_pairwise = (column - grand).square().sum() * QUERIES, pairwise.square().sum()
    share = of_unary / (of_unary + of_pairwise)
    assert report.unary_share == pytest.approx(share.item(), abs=1e-9)
    assert report.stable_rank != report.stable_rank, "of logits that are no products there is none"


@pytest.mark.parametrize("name", [name for name, form in forms.FORMS.items() if form.means])
def test_means_of_logits_that_are_no_products_are_those_of_all_of_them(generator, name):
    form = forms.FORMS[name]
    query, key = (torch.randn(n, form.channels or 3, generator=generator) for n in (13, 7))
    every = form.logits(query.double(), key.double(), 1.0)
    row, column = form.means(query, key)
    assert (row - every.mean(1)).abs().max() < 1e-6
    assert (column - every.mean(0)).abs().max() < 1e-6
