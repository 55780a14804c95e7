"""A real scheduler and real workers, in processes that are killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.__main__ import outcome as main
from varprobe.errors import MachineError
from varprobe.sweeps import pool_executor
from varprobe.sweeps.dask_executor import dask_executor
from varprobe.sweeps.request import read_request
from varprobe.sweeps.resources import Resources
from varprobe.sweeps.sweep import run

COMPILED_AS_FOR_USERS = True

TINY: dict[str, Any] = {"depth": 3, "width": 8, "init": "he_normal", "seeds": 6}

HELD = """
import os, time
import jax.numpy as jnp

def held(x):
    '''tanh; the first worker that compiles it waits until somebody ends it.'''
    if os.getpid() != {here}:
        try:
            os.close(os.open("{mark}", os.O_CREAT | os.O_EXCL))
            open("{mark}.pid", "w").write(str(os.getpid()))
            time.sleep(600)
        except FileExistsError:
            pass
    return jnp.tanh(x)
"""


class Cluster:
    """A scheduler on loopback and its workers, each a process of one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workers = folder, list[subprocess.Popen]()
        self.file = folder / "scheduler.json"
        self.port = 0
        self.scheduler = self.start_scheduler()

    def start(self, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)

    def start_scheduler(self) -> subprocess.Popen:
        self.file.unlink(missing_ok=True)
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--scheduler-file", str(self.file)]
        process = self.start("scheduler", *where)
        wait_until(lambda: self.file.is_file() and self.file.read_text().endswith("}"))
        self.address = json.loads(self.file.read_text())["address"]
        self.port = int(self.address.rpartition(":")[2])
        return process

    def start_worker(self) -> None:
        self.workers.append(self.start("worker", self.address, "--nthreads", "1", "--no-nanny"))

    def need_worker(self) -> None:
        """Start one, unless an earlier test left one."""
        if all(worker.poll() is not None for worker in self.workers):
            self.start_worker()

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            with contextlib.suppress(OSError):
                process.kill()
            process.wait()


def wait_until(true: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One for all tests, with the workers that they leave alive."""
    found = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        yield found
    finally:
        found.stop()


def mine(folder: Path, mark: Path) -> Path:
    """The folder, with a user's activation in a file."""
    (folder / "acts.py").write_text(HELD.format(here=os.getpid(), mark=mark))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """What this process computes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(mine(tmp_path_factory.mktemp("mine"), Path("none")))
        return vp.sweep(**TINY, act="acts.py:held")


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a held worker makes; cells are sent one by one."""
    monkeypatch.setattr(pool_executor, "BATCH_WORK", 1.0)
    monkeypatch.chdir(mine(tmp_path, tmp_path / "mark"))
    return tmp_path / "mark"


def assert_same(a: xr.Dataset, b: xr.Dataset) -> None:
    for name in b.data_vars:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))


def swept(cluster: Cluster, out: Path | None, notes: list[str], **arguments: Any) -> xr.Dataset:
    with dask_executor(cluster.address, None, notes.append) as executor:
        return run(read_request(**TINY | arguments), out=out, resources=Resources(executor=executor))


@pytest.mark.exhaustive
def test_a_worker_killed_in_the_middle_of_a_cell(
    cluster: Cluster, mark: Path, whole: xr.Dataset, tmp_path: Path
) -> None:
    """Its cells go to another one; what had finished is kept, and everything is as if nothing had been."""
    out = tmp_path / "run"
    cluster.need_worker()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(swept, cluster, out, [], act="acts.py:held")
        wait_until(Path(f"{mark}.pid").is_file)
        assert not list(out.glob("cells/*"))
        cluster.start_worker()
        os.kill(int(Path(f"{mark}.pid").read_text()), signal.SIGKILL)
        ds = future.result(300)
    assert_same(ds, whole)
    assert len(list((out / "cells").iterdir())) == TINY["seeds"]
    assert sorted(p.name for p in out.iterdir() if p.name.startswith(".")) == []
    assert_same(vp.open_run(out), whole)


EVERYTHING = {"act": "relu,tanh", "arch": "plain,residual", "correlation": 0.5, "jacobian": True}


@pytest.mark.parametrize(
    "asked",
    [
        {"arch": "residual", "jacobian": True, "forward_only": True},
        pytest.param(EVERYTHING, marks=pytest.mark.exhaustive),
    ],
    ids=str,
)
def test_tables_are_sent_back_where_no_folder_is_shared(cluster: Cluster, asked: dict[str, Any]) -> None:
    """Random networks, and the probes' jobs; with data from a file that workers do not see."""
    rows = np.random.default_rng(0).normal(size=(40, 8))
    arguments = TINY | {"act": "tanh", "data": rows, "batch": 5, "seeds": 2} | asked
    cluster.need_worker()
    notes: list[str] = []
    whole = vp.sweep(**arguments)
    assert_same(swept(cluster, None, notes, **arguments), whole)
    assert notes == [] or "waiting for a worker" in notes[0]


def test_workers_of_other_versions_are_refused(cluster: Cluster) -> None:
    cluster.need_worker()
    with dask_executor(cluster.address, None, print) as executor:
        executor.seen = executor.versions() | {"jax": "0.0.1"}
        with pytest.raises(
            MachineError, match=r"^the worker on .* has jax .*, and the sweep 0\.0\.1; install the same"
        ):
            run(read_request(**TINY), resources=Resources(executor=executor))


@pytest.mark.exhaustive
def test_the_scheduler_lost(cluster: Cluster, mark: Path, whole: xr.Dataset, tmp_path: Path) -> None:
    """The sweep ends with one line; with a scheduler again the same sweep goes on, and nothing is done twice."""
    out, act = tmp_path / "run", "acts.py:held"
    vp.sweep(**TINY, act=act, out=out, shard="1/2")
    before = {p: p.stat().st_mtime_ns for p in (out / "cells").iterdir()}
    assert len(before) == TINY["seeds"] // 2
    cluster.need_worker()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(swept, cluster, out, [], act=act)
        wait_until(Path(f"{mark}.pid").is_file)
        cluster.stop()
        with pytest.raises(MachineError, match=r"^the scheduler of the workers was lost; what has finished is kept"):
            future.result(300)
    cluster.scheduler = cluster.start_scheduler()
    cluster.start_worker()
    assert_same(swept(cluster, out, [], act=act), whole)
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_the_command_without_a_scheduler(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "new"
    line = ["sweep", "--depth", "3", "--width", "8", "--out", str(out), "--dask"]
    for address, words in (
        ("tcp://127.0.0.1:9", "there is no scheduler at 'tcp://127.0.0.1:9'"),
        ("127.0.0.1:8786", "'127.0.0.1:8786' is no address (such as tcp://10.0.0.7:8786, or local)"),
        ("tcp://", "there is no scheduler at 'tcp://'"),
    ):
        assert main([*line, address]) == 2
        assert capsys.readouterr().err == f"varprobe: --dask: {words}\n"
    assert not out.exists()
