"""Runs that are killed at random moments leave the bytes of one that was not; a few of the kills.

`python -m benchmarks.kills` kills every kind of run, 150 times.
"""

import pytest

from benchmarks import kills


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["download", "training"])
def test_killed_runs_end_in_the_same_bytes(kind, capsys):
    assert kills.main(["--kills", "2", "--only", kind, "--seed", "7"]) == 0, capsys.readouterr().out


def test_bytes_that_differ_are_told(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    before = kills.contents(tmp_path)
    (tmp_path / "a").write_bytes(b"ten")
    (tmp_path / "a.lock").touch()
    after = kills.contents(tmp_path)
    assert before.keys() == after.keys() == {"a"}
    assert before != after
