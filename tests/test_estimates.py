"""What cells and sweeps will take: beside what the compiler says, and beside counts made by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from varprobe.engine.groups import chunks_of
from varprobe.engine.plain_cell import workspace_of
from varprobe.engine.programs import run_program
from varprobe.errors import InvalidArgumentError
from varprobe.sweeps import estimates
from varprobe.sweeps.cell_costs import AROUND, cell_bytes, cell_footprint, shapes
from varprobe.sweeps.estimates import Estimate, estimate, sweep_bytes, time_text
from varprobe.sweeps.footprints import MOST_PACKED, footprint
from varprobe.sweeps.request import read_request

COMPILED_AS_FOR_USERS = True
X = jax.ShapeDtypeStruct((256, 256), jnp.float32)
ONE = 256 * 256 * 4


def taken(f: Any, *arguments: Any) -> int:
    found = footprint(jax.jit(f).trace(*arguments).jaxpr, "cuda")
    return found.peak


def test_what_is_stored_and_what_is_fused() -> None:
    assert taken(lambda x: (x * 2 + 1).sum(), X) == 4  # all in one pass
    assert taken(lambda x: jnp.tanh(x @ x) + 1, X) == 2 * ONE  # the product and the result
    assert taken(lambda x: (x @ x) @ x, X) == 2 * ONE
    assert taken(lambda x: ((x @ x) @ x) @ x, X) == 2 * ONE  # the first is given up before the third
    assert taken(lambda x: (x + 1).reshape(-1, 2).T, X) == ONE


def test_loops_keep_what_they_carry_in_place() -> None:
    def deep(x: Any) -> Any:
        return lax.scan(lambda h, _: (h @ x, h.sum()), x, None, length=50)[0]

    assert 2 * ONE <= taken(deep, X) <= 2 * ONE + 4 * 50 + 4

    def stacked(x: Any) -> Any:
        return lax.scan(lambda h, _: (h @ x, h), x, None, length=50)[1]

    assert 51 * ONE <= taken(stacked, X) <= 52 * ONE + 4


def test_work_is_counted_through_loops() -> None:
    def deep(x: Any) -> Any:
        return lax.scan(lambda h, _: (jnp.tanh(h @ x), None), x, None, length=7)[0]

    work = footprint(jax.jit(deep).trace(X).jaxpr).work
    assert work.products == 7 * 256**3 and work.costly == 7 * 256**2


CELLS: dict[str, dict[str, Any]] = {
    "plain": {"act": "tanh", "init": "he_normal", "width": 512, "depth": 30},
    "wired": {"arch": "residual", "act": "relu", "init": "he_normal", "width": 512, "depth": 30, "batch": 64},
}


@pytest.mark.parametrize("kind", CELLS)
def test_within_a_quarter_of_the_compiled_code(kind: str) -> None:
    request = read_request(seeds=1, **CELLS[kind])
    (chunk,) = chunks_of(list(request.configs), request.setting)
    given = shapes(chunk)
    space: Any = workspace_of(chunk.program, *given[:4], given[5]) if kind == "plain" else ()
    lowered = jax.jit(run_program, static_argnums=0, donate_argnums=1).lower(chunk.program, space, *given)
    m = lowered.compile(compiler_options={"xla_cpu_multi_thread_eigen": False}).memory_analysis()
    said = m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes + m.temp_size_in_bytes
    assert said > 30 * 2**20
    assert 0.75 * said < cell_bytes(chunk) - AROUND < 1.25 * said
    assert cell_bytes(chunk) - AROUND - said < MOST_PACKED


def test_more_of_anything_takes_more() -> None:
    def of(**more: Any) -> int:
        request = read_request(**{"act": "tanh", "init": "he_normal", "depth": 4, "width": 64, "batch": 8} | more)
        return cell_bytes(chunks_of(list(request.configs), request.setting)[0])

    least = of()
    for more in ({"depth": 40}, {"width": 256}, {"batch": 64}, {"dtype": "float64"}):
        assert of(**more) > least


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of known speed."""
    monkeypatch.setattr(estimates, "rates", lambda dtype: (1e-10, 1e-10))


def test_estimate(still: None) -> None:
    request = read_request(act="tanh", init="he_normal,glorot_normal", depth="3,5", width=16, batch=4, seeds=6)
    chunks = chunks_of(list(request.configs), request.setting)
    found = estimate(request, chunks, workers=2)
    assert (found.configs, found.seeds, found.cells, found.groups, found.parted) == (4, 6, 12, 2, 0)
    equations = sum(cell_footprint(chunk).work.equations for chunk in chunks)
    assert found.seconds == pytest.approx(3.5 + 2 + equations / 900, rel=0.05)  # the cells themselves take no time
    assert found.disk == 35 * 24 * 6 * 2 * (4 + 6)
    more = estimate(request, chunks, workers=4)
    assert more.memory - found.memory == pytest.approx(2 * cell_bytes(chunks[-1]), rel=0.01)
    assert found.memory - sweep_bytes(request, chunks, 2, in_memory=False) == 16 * 24 * 6 * 2 * (4 + 6)
    lines = str(found).splitlines()
    assert lines[0] == "configurations  4, 6 seeds each"
    assert lines[1] == "cells           12 of 2 compiled programs, 2 at once"
    assert max(map(len, lines)) <= 80


def test_estimate_in_pieces(still: None) -> None:
    request = read_request(
        act="tanh", init=[f"normal(std={s / 10})" for s in range(1, 7)], depth=9, width=64, batch=256
    )
    (chunk,) = chunks_of(list(request.configs), request.setting)
    found = estimate(request, [chunk], 1, budget=cell_bytes(chunk) * 0.8)
    assert found.parted == 8 and "8 of them in pieces" in str(found)
    assert found.memory < estimate(request, [chunk], 1).memory
    with pytest.raises(InvalidArgumentError, match="by itself, and there are") as error:
        estimate(request, [chunk], 1, budget=2**20)
    assert error.value.option == "memory"


def test_rates_are_those_of_a_computer() -> None:
    product, simple = estimates.rates("float32")
    assert 1e-13 < product < 1e-7 and 1e-14 < simple < 1e-7


def test_times() -> None:
    assert [time_text(s) for s in (0.2, 40, 600, 9000, 4e5)] == ["1 s", "40 s", "10 min", "2.5 h", "4.63 days"]
    assert "about 10 min" in str(Estimate(1, 1, 1, 1, 600.0, 1, 1, 1, 0))
