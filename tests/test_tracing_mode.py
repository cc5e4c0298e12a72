"""Operations are seen wherever they hide, and the network does not notice."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from nonlocal_lens.analysis.tracing.mode import Editor, Observer, run
from nonlocal_lens.analysis.tracing.operation import Operation
from nonlocal_lens.analysis.tracing.running import Running


class Log(Observer):
    def begin(self, network, args, kwargs, running: Running) -> None:
        self.running = running
        self.names: list[tuple[str, str, int]] = []

    def seen(self, operation: Operation) -> None:
        module = operation.module_name
        self.names.append((operation.op_name, module, self.running.call_of(module)))

    def modules_of(self, op_name: str) -> list[str]:
        return [module for name, module, _ in self.names if name == op_name]


ATTENDING = {"_softmax", "_masked_softmax", "_scaled_dot_product_flash_attention_for_cpu"}


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.body(x)).softmax(1)


def seen_in(network: nn.Module, *args: Tensor) -> tuple[Tensor, Log]:
    log = Log()
    return run(network, args, observers=[log]), log


def test_operations_come_in_order_with_the_module_that_runs_and_how_often_it_ran():
    _, log = seen_in(Twice(), torch.zeros(2, 3))
    assert log.names == [
        ("t", "body.0", 0),
        ("addmm", "body.0", 0),
        ("t", "body.0", 1),
        ("addmm", "body.0", 1),
        ("_softmax", "", 0),
    ]


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("heads", [1, 4])
def test_the_fast_path_is_seen_through_and_its_output_kept_bit_for_bit(heads, need_weights):
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn = nn.MultiheadAttention(32, heads, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attn(x, x, x, need_weights=need_weights)[0]

    torch.manual_seed(0)
    network, x = Block().eval(), torch.randn(2, 11, 32)
    with torch.no_grad():
        right = network(x)
    output, log = seen_in(network, x)
    assert torch.equal(output, right)
    assert {module for name, module, _ in log.names if name in ATTENDING} == {"attn"}
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.filterwarnings("ignore:.*nested tensors.*:UserWarning", "ignore:enable_nested")
def test_a_whole_encoder_layer_is_seen_through(norm_first, activation, padded):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        16, 2, 24, batch_first=True, norm_first=norm_first, activation=activation
    )
    network, x = nn.TransformerEncoder(layer, 2).eval(), torch.randn(2, 7, 16)
    mask = torch.arange(7) >= torch.tensor([[7], [5]]) if padded else None
    with torch.no_grad():
        right = network(x, src_key_padding_mask=mask)
    log = Log()
    output = run(network, (x,), {"src_key_padding_mask": mask}, observers=[log])
    assert torch.equal(output, right)
    modules = [module for name, module, _ in log.names if name in ATTENDING]
    assert modules == ["layers.0.self_attn", "layers.1.self_attn"]
    assert all(name != "_transformer_encoder_layer_fwd" for name, _, _ in log.names)
    assert torch.backends.mha.get_fastpath_enabled()


def test_nothing_is_left_after_an_exception():
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.layer(x)
            raise RuntimeError("mine")

    network = Failing().train()
    with pytest.raises(RuntimeError, match="mine"):
        seen_in(network, torch.zeros(1, 3))
    assert network.training
    assert torch.is_grad_enabled()
    assert not module_hooks._global_forward_hooks
    assert not module_hooks._global_forward_pre_hooks
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_an_exception_that_a_network_catches_does_not_shift_names():
    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError

    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.failing, self.layer = Failing(), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            try:
                self.failing(x)
            except KeyError:
                return self.layer(x).exp()

    assert seen_in(Careful(), torch.zeros(1))[1].names == [("exp", "", 0)]


def test_the_network_is_evaluated_without_gradients_and_comes_back_in_its_modes():
    network = Twice().train()
    network.body[0].eval()
    before, after = seen_in(network, torch.ones(1, 3))[0], seen_in(network, torch.ones(1, 3))[0]
    assert torch.equal(before, after)  # no dropout
    assert not before.requires_grad
    assert network.training
    assert not network.body[0].training


def test_a_compiled_network_runs_uncompiled_under_its_own_names():
    network = Twice().eval()
    compiled = torch.compile(network, backend="eager")
    with torch.no_grad():
        compiled(torch.zeros(2, 3))
    _, log = seen_in(compiled, torch.zeros(2, 3))
    assert log.modules_of("addmm") == ["body.0", "body.0"]
    _, log = seen_in(nn.Sequential(compiled), torch.zeros(2, 3))
    assert log.modules_of("addmm") == ["0.body.0", "0.body.0"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_torchscript_is_named_by_whose_parameters_are_used():
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Twice()

        def forward(self, x: Tensor) -> Tensor:
            return self.block(x)

    network = Outer().eval()
    scripted = torch.jit.trace(network, torch.zeros(2, 3))
    for _ in range(3):  # it is optimized after some runs
        output, log = seen_in(scripted, torch.ones(2, 3))
        assert log.modules_of("_softmax") == ["block.body"]
        assert torch.equal(output, network(torch.ones(2, 3)))


def test_data_parallel_networks_run_in_this_thread():
    output, log = seen_in(nn.DataParallel(Twice()), torch.ones(2, 3))
    assert log.modules_of("addmm") == ["module.body.0"] * 2
    assert output.shape == (2, 3)


def test_an_editor_runs_operations_in_its_own_way():
    class Flat(Editor):
        def run(self, op_name, func, args, kwargs, module_name):
            result = func(*args, **kwargs)
            return torch.full_like(result, 0.25) if op_name == "_softmax" else result

    output = run(Twice(), (torch.ones(2, 3),), editor=Flat())
    assert torch.equal(output, torch.full((2, 3), 0.25))


def test_an_operation_that_writes_into_an_operand_gives_that_operand():
    class Written(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x.exp()
            y[:, 1] = 0
            return y.add_(1)

    class Identities(Log):
        def seen(self, operation):
            super().seen(operation)
            if operation.op_name.endswith("_"):
                assert operation.outputs[0] is operation.args[0]

    log = Identities()
    run(Written(), (torch.ones(2, 3),), observers=[log])
    assert log.modules_of("add_") == [""]


def test_inference_mode_hides_no_operation():
    network, x = Twice(), torch.ones(2, 3)
    _, usual = seen_in(network, x)
    with torch.inference_mode():
        _, log = seen_in(network, x)
    assert log.names == usual.names


COMPILED = """
import sys, torch
from torch.utils._python_dispatch import TorchDispatchMode
from nonlocal_lens.analysis.quiet_mode import QuietMode

class Counting(QuietMode):
    seen = 0
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        Counting.seen += 1
        return func(*args, **(kwargs or {}))

def count(run):
    Counting.seen = 0
    with Counting():
        run()
    return Counting.seen

x = torch.ones(3)
first = count(lambda: x * 2 + 1)
alone = "torch._dynamo" in sys.modules
import torch._dynamo
print(first, alone, count(lambda: x * 2 + 1), hasattr(Counting, "_is_hidden"))
"""


def test_a_mode_loads_no_compiler_and_is_hidden_from_one_that_is_loaded():
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True)
    assert done.stdout.split() == ["2", "False", "2", "True"], done.stderr
