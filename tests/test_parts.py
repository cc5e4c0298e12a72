"""A part of a network, a block, one of its runs, one of its heads: chosen, named, opened again."""

from dataclasses import replace

import pytest
import torch
from records import random_record
from streamlit.testing.v1 import AppTest

from nonlocal_lens.analysis.atlas import head_title
from nonlocal_lens.analysis.scene import choose_record
from nonlocal_lens.app.shown import Part, named_part, part_of

PARTS = {
    "": Part(),
    "layer3.1": Part("layer3.1"),
    "head.block": Part("head.block"),
    "blocks.3.attn.head5": Part("blocks.3.attn", 5),
    "san.call2": Part("san", None, 2),
    "san.call2.head11": Part("san", 11, 2),
    "x.headroom.head2": Part("x.headroom", 2),
}


def records():
    """Return those of two blocks: one runs three times in two heads, the other once."""
    one = random_record(torch.Generator().manual_seed(2))
    runs = [replace(one, block="a", call=call, head=head) for call in range(3) for head in (0, 1)]
    return (*runs, replace(one, block="b"))


@pytest.mark.parametrize("name", PARTS)
def test_a_name_stands_for_a_part_and_a_part_has_that_name(name):
    assert named_part(name) == PARTS[name]
    assert named_part(name).name == name


def test_every_record_has_its_own_name_and_opens_by_it():
    found = records()
    names = [part_of(record).name for record in found]
    assert names == [head_title(record) for record in found]
    assert len({*names}) == len(found)
    for record, name in zip(found, names, strict=True):
        part = named_part(name)
        assert choose_record(found, part.block, part.head, part.call or 0) is record


def test_a_run_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(ValueError, match=r"no block 'a' in a call 3; .*a call 2 head 1, b"):
        choose_record(records(), "a", None, 3)


def picker():
    import streamlit as st
    from test_parts import records

    from nonlocal_lens.app.components.network_picker import choose_record

    st.text(str(choose_record(records(), "test")))


def test_a_run_is_chosen_where_a_block_has_several():
    page = AppTest.from_function(picker, default_timeout=120).run()
    assert [box.options for box in page.selectbox] == [
        ["Block a", "Block b"], ["Run 1", "Run 2", "Run 3"], ["Head 0", "Head 1"]
    ]  # fmt: skip
    assert page.text[0].value == "0"
    page.selectbox[1].set_value(3).run()
    page.selectbox[2].set_value(1).run()
    assert page.text[0].value == "5"
    page.selectbox[0].set_value("b").run()
    assert page.text[0].value == "6"
    assert len(page.selectbox) == 1
