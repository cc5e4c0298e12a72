"""Room in bytes: laws of the cache, sizes by hand, and many threads at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nonlocal_lens.app.byte_cache import OF_AN_OBJECT, ByteCache, bytes_of


@given(st.lists(st.tuples(st.integers(0, 13), st.integers(0, 400)), max_size=97))
def test_there_is_never_more_than_there_is_room_for(asked):
    cache = ByteCache(1009)
    sizes = {}
    for key, size in asked:
        expected = sizes[key] if key in cache else size
        sizes[key] = len(cache.get(key, lambda size=size: bytes(size)))
        assert sizes[key] == expected
        assert cache.bytes <= cache.most_bytes
        assert key in cache, "what was asked for last is there"
    assert cache.bytes == sum(OF_AN_OBJECT + sizes[key] for key in sizes if key in cache)


def test_the_least_recently_used_goes_first():
    cache = ByteCache(3 * (OF_AN_OBJECT + 100))
    for key in "abc":
        cache.get(key, lambda: bytes(100))
    cache.get("a", pytest.fail)
    cache.get("d", lambda: bytes(100))
    assert [key in cache for key in "abcd"] == [True, False, True, True]
    assert (cache.found, cache.made) == (1, 4)


def test_what_is_larger_than_all_the_room_is_handed_out_and_not_kept():
    cache = ByteCache(1000)
    cache.get("small", lambda: bytes(10))
    assert len(cache.get("large", lambda: bytes(1001))) == 1001
    assert "large" not in cache
    assert "small" in cache


def test_many_threads_have_a_value_made_once_and_see_the_same():
    cache = ByteCache(10_000)
    made = []

    def make():
        time.sleep(0.05)
        made.append(1)
        return object()

    with ThreadPoolExecutor(17) as threads:
        found = set(threads.map(lambda _: id(cache.get("one", make)), range(17)))
    assert len(found) == len(made) == 1


def test_what_fails_is_not_kept_and_the_next_one_tries_again():
    cache = ByteCache(10_000)
    with pytest.raises(ZeroDivisionError):
        cache.get("one", lambda: 1 // 0)
    assert cache.get("one", lambda: 7) == 7


def test_values_may_be_made_of_values():
    cache = ByteCache(10_000)
    assert cache.get("outer", lambda: cache.get("inner", lambda: 5) + 1) == 6


def test_making_one_does_not_keep_others_waiting():
    cache = ByteCache(10_000)
    begun, end = threading.Event(), threading.Event()

    def slow():
        begun.set()
        end.wait(30)
        return "slow"

    thread = threading.Thread(target=cache.get, args=("slow", slow))
    thread.start()
    assert begun.wait(30)
    assert cache.get("quick", lambda: "quick") == "quick"
    end.set()
    thread.join()
    assert cache.get("slow", pytest.fail) == "slow"


@dataclass
class Held:
    one: torch.Tensor
    other: tuple


def test_sizes_by_hand():
    whole = torch.zeros(31, 7)
    assert bytes_of(whole[3:5]) == bytes_of(whole) == 31 * 7 * 4 + OF_AN_OBJECT
    array = np.zeros((5, 11), np.uint8)
    assert bytes_of(array[1:]) == 55 + OF_AN_OBJECT
    held = Held(whole, (whole[1], array, array[2:], b"abc"))
    parts = 31 * 7 * 4 + 55 + 3
    assert bytes_of(held) == parts + 5 * OF_AN_OBJECT
    layer = torch.nn.Linear(13, 17)
    assert bytes_of(torch.nn.Sequential(layer, layer)) == (13 * 17 + 17) * 4 + 3 * OF_AN_OBJECT
    circle = []
    circle.append(circle)
    assert bytes_of(circle) == OF_AN_OBJECT


def test_as_many_as_are_used_again_and_again_are_kept_whatever_room_they_take():
    cache = ByteCache(100, least=2)
    for key in "ab":
        cache.get(key, lambda: bytes(1000))
    for key in "abab":
        cache.get(key, pytest.fail)
    cache.get("c", lambda: bytes(1000))
    assert [key in cache for key in "abc"] == [False, True, True]


def test_a_network_larger_than_the_room_for_networks_is_loaded_once(monkeypatch):
    from nonlocal_lens.app.batch import networks

    monkeypatch.setattr(networks, "NETWORKS_KEPT", ByteCache(1000, least=1))
    one = networks.load("streets-gc")
    assert networks.load("streets-gc") is one
    pair = networks.load_all(["streets-gc", "streets-nl"])
    again = networks.load_all(["streets-gc", "streets-nl"])
    assert all(x is y for x, y in zip(pair, again, strict=True))
