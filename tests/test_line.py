"""The line: nobody is forgotten, pages go first, tabs have equal shares, and one can leave."""

import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import torch
from networks import tiny_network

from nonlocal_lens.app import cache
from nonlocal_lens.app.batch.networks import twin_of
from nonlocal_lens.app.byte_cache import ByteCache, bytes_of
from nonlocal_lens.app.line import PATIENCE, LeftLineError, Line
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.app.survey import run


class Crowd:
    """Threads that stand in a line and note the order in which their turns come."""

    def __init__(self, line):
        self.line, self.order, self.threads = line, [], []

    def join_line(self, name, *, background=False, seconds=0.0):
        standing = threading.Event()

        def stand(ticket):
            standing.set()

        def work():
            with self.line.turn(name[0], background=background, waits=stand):
                self.order.append(name)
                time.sleep(seconds)

        thread = threading.Thread(target=work)
        thread.start()
        assert standing.wait(30)
        self.threads.append(thread)

    def end(self):
        for thread in self.threads:
            thread.join(30)
        return self.order


@pytest.fixture
def line():
    return Line(1)


def test_a_page_goes_before_what_runs_in_the_background(line):
    crowd = Crowd(line)
    with line.turn("x"):
        for name in ("a1", "a2", "b1"):
            crowd.join_line(name, background=True)
        crowd.join_line("c1")
    assert crowd.end()[0] == "c1"
    assert line.waiting == line.working == 0
    assert line.turns == 5


def test_pages_without_end_let_a_piece_of_the_background_through():
    """Pages come faster than they go: the background still has a turn, and pages have most."""
    now = [0.0]
    line = Line(1, clock=lambda: now[0])
    crowd = Crowd(line)
    with line.turn("x"):
        for name in ("a1", "a2"):
            crowd.join_line(name, background=True)
        for number in range(3):
            crowd.join_line(f"page {number}")
        now[0] = PATIENCE
    order = crowd.end()
    assert order[0] == "a1"
    assert order[1:4] == ["page 0", "page 1", "page 2"], "one piece, not all"
    assert order[4] == "a2"


def test_tabs_have_equal_shares_however_much_they_ask_for(line):
    """A tab with forty pieces of work, and one that comes later with four."""
    order, begun = [], threading.Event()

    def survey(tab, pieces):
        for _ in range(pieces):
            with line.turn(tab, background=True):
                order.append(tab)
                begun.set()
                time.sleep(0.01)

    many = threading.Thread(target=survey, args=("many", 40))
    many.start()
    assert begun.wait(30)
    few = threading.Thread(target=survey, args=("few", 4))
    few.start()
    few.join(30)
    so_far = list(order)
    many.join(30)
    first = so_far.index("few")
    assert so_far[first:].count("many") <= 8, "not all forty came first"
    assert order.count("many") == 40


def test_the_background_leaves_a_place_free():
    line = Line(3)
    crowd = Crowd(line)
    for name in ("a1", "b1", "c1", "d1"):
        crowd.join_line(name, background=True, seconds=0.6)
    assert line.working == 2
    with line.turn("page"):
        assert line.working == 3
    assert sorted(crowd.end()) == ["a1", "b1", "c1", "d1"]


def test_the_place_in_line_is_told(line):
    tickets = []
    crowd = Crowd(line)
    with line.turn("x"):
        crowd.join_line("a1", background=True)

        def last():
            with line.turn("b", background=True, waits=lambda one: one and tickets.append(one)):
                pass

        thread = threading.Thread(target=last)
        thread.start()
        deadline = time.monotonic() + 30
        while not tickets and time.monotonic() < deadline:
            time.sleep(0.01)
        assert line.ahead(tickets[0]) == 2
        crowd.join_line("c1")
        assert line.ahead(tickets[0]) == 3, "a page came first"
    crowd.end()
    thread.join(30)
    assert line.ahead(tickets[0]) == 0


def test_one_can_leave_the_line(line):
    wanted = threading.Event()
    with line.turn("x"):
        left = []

        def leave():
            with pytest.raises(LeftLineError), line.turn("a", wanted=lambda: not wanted.is_set()):
                raise AssertionError
            left.append(True)

        thread = threading.Thread(target=leave)
        thread.start()
        wanted.set()
        thread.join(30)
        assert left
        assert line.waiting == 0


def test_a_turn_within_a_turn_waits_for_nothing(line):
    with line.turn("a"), line.turn("a"), line.turn("b", background=True):
        assert line.working == 1
    assert line.working == 0


def test_a_turn_ends_whatever_happens_in_it(line):
    with pytest.raises(ZeroDivisionError), line.turn("a"):
        raise ZeroDivisionError
    with line.turn("b"):
        assert line.working == 1


def test_who_leaves_the_moment_the_turn_comes_takes_none_along(line):
    """A page that is left raises wherever it draws, also where it says that the turn has come."""

    def tell(ticket):
        if ticket is None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), line.turn("a", waits=tell):
        raise AssertionError
    with line.turn("b"):
        assert line.working == 1


def test_a_tab_that_is_forgotten_while_it_waits_is_in_nobodys_way(line):
    crowd = Crowd(line)
    with line.turn("x"):
        crowd.join_line("a1", background=True)
        line.forget("a")
        crowd.join_line("b1", background=True)
    assert sorted(crowd.end()) == ["a1", "b1"]


def test_a_survey_waits_for_its_turn_and_can_be_cancelled_there(line, monkeypatch):
    monkeypatch.setattr(run, "line", lambda: line)
    image = np.zeros((40, 56, 3), np.uint8)
    items = (run.Item("a", lambda: Picture("a", image, "a", "a.png")),)
    with line.turn("somebody else"):
        survey = run.Survey(
            run.Plan(("non_local",), items, ()), lambda name: tiny_network(name), "tab"
        )
        deadline = time.monotonic() + 60
        while survey.ahead != 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        survey.cancel()
        survey.wait(60)
        assert not survey.running
    assert survey.results.done == 0
    assert not survey.results.errors


def test_twins_share_weights_and_nothing_else():
    network = tiny_network("disentangled")
    twin = twin_of(network)
    assert [one.data_ptr() for one in twin.parameters()] == [
        one.data_ptr() for one in network.parameters()
    ]
    seen = []
    twin.register_forward_hook(lambda *_: seen.append(1))
    x = torch.zeros(1, 3, 40, 56)
    with torch.no_grad():
        assert torch.equal(network(x), twin(x))
    assert len(seen) == 1
    assert bytes_of([network, twin]) < 1.2 * bytes_of(network)


def test_a_page_computes_in_all_threads_that_nobody_else_has():
    line, before = Line(3, threads=3), torch.get_num_threads()
    others, afterwards = [], []

    def join(background):
        with line.turn("y", background=background):
            others.append(torch.get_num_threads())
        afterwards.append(torch.get_num_threads())

    def compute_without_a_turn():
        afterwards.append(torch.get_num_threads())

    with line.turn("x"):
        assert torch.get_num_threads() == 3
        thread = threading.Thread(target=compute_without_a_turn)
        thread.start()
        thread.join(30)
        for background in (False, True):
            thread = threading.Thread(target=join, args=(background,))
            thread.start()
            thread.join(30)
        with line.turn("x"):  # within a turn nothing changes
            assert torch.get_num_threads() == 3
    assert others == [2, 1]
    assert [*afterwards, torch.get_num_threads()] == [before] * 4  # and none has what another had


@pytest.fixture
def told(monkeypatch, line):
    """Functions that take long and tell when they are made, and spinners when they come and go."""
    told = []

    @contextmanager
    def spinner(text):
        told.append(f"says {text}")
        yield
        told.append(f"said {text}")

    monkeypatch.setattr(cache.st, "spinner", spinner)
    monkeypatch.setattr(cache, "RESULTS", ByteCache(1_000_000))
    monkeypatch.setattr(cache, "page_turn", lambda: line.turn("x"))

    @cache.remembered("first", heavy=True)
    def first(number):
        told.append(f"makes first {number}")
        return number

    @cache.remembered("second", heavy=True)
    def second(number):
        told.append(f"makes second {number}")
        return first(number)

    return told, first, second


def test_what_a_page_waits_for_is_there_before_the_spinner_goes(told, line):
    told, first, second = told
    with cache.one_wait():
        first(1)
        second(1)
        told.append("shows them")
    assert told == ["says first", "makes first 1", "makes second 1", "shows them", "said first"]
    assert line.turns == 1
    with cache.one_wait():
        second(1)
    assert len(told) == 5  # what is there already is not waited for
    assert line.turns == 1


def test_each_is_waited_for_by_itself_where_nothing_is_shown_in_between(told, line):
    told, first, second = told
    second(2)
    second(2)
    first(3)
    assert told == [
        *("says second", "makes second 2", "makes first 2", "said second"),
        *("says first", "makes first 3", "said first"),
    ]
    assert line.turns == 2


def test_a_turn_goes_back_with_the_work_that_took_it(told, line):
    """Who waits for what another tab makes must not hold the turn that this one waits for."""
    _, first, _ = told
    working = []

    @cache.remembered("outer")
    def outer(number):
        first(number)
        working.append(line.working)
        return number

    outer(1)
    assert working == [0]


def test_a_wait_ends_whatever_happens_in_it(told, line):
    _, first, _ = told
    with suppress(ValueError), cache.one_wait():
        first(1)
        raise ValueError
    with cache.one_wait():
        first(2)
    assert (line.working, line.turns) == (0, 2)
