"""What cells and sweeps will take: the rough formula beside what the compiler plans, and counts made by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from varprobe.engine import compile
from varprobe.engine.compile import Worker, planned_bytes
from varprobe.engine.groups import groups_of, work_of
from varprobe.engine.inputs import arguments, shapes_of
from varprobe.engine.programs import AnyGroup
from varprobe.engine.rough_memory import AROUND, rough_bytes
from varprobe.errors import InvalidArgumentError
from varprobe.sweeps import budget, estimates
from varprobe.sweeps.budget import allotment, needed_bytes
from varprobe.sweeps.estimates import Estimate, estimate, sweep_bytes, time_text
from varprobe.sweeps.request import read_request

COMPILED_AS_FOR_USERS = True

SMALL: dict[str, Any] = {"act": "tanh", "init": "he_normal", "depth": 4, "width": 64, "batch": 8}


def group_of(**arguments: Any) -> AnyGroup:
    request = read_request(**SMALL | arguments)
    (group,) = groups_of(list(request.configs), request.setting)
    return group


CELLS: dict[str, dict[str, Any]] = {
    "plain": {"width": 512, "depth": 30, "batch": 32},
    "wired": {"arch": "residual", "act": "relu", "width": 512, "depth": 30, "batch": 64},
}


@pytest.mark.parametrize("kind", CELLS)
def test_the_formula_beside_the_plan(kind: str) -> None:
    group = group_of(**CELLS[kind])
    planned = Worker(jax.devices()[:1]).compiled(group).bytes
    assert planned is not None
    assert planned > 30 * 4 * 512**2  # the weights, which are kept
    assert 0.7 * planned < rough_bytes(group) < 2.6 * planned


def test_the_plan_of_a_compiled_function() -> None:
    x = jax.ShapeDtypeStruct((256, 256), np.float32)
    product = jax.jit(lambda x, y: x @ y, donate_argnums=0).lower(x, x).compile()
    assert (
        2 * 4 * 256**2 <= planned_bytes(product) <= 3 * 4 * 256**2
    )  # two arguments; the result is in the first of them
    assert planned_bytes(SimpleNamespace(memory_analysis=lambda: None)) is None


def test_without_a_plan_the_formula_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    group, worker = group_of(), Worker(jax.devices()[:1])
    planned = worker.compiled(group)
    assert needed_bytes(worker, group) == planned.bytes + AROUND
    monkeypatch.setattr(compile, "programs", {k: v._replace(bytes=None) for k, v in compile.programs.items()})
    assert needed_bytes(worker, group) == rough_bytes(group)


@pytest.mark.parametrize(
    "asked",
    [
        {"loss": "mse"},
        {"loss": "cross_entropy", "dtype": "bfloat16"},
        {"arch": "transformer(heads=2,tokens=4)", "dtype": "float64"},
    ],
    ids=str,
)
def test_shapes_are_those_of_the_arguments(asked: dict[str, Any]) -> None:
    request = read_request(**SMALL | asked)
    (group,) = groups_of(list(request.configs), request.setting)
    with jax.enable_x64(request.setting.dtype == "float64"):
        given, shapes = arguments(group, request.setting, 0), shapes_of(group)
    assert jax.tree.structure(given) == jax.tree.structure(shapes)
    for a, b in zip(jax.tree.leaves(given), jax.tree.leaves(shapes), strict=True):
        assert (np.shape(a), a.dtype) == (b.shape, b.dtype)


def test_more_of_anything_takes_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.py").write_text(
        "import jax, jax.numpy as jnp\n\nclass Own:\n"
        "    @staticmethod\n    def init(key, width):\n        return jax.random.normal(key, (width, width))\n\n"
        "    @staticmethod\n    def apply(w, x):\n        return jnp.tanh(x @ w)\n"
    )
    monkeypatch.chdir(tmp_path)
    own = {"arch": "own.py:Own", "act": "relu", "init": None}
    for given in ({"arch": "plain"}, {"arch": "residual"}, own):
        least = rough_bytes(group_of(**given))
        for more in ({"depth": 40}, {"width": 256}, {"batch": 64}):
            assert rough_bytes(group_of(**given | more)) > least
    assert rough_bytes(group_of(dtype="float64")) > rough_bytes(group_of())


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of known speed."""
    monkeypatch.setattr(estimates, "seconds_of_an_operation", lambda dtype: 1e-10)


def test_estimate(still: None) -> None:
    request = read_request(act="tanh", init="he_normal,glorot_normal", depth="3,5", width=16, batch=4, seeds=6)
    groups = groups_of(list(request.configs), request.setting)
    found = estimate(request, groups, workers=2)
    assert (found.configs, found.seeds, found.cells, found.programs, found.parted) == (4, 6, 12, 2, 0)
    work = 6 * sum(map(work_of, groups)) * 1e-10 / 2
    assert found.seconds == pytest.approx(3.5 + 2 * estimates.COMPILE_SECONDS + estimates.PASSES * work)
    assert found.disk == 35 * 24 * 6 * 2 * (4 + 6)
    more = estimate(request, groups, workers=4)
    assert more.memory - found.memory == pytest.approx(2 * rough_bytes(groups[-1]), rel=0.01)
    assert found.memory - sweep_bytes(request, groups, 2, in_memory=False) == 16 * 24 * 6 * 2 * (4 + 6)
    lines = str(found).splitlines()
    assert lines[0] == "configurations  4, 6 seeds each"
    assert lines[1] == "cells           12 of 2 compiled programs, 2 at once"
    assert max(map(len, lines)) <= 80


def test_estimate_in_pieces(still: None) -> None:
    request = read_request(
        act="tanh", init=[f"normal(std={s / 10})" for s in range(1, 7)], depth=9, width=64, batch=256
    )
    (group,) = groups_of(list(request.configs), request.setting)
    found = estimate(request, [group], 1, budget=rough_bytes(group) * 0.8)
    assert found.parted == 8 and "8 of them in pieces" in str(found)
    assert found.memory < estimate(request, [group], 1).memory


def test_a_network_that_does_not_fit_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    group, devices = group_of(width=256, depth=9), tuple(jax.devices()[:1])
    need = needed_bytes(Worker(devices), group)
    monkeypatch.setattr(budget, "budget_of", lambda memory: int(need) - 1)
    with pytest.raises(InvalidArgumentError) as error:
        monkeypatch.setattr(budget, "smallest", lambda group: group)  # as if it were drawn again already
        allotment([group], [devices], None)
    assert error.value.option == "memory"
    assert "configuration 0 (depth 9, width 256, batch 8) takes " in str(error.value)
    monkeypatch.setattr(budget, "budget_of", lambda memory: int(need))
    assert allotment([group], [devices], None) == (1, int(need))  # the formula says more, and the compiler is right
    assert rough_bytes(group) > need


def test_workers_share_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    group, devices = group_of(), tuple(jax.devices()[:1])
    rough = int(rough_bytes(group))
    monkeypatch.setattr(budget, "budget_of", lambda memory: 8 * rough)
    assert allotment([group], [devices] * 4, None) == (4, 2 * rough)
    monkeypatch.setattr(budget, "budget_of", lambda memory: 2 * rough)
    count, each = allotment([group], [devices] * 4, None)
    assert 1 < count < 4 and each == 2 * rough // count
    assert each >= needed_bytes(Worker(devices), group)


def test_an_operation_is_that_of_a_computer() -> None:
    assert 1e-14 < estimates.seconds_of_an_operation("float32") < 1e-7


def test_times() -> None:
    assert [time_text(s) for s in (0.2, 40, 600, 9000, 4e5)] == ["1 s", "40 s", "10 min", "2.5 h", "4.63 days"]
    assert "about 10 min" in str(Estimate(1, 1, 1, 1, 600.0, 1, 1, 1, 0))
