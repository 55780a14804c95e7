"""Cells in pieces: the same numbers to the bit, whatever the budget, and halved where memory runs out."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from varprobe.engine.compile import Worker, tables_of
from varprobe.engine.groups import groups_of
from varprobe.engine.pieces import cut, drawn_again, net_count
from varprobe.engine.programs import AnyGroup
from varprobe.engine.rough_memory import rough_bytes
from varprobe.engine.statistics import CellTable
from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.sweeps import split
from varprobe.sweeps.budget import needed_bytes
from varprobe.sweeps.local_executor import computed
from varprobe.sweeps.queue import CellTask
from varprobe.sweeps.request import read_request
from varprobe.sweeps.split import in_pieces, is_out_of_memory, pieces, workers_within

COMPILED_AS_FOR_USERS = True

BLOCK = """
import jax, jax.numpy as jnp

class Gated:
    @staticmethod
    def init(key, width):
        return jax.random.normal(key, (width, width)) / width**0.5

    @staticmethod
    def apply(w, x):
        return x + jnp.tanh(x @ w)
"""
INITS = "normal(std=0.3),normal(mean=0.02,std=0.2),normal(std=0.1)"
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"act": "tanh", "init": INITS, "bias": "normal(std=0.1)"},
    "blocks": {"act": "tanh,relu", "init": "normal(std=0.3),normal(std=0.1)", "loss": "mse"},
    "residual": {"arch": "residual", "act": "gelu", "init": "he_normal,normal(std=0.1),normal(std=0.3)"},
    "rnn": {"arch": "rnn", "act": "tanh", "init": "he_normal,normal(std=0.2),normal(std=0.3)"},
}
SHAPE: dict[str, Any] = {"depth": 3, "width": 10, "batch": 16, "seeds": 1}


def group_of(**arguments: Any) -> tuple[AnyGroup, Any]:
    request = read_request(**SHAPE | arguments)
    (group,) = groups_of(list(request.configs), request.setting)
    return group, request.setting


def assert_same(a: CellTable, b: CellTable) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize(
    "kind", ["plain", *(pytest.param(kind, marks=pytest.mark.exhaustive) for kind in ("rnn", "blocks", "residual"))]
)
def test_joined_as_whole(kind: str) -> None:
    group, setting = group_of(**KINDS[kind])
    ran: list[AnyGroup] = []

    def run(piece: AnyGroup) -> CellTable:
        ran.append(piece)
        return tables_of(Worker(jax.devices()[:1]), piece, setting, [0])[0]

    whole = run(group)
    least = max(rough_bytes(piece) for piece in cut(drawn_again(group), 2))
    ran.clear()
    assert_same(in_pieces(group, least, run), whole)
    assert len(ran) > 1 and all(net_count(piece) <= 2 for piece in ran)
    assert sorted(c for piece in ran for c in piece.configs) == sorted(group.configs)
    assert not np.array_equal(
        whole["activation_log10_mean_square"][0], whole["activation_log10_mean_square"][-1]
    )  # rows could be swapped


def test_own_block_is_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gated.py").write_text(BLOCK)
    monkeypatch.chdir(tmp_path)
    group, _ = group_of(arch="gated.py:Gated")
    assert pieces(group, 2**40) == pieces(group, 1) == [group]


def test_weights_are_drawn_again_before_nets_are_parted() -> None:
    group, _ = group_of(act="tanh", init="normal(std=0.3),normal(std=0.1)", width=512, batch=4, depth=20)
    whole, again = rough_bytes(group), rough_bytes(drawn_again(group))
    assert whole - again > 0.9 * 20 * 4 * 512**2  # all but the layer at hand
    assert pieces(group, whole) == [group]
    (piece,) = pieces(group, whole - 1)
    assert piece == drawn_again(group) and not piece.program.keep_weights
    assert [net_count(p) for p in pieces(group, again - 1)] == [1, 1]


def test_pieces_share_a_program() -> None:
    group, _ = group_of(act="tanh", init=[f"normal(std={s / 10})" for s in range(1, 8)], width=64, batch=256)
    parts = cut(group, 3)
    assert [net_count(p) for p in parts] == [3, 3, 3] and len({p.program for p in parts}) == 1
    assert [len(p.configs) for p in parts] == [3, 3, 1]
    budget = rough_bytes(parts[0])
    assert max(map(net_count, pieces(group, budget))) == 3


@pytest.mark.parametrize("fits", [1, 2, 3])
@pytest.mark.parametrize("error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")])
def test_halved_until_it_fits(fits: int, error: Exception) -> None:
    group, _ = group_of(**KINDS["residual"] | {"init": [f"normal(std={s / 10})" for s in range(1, 10)]})
    tried: list[int] = []

    def run(piece: AnyGroup) -> CellTable:
        tried.append(net_count(piece))
        if net_count(piece) > fits:
            raise error
        return {"config": np.array(piece.configs, float)[:, None]}

    table = in_pieces(group, 2**40, run)
    assert table["config"][:, 0].tolist() == group.configs
    assert tried[0] == net_count(group) and max(tried[-2:]) <= fits
    assert sum(n > fits for n in tried) <= 5  # a failure is not repeated for each of the pieces


def test_no_memory_for_one_net() -> None:
    group, _ = group_of(**KINDS["plain"])

    def run(piece: AnyGroup) -> CellTable:
        raise MemoryError

    with pytest.raises(MachineError, match=r"no memory for configuration 0 \(depth 3, width 10, batch 16\) alone"):
        in_pieces(group, 2**40, run)


def test_a_plan_that_is_too_large_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """The formula is wrong, and the compiler's plan is not: the numbers are the same to the bit."""
    group, setting = group_of(
        act="tanh", init="normal(std=0.3),normal(std=0.1)", width=256, batch=256, forward_only=True
    )
    worker, item = Worker(jax.devices()[:1]), CellTask(group, 0)
    (whole,) = computed(worker, [item], setting, 2**40)
    monkeypatch.setattr(split, "rough_bytes", lambda group: 0.0)
    (one, *_) = cut(drawn_again(group), 1)
    least = int(needed_bytes(worker, one))
    assert needed_bytes(worker, group) > least
    (parts,) = computed(worker, [item], setting, least)
    assert_same(parts, whole)
    with pytest.raises(
        InvalidArgumentError, match=r"\(depth 3, width 256, batch 256\) takes .* by itself, and there are"
    ) as e:
        computed(worker, [item], setting, least - 1)
    assert e.value.option == "memory"


def test_other_errors_pass() -> None:
    group, _ = group_of(**KINDS["plain"])

    def run(piece: AnyGroup) -> CellTable:
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        in_pieces(group, 2**40, run)
    assert not is_out_of_memory(ValueError("RESOURCE"))


def test_workers_within() -> None:
    assert workers_within(1000, 100, 8) == 8
    assert workers_within(1000, 500, 8) == 4  # half a cell each
    assert workers_within(1000, 500, 8, least=400) == 2  # which one net takes
    assert workers_within(100, 500, 8) == 1
