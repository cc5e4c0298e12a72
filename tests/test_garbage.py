"""When the server looks for garbage."""

import gc
import os

import pytest
from streamlit.config import get_config_options
from typer.testing import CliRunner

from nonlocal_lens.app.cli import SERVE, cli
from nonlocal_lens.app.server.garbage import AT_REST, GROWN, SHARE, Collector


class Server:
    """A server whose clock, memory and objects a test sets."""

    def __init__(self, takes=0.0):
        self.now, self.bytes, self.made, self.looks, self.takes = 0.0, 500_000_000, 0, 0, takes
        self.collector = Collector(
            self.collect, lambda: self.bytes, lambda: self.made, lambda: self.now
        )

    def collect(self):
        self.looks += 1
        self.now += self.takes

    def runs(self, seconds, grown=0):
        self.now += seconds
        self.made += 1
        self.bytes += grown
        return self.collector.think()


def test_nothing_is_looked_for_where_nothing_ran():
    server = Server()
    server.now = 1000
    server.bytes += 10 * GROWN
    assert not server.collector.think()
    assert server.looks == 0


def test_many_runs_need_one_look():
    server = Server()
    looked = [server.runs(AT_REST / 8) for _ in range(24)]
    assert sum(looked) == 3
    assert looked[7]
    assert not any(looked[:7])


def test_the_last_runs_garbage_is_looked_for_though_nothing_follows():
    server = Server()
    assert not server.runs(1)
    server.now += AT_REST
    assert server.collector.think()
    server.now += 100
    assert not server.collector.think()


@pytest.mark.parametrize(("grown", "soon"), [(GROWN, True), (GROWN - 1, False)])
def test_memory_that_grew_is_looked_through_soon(grown, soon):
    server = Server()
    assert server.runs(1, grown) is soon


def test_growth_counts_from_the_last_look():
    server = Server()
    assert server.runs(1, GROWN)
    assert not server.runs(1)
    assert server.runs(1, GROWN)


def test_looking_takes_a_bounded_share_of_the_time():
    server = Server(takes=0.25)
    while server.now < 300:
        server.runs(0.5, GROWN)
    assert 0.5 * SHARE <= server.looks * 0.25 / server.now <= SHARE


def test_what_runs_is_seen_and_cycles_go():
    class Cycle:
        gone = 0

        def __init__(self):
            self.itself = self

        def __del__(self):
            Cycle.gone += 1

    now = 0.0
    collector = Collector(clock=lambda: now)
    gc.collect()
    Cycle()
    gc.collect(0)  # as Python does by itself once hundreds of objects were made
    gone = Cycle.gone
    now = AT_REST
    assert collector.think()
    assert Cycle.gone >= gone
    assert Cycle.gone == 1


def test_the_app_leaves_it_to_the_collector(monkeypatch):
    """Streamlit's own way: everything, after every run, while no other tab runs."""
    commands = []
    monkeypatch.setattr(os, "execve", lambda _, command, __: commands.append(command))
    assert CliRunner().invoke(cli, []).exit_code == 0
    (command,) = commands
    assert command[command.index("--runner.postScriptGC") + 1] == "false"
    assert "Collector().watch()" in SERVE.read_text(encoding="utf-8")
    assert get_config_options()["runner.postScriptGC"].default_val is True  # it is still there
