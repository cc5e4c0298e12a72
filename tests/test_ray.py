"""Batches on a Ray cluster of this machine: a node dies, and nothing is lost or doubled."""

import sys
import time

import pytest
from batches import saved_network, saved_photos
from typer.testing import CliRunner

from nonlocal_lens.app.batch import command_line
from nonlocal_lens.app.cli import cli
from nonlocal_lens.app.export.options import Options as ExportOptions
from nonlocal_lens.app.export.run import export
from nonlocal_lens.app.stats.options import Options
from nonlocal_lens.app.stats.run import measure_all

ray = pytest.importorskip("ray")
ray_engine = pytest.importorskip("nonlocal_lens.app.batch.ray_engine")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of Ray's sockets and log files
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PHOTOS = 24
SMALL = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster():
    """A head without cores, and two nodes that have one each."""
    from ray._private import services
    from ray.cluster_utils import Cluster

    find_node = services.get_node
    patience = time.monotonic() + 120

    def patiently(*args, **options):
        """Ray gives a node half a minute to appear; a busy machine needs more."""
        while True:
            try:
                return find_node(*args, **options)
            except RuntimeError:
                if time.monotonic() > patience:
                    raise
                time.sleep(0.5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "get_node", patiently)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = {**SMALL, "num_cpus": 0, "include_dashboard": False}
        try:
            small = Cluster(initialize_head=True, head_node_args=head)
            small.nodes = [small.add_node(**SMALL, wait=False) for _ in range(2)]
            small.wait_for_nodes(timeout=120)
        except (RuntimeError, TimeoutError) as error:  # Ray's own daemons give up on a busy machine
            pytest.skip(f"Ray could not start a cluster here: {str(error).splitlines()[0]}")
        yield small
        ray.shutdown()
        small.shutdown()


@pytest.fixture
def network(tmp_path):
    return saved_network(tmp_path)


@pytest.fixture
def photos(tmp_path):
    folder = saved_photos(tmp_path, PHOTOS)
    (folder / "photo7.png").write_bytes(b"no picture")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def on(cluster):
    return command_line.engine_of(command_line.EngineName.ray, cluster.address)


def test_a_node_dies_in_the_middle_and_the_table_is_that_of_one_process(
    cluster, photos, network, tmp_path
):
    options = Options(inputs=(str(photos),), networks=(str(network),))
    measure_all(options, tmp_path / "local" / "stats.parquet", jobs=1)
    dead = []

    def progress(done, total):
        if done >= 4 and not dead:
            dead.append(cluster.nodes.pop())
            cluster.remove_node(dead[0], allow_graceful=False)

    out = tmp_path / "ray" / "stats.parquet"
    summary = measure_all(options, out, engine=on(cluster), progress=progress)
    assert dead, "it was in the middle"
    assert (summary.inputs, summary.rows, summary.errors) == (PHOTOS, PHOTOS - 1, 1)
    assert contents(out.parent) == contents(tmp_path / "local")


def test_figures_have_the_same_bytes_wherever_they_are_drawn(
    cluster, photos, network, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # paths that do not begin at the root mean the same there
    options = ExportOptions.build(
        {
            "inputs": ["photos/photo[0-27].png"],
            "networks": ["tiny.safetensors"],
            "queries": ["grid:1x2"],
            "dpi": 50,
            "width_in": 2,
        }
    )
    local = export(options, tmp_path / "local")
    there = export(options, tmp_path / "ray", jobs=None, engine=on(cluster))
    assert local == there == (3, 1, 0)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")


def test_what_stops_a_batch_is_raised_where_it_was_started(cluster, photos, network, tmp_path):
    options = Options(inputs=(str(photos),), networks=(str(network),))
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # nodes have no tests
    gone = tmp_path / "gone.safetensors"
    network.rename(gone)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        list(on(cluster)(WithoutItsNetwork(options), ["photo0"], None))


class WithoutItsNetwork:
    """Work whose network is not there on the nodes."""

    def __init__(self, options):
        self.options = options

    def __call__(self, job):
        from nonlocal_lens.app.batch.networks import load

        return load(self.options.networks[0])


def test_without_ray_there_is_a_sentence_with_the_command(monkeypatch, photos, network):
    monkeypatch.setattr(command_line, "find_spec", lambda name: None)
    for command in ("stats", "export"):
        arguments = [command, str(photos), "--network", str(network), "--engine", "ray"]
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 2
        assert "pip install -r requirements-ray.txt" in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_cluster_that_is_not_there_is_named(photos, network, tmp_path):
    arguments = ["stats", photos, "--network", network, "--engine", "ray"]
    arguments += ["--address", "nowhere", "--out", tmp_path / "stats.csv"]
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: there is no Ray cluster at nowhere: ")
    assert result.stderr.count("\n") == 1


def test_a_cluster_that_did_not_start_in_time_is_started_again(monkeypatch):
    starts = []

    def slow(**options):
        starts.append(options["address"])
        if len(starts) < ray_engine.STARTS:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", slow)
    with ray_engine.connected(None):
        assert starts == ["local"] * ray_engine.STARTS
    starts.clear()
    sentence = r"there is no Ray cluster at ray:1: The current node"
    with pytest.raises(ValueError, match=sentence), ray_engine.connected("ray:1"):
        pass
    assert starts == ["ray:1"]
