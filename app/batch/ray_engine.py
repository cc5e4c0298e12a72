"""What works the jobs of a batch off on a cluster: Ray Data.

The same function as on one machine is mapped over the jobs. What comes back goes through this
process, whose journal makes a batch resumable and its results the same bytes as anywhere else.
"""

import os
import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import nonlocal_lens
from nonlocal_lens.app.batch.engine import Done, Job
from nonlocal_lens.app.batch.writing import OutputError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.data import DataContext, TaskPoolStrategy

ROOMS = ("streets", "models", "analysis", "app")

MOST_PER_TASK = 16
"""Jobs of one task: what a dying node loses at most, and has to be done again elsewhere."""

LEAST_TASKS = 64
"""Tasks that jobs are dealt out to, if there are so many jobs."""


def on_ray(
    work: Callable[[Job], Done],
    jobs: Sequence[Job],
    workers: int | None,
    *,
    address: str | None = None,
) -> Generator[tuple[Job, Done]]:
    """Work jobs off on a Ray cluster; see `app.batch.engine.Engine`.

    Code travels to the nodes; files do not: they must be found under the same paths there. A task
    whose node dies is done again elsewhere.

    Args:
        work: What is done.
        jobs: To what.
        workers: How many tasks at a time; None for as many as the cluster has cores.
        address: Of the cluster, as `ray start` prints it; None starts one on this machine.

    Raises:
        ValueError: There is no cluster at the address.
        OutputError: The cluster broke down.
    """
    if not jobs:
        return
    packed = [{"job": pickle.dumps(job)} for job in jobs]
    tasks = max(min(LEAST_TASKS, len(jobs)), -(-len(jobs) // MOST_PER_TASK))
    with connected(address):
        context = DataContext.get_current()
        context.enable_progress_bars = False
        results = ray.data.from_items(packed, override_num_blocks=tasks).map(
            partial(_do, work=work, folder=str(Path.cwd())),
            compute=TaskPoolStrategy(size=workers),
            num_cpus=1,
        )
        try:
            batch: Any
            for batch in results.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                for packed_result in batch["result"].to_pylist():
                    job, done, error = pickle.loads(packed_result)
                    if error is not None:
                        raise error
                    yield job, done
        except ray.exceptions.RayError as error:
            raise OutputError(
                f"the cluster broke down ({_first_line(error)}); what is finished is kept, "
                "--resume goes on from there"
            ) from error


STARTS = 3
"""Times that a cluster is started on this machine: Ray gives each half a minute, and a machine that
is busy with other work takes longer than that now and then."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine, until the `with` ends."""
    options: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    if address is None:
        options["include_dashboard"] = False
    with TemporaryDirectory() as folder:
        package = str(_package(Path(folder)))
        for left in reversed(range(1 if address else STARTS)):
            try:
                environment = {"py_modules": [package]}
                ray.init(address=address or "local", runtime_env=environment, **options)
                break
            except Exception as error:  # Ray raises a plain Exception where a node does not start
                ray.shutdown()
                if left:
                    continue
                there = f"at {address}" if address else "on this machine"
                sentence = f"there is no Ray cluster {there}: {_first_line(error)}"
                raise ValueError(sentence) from error
    try:
        yield
    finally:
        ray.shutdown()


def _package(folder: Path) -> Path:
    """Copy this package into a folder as it is when installed: a checkout's rooms lie apart."""
    copy = folder / nonlocal_lens.__name__
    for module, to in [(nonlocal_lens, copy), *((_room(name), copy / name) for name in ROOMS)]:
        assert module.__file__ is not None
        ignored = ignore_patterns("__pycache__")
        copytree(Path(module.__file__).parent, to, ignore=ignored, dirs_exist_ok=True)
    return copy


def _room(name: str) -> ModuleType:
    return import_module(f"nonlocal_lens.{name}")


def _do(row: dict[str, Any], work: Callable[[Any], Any], folder: str) -> dict[str, Any]:
    """Do one job in a process of the cluster, as if it ran where the command was given."""
    from nonlocal_lens.app.batch.engine import init_worker

    job = pickle.loads(row["job"])
    try:
        os.chdir(folder)  # where the paths of inputs and results begin
        init_worker()
        result: tuple[Any, Any, Exception | None] = job, work(job), None
    except Exception as error:  # what ends the batch is raised where the batch is
        result = job, None, error
    return {"result": pickle.dumps(result)}


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
