import re

import pytest
import torch
from records import QUERIES, random_record
from torch.nn import functional as F

from analysis import terms
from analysis.figures.queries import QuerySpec, most_different, query_points


def points(record, *texts):
    return query_points(record, [QuerySpec.parse(text) for text in texts])


def test_points_cells_and_grids_are_image_points_in_the_order_given(generator):
    record = random_record(generator)  # 5 x 7 cells of 8 x 8 pixels
    assert points(record, "50,3.5", "cell:4,6", "grid:2x1") == [
        (50, 3.5),
        (52, 36),
        (28, 10),
        (28, 30),
    ]


def test_the_most_different_queries_are_those_of_a_search_through_all(generator):
    record = random_record(generator, scale=2.0)
    rows = F.normalize(terms.attention(record, range(QUERIES)), dim=1)
    cosine = rows @ rows.T
    chosen = [int((rows @ rows.mean(dim=0)).argmin())]
    while len(chosen) < 6:
        nearest = cosine[:, chosen].max(dim=1).values
        nearest[chosen] = torch.inf
        chosen.append(int(nearest.argmin()))
    assert most_different(record, 6) == chosen
    assert most_different(record, 2) == chosen[:2], "more queries leave the first ones as they are"


def test_all_queries_can_be_chosen_once_even_if_they_do_not_differ(generator):
    record = random_record(generator, scale=1e-9)
    assert sorted(most_different(record, QUERIES)) == list(range(QUERIES))
    with pytest.raises(ValueError, match="at most 35 queries can be chosen, got 36"):
        points(record, "auto:36")


@pytest.mark.parametrize(
    "text",
    ["", "5", "5,6,7", "-1,3", "nan,3", "grid:4", "grid:0x3", "grid:99x99", "auto:0", "all:3"],
)
def test_other_queries_are_refused(text):
    message = f"a query must be X,Y (image pixels), cell:R,C, grid:RxC or auto:K, got {text!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        QuerySpec.parse(text)


@pytest.mark.parametrize("text", ["56,3", "cell:5,0"])
def test_queries_beyond_the_image_are_refused_when_there_is_one(text, generator):
    with pytest.raises(ValueError, match="outside the"):
        points(random_record(generator), text)
