"""The checks of annotations that stand around every test find what is wrong."""

from collections.abc import Callable, Sequence

import pytest
import torch
from annotations import checked, names_a_shape, typechecked
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, Int
from records import random_record
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.consistency import cell_class
from nonlocal_lens.analysis.grid import Grid


@checked(typechecker=typechecked)
def product(a: Float[Tensor, "rows n"], b: Float[Tensor, "n columns"]) -> Float[Tensor, "rows n"]:
    return a @ b


def test_sizes_of_one_name_are_held_together_and_forgotten_after_a_call():
    for size in (2, 3, 5):
        assert product(torch.eye(size), torch.eye(size)).shape == (size, size)
    with pytest.raises(BeartypeCallHintViolation, match="b="):
        product(torch.eye(3), torch.eye(5))
    with pytest.raises(BeartypeCallHintViolation, match="return"):
        product(torch.eye(3), torch.zeros(3, 7))


def test_a_wrong_shape_is_found():
    record = random_record(torch.Generator().manual_seed(0))
    with pytest.raises(BeartypeCallHintViolation):
        cell_class(torch.zeros(7))
    with pytest.raises(BeartypeCallHintViolation):
        terms.attention(record, torch.zeros(1, 1, dtype=torch.long))


def test_a_wrong_type_is_found_where_no_shape_is_named():
    with pytest.raises(BeartypeCallHintViolation):
        Grid.cell_at(random_record(torch.Generator().manual_seed(0)).query_grid, x="left", y=0.0)


def test_users_run_without_them(as_users_run):
    assert cell_class(torch.eye(3)[None])[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "annotation",
    [
        Float[Tensor, " n"],
        Sequence[int] | Int[Tensor, " n"],
        dict[str, tuple[Float[Tensor, " n"], int]],
        Callable[[Float[Tensor, " n"]], None],
    ],
)
def test_shapes_are_found_anywhere_in_an_annotation(annotation):
    assert names_a_shape(annotation)
    assert not names_a_shape(Callable[[Tensor], Sequence[int]])
