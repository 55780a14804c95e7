"""One sweep by many: executors, devices, shares, claims, spec files. The numbers are those of one process, to the bit."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from stand_in import compute_with

import varprobe as vp
from varprobe.__main__ import outcome as main
from varprobe.engine.groups import groups_of, work_of
from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.nets.data import load_source
from varprobe.storage.locks import LOCKS, Claims
from varprobe.sweeps import pool_executor
from varprobe.sweeps.assemble import variable_names
from varprobe.sweeps.pickling import packed, unpacked
from varprobe.sweeps.pool_executor import Batch, work
from varprobe.sweeps.queue import CellTask
from varprobe.sweeps.record import Cell, versions
from varprobe.sweeps.request import read_request
from varprobe.sweeps.resources import read_resources
from varprobe.sweeps.shards import Shard, read_shard, share

COMPILED_AS_FOR_USERS = True

TINY: dict[str, Any] = {"depth": 4, "width": 8, "act": "relu,tanh", "init": "he_normal,orthogonal", "seeds": 3}
PLAIN = TINY | {"act": "tanh", "init": "he_normal"}
WIRED = PLAIN | {"arch": "plain,rnn"}
"""Two programs."""


def assert_same(a: xr.Dataset, b: xr.Dataset) -> None:
    for name in b.data_vars:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    return vp.sweep(**TINY)


@pytest.fixture(scope="module")
def wired() -> xr.Dataset:
    return vp.sweep(**WIRED)


# Shares


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60), st.integers(1, 40))
def test_shares_are_a_partition_of_equal_work(sizes: list[int], count: int) -> None:
    things = list(enumerate(sizes))
    shares = [share(things, Shard(i, count), lambda thing: thing[1]) for i in range(1, count + 1)]
    assert sorted(thing for part in shares for thing in part) == things
    for part in shares:
        assert abs(sum(size for _, size in part) - sum(sizes) / count) <= max(sizes)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "a/b", "-1/3", "1/3/3", "1.5/3", "", None, 3, "²/3"])
def test_what_is_no_share_is_refused(text: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read_shard(text)
    assert caught.value.option == "shard" and repr(text) in str(caught.value)


@pytest.mark.exhaustive
def test_everything_anew_with_an_executor(tmp_path: Path, whole: xr.Dataset) -> None:
    vp.sweep(**TINY, out=tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "cells").iterdir()}
    with ThreadPoolExecutor(1) as pool:
        assert_same(vp.sweep(**TINY, out=tmp_path / "run", executor=pool, fresh=True), whole)
    assert all(p.stat().st_mtime_ns > then for p, then in before.items())


def test_the_last_share_to_finish_makes_the_whole(tmp_path: Path, whole: xr.Dataset) -> None:
    cells = 0
    for i, ends in enumerate(("1 of 3", "2 of 3"), start=2):
        part = vp.sweep(**TINY, out=tmp_path / "run", shard=f"{i}/3")
        assert part.attrs["unfinished"] == f"{ends} cells of the run are there"
        assert not (tmp_path / "run" / "results.nc").exists()
        there = part.activation_log10_mean_square.notnull().any(["layer", "config"])
        assert int(there.sum()) == 1  # of three seeds of one group this share's
        cells += int(there.sum())
    assert cells == 2
    ds = vp.sweep(**TINY, out=tmp_path / "run", shard="1/3")
    assert "unfinished" not in ds.attrs
    assert_same(ds, whole)
    xr.testing.assert_identical(vp.open_run(tmp_path / "run"), ds)


@pytest.mark.parametrize(
    "asked",
    [{"jacobian": True}, pytest.param({"correlation": 0.5, "histogram": True}, marks=pytest.mark.exhaustive)],
    ids=str,
)
def test_shares_of_probes(tmp_path: Path, asked: dict[str, Any]) -> None:
    arguments = TINY | asked
    for i in (1, 2):
        ds = vp.sweep(**arguments, out=tmp_path / "run", shard=f"{i}/2")
    assert_same(ds, vp.sweep(**arguments))


def test_a_share_needs_a_folder_and_code_that_can_be_known_again(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="a share is kept in a run folder") as caught:
        vp.sweep(**TINY, shard="1/2")
    assert caught.value.option == "shard"
    with pytest.raises(InvalidArgumentError, match="source is in no file"):
        vp.sweep(**TINY | {"act": lambda x: jnp.tanh(x)}, out=tmp_path / "run", shard="1/2")
    assert not (tmp_path / "run").exists()


def test_the_command_tells_of_a_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["sweep", "--depth", "4", "--width", "8", "--act", TINY["act"], "--init", TINY["init"], "--seeds", "2"]
    line += ["--out", str(tmp_path / "r")]
    assert main([*line, "--shard", "1/2"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "Share 1/2 is done: 1 of 2 cells of the run are there"
    assert main([*line, "--shard", "2/2", "--json"]) == 0
    assert '"healthy"' in capsys.readouterr().out


# Claims

HOLD = """
import sys, time
from pathlib import Path
from varprobe.storage.locks import Claims
ours = Claims(Path(sys.argv[1]))
with ours.starting():
    ours.work()
print(ours.take(3), flush=True)
time.sleep(600)
"""


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / LOCKS
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout and other.stdout.readline() == "True\n"
            ours = Claims(path)
            with ours.starting():
                assert not ours.alone()
                ours.work()
            assert not ours.take(3)
            assert ours.take(4) and ours.take(4)
            other.kill()
            other.wait()
            assert ours.take(3)
            ours.leave()
            assert not path.exists()
        finally:
            other.kill()


def test_where_there_are_no_locks_everything_is_granted(tmp_path: Path) -> None:
    ours = Claims(tmp_path / "not there" / LOCKS)
    with ours.starting():
        assert ours.alone()
        ours.work()
    assert ours.take(0)
    ours.release(0)
    ours.leave()


@pytest.mark.exhaustive
def test_two_sweeps_of_one_folder_share_the_work(tmp_path: Path, whole: xr.Dataset) -> None:
    """Each cell is computed by one of them, and both have everything."""
    scope: dict[str, Any] = {}
    exec(COUNTING, scope)
    line = [sys.executable, "-c", COUNTING + BESIDE, str(tmp_path / "run")]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "ready\n"
        answer = ThreadPoolExecutor(1).submit(other.communicate, "begin\n", 300)
        ours, told = scope["sweep"](str(tmp_path / "run")), answer.result()[0].split()
    assert other.returncode == 0
    assert ours[0] + int(told[0]) == 40
    assert [ours[1], int(told[1])] == [40, 40]
    assert not [p.name for p in (tmp_path / "run").iterdir() if p.name.startswith(".")]
    assert len(list((tmp_path / "run" / "cells").iterdir())) == 40
    ds = vp.open_run(tmp_path / "run")
    assert_same(ds.isel(seed=slice(0, 3)), whole)


# Each tells how many cells it saves, and how many seeds are there then.
COUNTING = f"""
import varprobe as vp
from unittest.mock import patch
from varprobe.storage.tasks import save_task
def sweep(out):
    saved = []
    def counting(folder, cell, table):
        saved.append(cell.name)
        save_task(folder, cell, table)
    with patch("varprobe.storage.tasks.save_task", counting):
        ds = vp.sweep(**{TINY | {"seeds": 40}!r}, out=out)
    return len(saved), int(ds.activation_log10_mean_square.notnull().all(["config", "layer"]).sum())
"""
BESIDE = f"""
import sys
from varprobe.cli.device import keep_compiled_code
keep_compiled_code()
vp.sweep(**{TINY!r})
print("ready", flush=True)
sys.stdin.readline()
print(*sweep(sys.argv[1]))
"""


# Executors


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("work", [1.0, pool_executor.BATCH_WORK])
def test_threads_as_an_executor(tmp_path: Path, wired: xr.Dataset, folder: bool, work: float, monkeypatch: Any) -> None:
    monkeypatch.setattr(pool_executor, "BATCH_WORK", work)
    with ThreadPoolExecutor(2) as pool:
        ds = vp.sweep(**WIRED, executor=pool, out=tmp_path / "run" if folder else None)
    assert_same(ds, wired)
    if folder:
        assert len(list((tmp_path / "run" / "cells").iterdir())) == 6


@pytest.mark.exhaustive
def test_processes_with_a_function_of_no_file(tmp_path: Path) -> None:
    """A closure and an initializer of this file go by value; what is bound is the same in every process."""
    slope = 0.25

    def leaky(x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, x, slope * x)

    arguments = TINY | {"act": {"mine": leaky}, "init": [half], "data": np.random.default_rng(0).normal(size=(99, 8))}
    here = vp.sweep(**arguments)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        ds = vp.sweep(**arguments, executor=pool)
        with pytest.raises(MachineError, match="a worker process died; perhaps it had too little memory"):
            vp.sweep(**TINY | {"act": dies}, executor=pool)
    assert_same(ds, here)


def half(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    return 0.5 * jax.random.normal(key, shape, dtype)


def dies(x: jax.Array) -> jax.Array:
    if os.getpid() != PARENT:
        os._exit(9)
    return jnp.tanh(x)


PARENT = os.getpid()


def test_programs_are_the_same_on_the_other_side(tmp_path: Path) -> None:
    """Equal, so that what is compiled is found again: a batch would compile each time otherwise."""
    arguments = {"depth": 4, "width": 8, "seeds": 1, "init": "he_normal"}
    acts = ["relu", "gelu", "leaky_relu(0.1)", {"mine": lambda x: jnp.sin(x)}, {"sin": jnp.sin}]
    for act, arch in [*((act, "plain") for act in acts), ("tanh", "residual"), ("relu", "conv,transformer,lstm")]:
        request = read_request(**arguments, act=act, arch=arch)
        for group in groups_of(list(request.configs), request.setting):
            first, second = unpacked(packed(group)), unpacked(packed(group))
            assert first.program == second.program and hash(first.program) == hash(second.program)
            assert first.configs == group.configs
            registered = not (isinstance(act, dict))
            assert (first.program == group.program) == registered


def test_what_cannot_travel_is_named() -> None:
    lock = threading.Lock()

    def bound(x: jax.Array) -> jax.Array:
        return x if lock else jnp.tanh(x)

    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(InvalidArgumentError, match="bound cannot be sent to another process"),
    ):
        vp.sweep(**TINY | {"act": bound}, executor=pool)


class Gone(Executor):
    """Runs the first thing that it is given; then its scheduler is gone, as `error` says."""

    def __init__(self, error: Exception) -> None:
        self.error, self.ran = error, False

    def submit(self, function: Any, /, *given: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.ran:
            future.set_exception(self.error)
        else:
            future.set_result(function(*given, **named))
        self.ran = True
        return future


@pytest.mark.parametrize("error", [CancelledError(), ConnectionResetError(104, "reset"), TimeoutError()], ids=repr)
def test_a_scheduler_that_is_lost_is_one_line(error: Exception) -> None:
    with pytest.raises(MachineError, match=r"^the scheduler of the workers was lost; what has finished is kept"):
        vp.sweep(**PLAIN, executor=Gone(error))
    with pytest.raises(MachineError, match=r"seed 0: a worker failed: FileNotFoundError"):
        vp.sweep(**PLAIN, executor=Gone(FileNotFoundError(2, "no such file", "x")))


def test_a_process_that_sees_the_folder_writes_there_itself(tmp_path: Path) -> None:
    request = read_request(**TINY)
    (group,) = groups_of(list(request.configs), request.setting)
    (tmp_path / "cells").mkdir()
    (tmp_path / "token").touch()
    items = tuple(CellTask(group, seed, Cell(f"{seed:064x}", seed, tuple(group.configs), depth=4)) for seed in range(3))
    batch = Batch(items, request.setting, versions(), tmp_path, "absent")
    tables = work(packed(batch))
    assert all(table is not None and table["activation_log10_mean_square"].shape == (4, 5) for table in tables)
    assert not list((tmp_path / "cells").iterdir())
    done = items[1].file
    assert done is not None
    done.path(tmp_path).write_bytes(b"of a process that died afterwards")
    assert work(packed(batch._replace(token="token"))) == [None] * 3
    assert len(list((tmp_path / "cells").iterdir())) == 3
    assert done.path(tmp_path).read_bytes() == b"of a process that died afterwards"


def test_an_excerpt_has_the_same_rows() -> None:
    source = load_source(np.arange(60.0).reshape(20, 3), labels=np.arange(20))
    part = source.excerpt(np.array([17, 3, 3, 11]))
    assert part.rows is not None and part.labels is not None and part.count == 20
    assert part.rows[part.places(np.array([11, 17, 3]))][:, 0].tolist() == [33.0, 51.0, 9.0]
    assert part.labels[part.places(np.array([3]))].tolist() == [3]
    assert part.excerpt(np.array([17])).rows.tolist() == [[51.0, 52.0, 53.0]]


def test_what_is_no_executor_is_refused() -> None:
    class Client:
        def get_executor(self) -> Executor:
            raise AssertionError

    for thing, hint in ((3, "is not a concurrent.futures.Executor"), (Client(), "client.get_executor()")):
        with pytest.raises(InvalidArgumentError) as caught:
            vp.sweep(**TINY, executor=thing)  # type: ignore[arg-type]
        assert caught.value.option == "executor" and hint in str(caught.value)


def test_large_groups_come_first() -> None:
    request = read_request(depth="3,9", width="4,32", act="relu", init="he_normal", seeds=1)
    sizes = {
        request.configs[c.configs[0]].depth * request.configs[c.configs[0]].widths[-1]: work_of(c)
        for c in groups_of(list(request.configs), request.setting)
    }
    assert [sizes[k] for k in sorted(sizes)] == sorted(sizes.values())
    residual = read_request(depth=3, width=32, act="relu", init="he_normal", seeds=1, arch="residual,plain")
    wired, plain = sorted(map(work_of, groups_of(list(residual.configs), residual.setting)), reverse=True)
    assert wired == pytest.approx(2 * plain)  # two matrices a block


# Devices

DEVICES = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
import varprobe as vp
from varprobe.engine import compile
from varprobe.cli.device import keep_compiled_code
keep_compiled_code()
for count in (1, 4):
    compile.programs.clear()
    ds = vp.sweep(**json.loads(sys.argv[2]), devices=count)
    assert {devices for _, devices in compile.programs} == {tuple(range(count))}
    ds.to_netcdf(f"{sys.argv[1]}/{count}.nc", engine="h5netcdf")
"""


@pytest.mark.parametrize(
    "asked",
    [PLAIN, *(pytest.param(a, marks=pytest.mark.exhaustive) for a in (WIRED, TINY | {"arch": "plain,residual"}))],
    ids=str,
)
def test_a_mesh_of_devices_as_one(tmp_path: Path, asked: dict[str, Any]) -> None:
    """Three seeds on four devices: one has nothing of its own to do."""
    whole = vp.sweep(**asked)
    subprocess.run([sys.executable, "-c", DEVICES, str(tmp_path), json.dumps(asked)], check=True, timeout=300)
    for count in (1, 4):
        with xr.open_dataset(tmp_path / f"{count}.nc", engine="h5netcdf") as ds:
            assert_same(whole, ds.load())


def test_how_many_devices_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varprobe.sweeps.resources.cores", lambda: 2)
    assert read_resources(devices=2).devices == 2
    for wrong, words in ((3, "3 is more than the 2 cores here"), (0, "0 is out of range"), ("x", "'x'")):
        with pytest.raises(InvalidArgumentError) as caught:
            read_resources(devices=wrong)
        assert caught.value.option == "devices" and words in str(caught.value)


# Spec files


@pytest.mark.parametrize("measured", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_a_spec_file_is_the_command_line(
    tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str], measured: bool
) -> None:
    names = [name for name in variable_names() if "gradient" not in name]
    if not measured:
        compute_with(
            monkeypatch, lambda group, *_: dict.fromkeys(names, np.ones((len(group.members), group.program.depth + 1)))
        )
    monkeypatch.chdir(tmp_path)
    Path("sweep.toml").write_text(
        'depth = [3, 4]\nwidth = 8\nact = "relu,tanh"\ninit = ["he_normal", "normal(std=0.1)"]\nseeds = 2\n'
        "forward-only = true\nroot_seed = 7\n"
    )
    assert main(["sweep", "--spec", "sweep.toml", "--json", "--out", "a", "--seeds", "1"]) == 0
    line = ["--depth", "3,4", "--width", "8", "--act", "relu,tanh", "--init", "he_normal,normal(std=0.1)"]
    line += ["--seeds", "1", "--forward-only", "--root-seed", "7"]
    assert main(["sweep", *line, "--json", "--out", "b"]) == 0
    capsys.readouterr()
    a, b = vp.open_run("a"), vp.open_run("b")
    assert a.attrs["spec"] == b.attrs["spec"]
    xr.testing.assert_identical(a, b)
    assert (len(np.unique(a.activation_log10_mean_square)) > 8) is measured


@pytest.mark.parametrize(
    "content, words",
    [
        ("depht = 3", "bad.toml: unknown option 'depht'; did you mean 'depth'?"),
        ("depth = [[3]]", "bad.toml: depth is a text, a number, or a list of these, not [[3]]"),
        ("depth = []", "bad.toml: depth is an empty list"),
        ("seeds = [1, 2]", "bad.toml: seeds takes one value, not a list"),
        ("seeds = true", "bad.toml: seeds is a text or a number, not True"),
        ("forward-only = 1", "bad.toml: forward-only is true or false, not 1"),
        ("spec = 'other.toml'", "bad.toml: unknown option 'spec'"),
        ("depth = ", "bad.toml is no TOML: Invalid value"),
        ("depth = 1979-05-27", "bad.toml: depth is a text, a number, or a list of these, not datetime.date"),
        ("[depth]\na = 1", "bad.toml: depth is a text, a number, or a list of these, not {'a': 1}"),
        ("depth = 0", "0 is out of range"),
    ],
)
def test_a_wrong_spec_file_is_one_line(
    tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str], content: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text(content)
    assert main(["sweep", "--spec", "bad.toml", "--out", "run"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and words in err
    assert not Path("run").exists()


def test_spec_files_that_are_none(tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.toml")
    Path("binary.toml").write_bytes(b"\xff\xfe\x00")
    Path("large.toml").write_bytes(b"#" * (17 * 2**20))
    for name, words in (
        ("missing.toml", "cannot read 'missing.toml': No such file or directory"),
        ("pipe.toml", "'pipe.toml' is no file"),
        (".", "'.' is no file"),
        ("binary.toml", "binary.toml is no text in UTF-8"),
        ("large.toml", "large.toml is larger than 16 MiB, and no spec file"),
    ):
        start = time.monotonic()
        assert main(["sweep", "--spec", name]) == 2
        assert capsys.readouterr().err == f"varprobe: --spec: {words}\n"
        assert time.monotonic() - start < 60
    assert LOCKS == ".claims"
