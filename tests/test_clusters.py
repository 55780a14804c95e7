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
from varprobe import executors
from varprobe.__main__ import outcome as main
from varprobe.clusters import dask_crew
from varprobe.configs import read_request
from varprobe.errors import MachineError
from varprobe.resources import Resources
from varprobe.sweeping import run

COMPILED_AS_FOR_USERS = True

TINY: dict[str, Any] = {"depth": 3, "width": 8, "init": "he_normal", "seeds": 6}

HELD = """
import os, time
import jax.numpy as jnp

def held(x):
    '''tanh; the first worker that is told to wait waits when it compiles it, until somebody ends it.'''
    mark = os.environ.get("TEST_HOLD")
    if mark:
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            open(mark + ".pid", "w").write(str(os.getpid()))
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

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(command, env=os.environ | environment, cwd=self.folder, stdout=log, stderr=log)

    def start_scheduler(self) -> subprocess.Popen:
        self.file.unlink(missing_ok=True)
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--scheduler-file", str(self.file)]
        process = self.start("scheduler", *where)
        wait_until(self.file.is_file)
        self.address = json.loads(self.file.read_text())["address"]
        self.port = int(self.address.rpartition(":")[2])
        return process

    def start_worker(self, **environment: str) -> subprocess.Popen:
        worker = self.start("worker", self.address, "--nthreads", "1", "--no-nanny", **environment)
        self.workers.append(worker)
        return worker

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


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "dask").mkdir()
    found = Cluster(tmp_path / "dask")
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's activation in a file that no worker has, which holds the first worker that computes it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "acts.py").write_text(HELD)
    monkeypatch.chdir(tmp_path / "mine")
    return "acts.py:held"


def assert_same(a: xr.Dataset, b: xr.Dataset) -> None:
    for name in b.data_vars:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))


def swept(cluster: Cluster, out: Path | None, notes: list[str], **arguments: Any) -> xr.Dataset:
    with dask_crew(cluster.address, None, notes.append) as crew:
        return run(read_request(**TINY | arguments), out=out, resources=Resources(executor=crew))


def test_a_worker_killed_in_the_middle_of_a_cell(
    cluster: Cluster, held: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cells go to another one; what had finished is kept, and everything is as if nothing had been."""
    monkeypatch.setattr(executors, "BATCH_WORK", 1.0)  # a cell each
    whole = vp.sweep(**TINY, act=held)
    mark, out = tmp_path / "mark", tmp_path / "run"
    cluster.start_worker(TEST_HOLD=str(mark))
    notes: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(swept, cluster, out, notes, act=held)
        wait_until(Path(f"{mark}.pid").is_file)
        assert list((out / "cells").iterdir()) == []
        cluster.start_worker(TEST_HOLD=str(mark))
        os.kill(int(Path(f"{mark}.pid").read_text()), signal.SIGKILL)
        ds = future.result(300)
    assert_same(ds, whole)
    assert len(list((out / "cells").iterdir())) == TINY["seeds"]
    assert sorted(p.name for p in out.iterdir() if p.name.startswith(".")) == []
    assert_same(vp.open_run(out), whole)


def test_the_scheduler_restarted(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str) -> None:
    """What it had not finished is sent again, to the new one's workers; nothing is done twice."""
    monkeypatch.setattr(executors, "BATCH_WORK", 1.0)
    whole = vp.sweep(**TINY, act=held)
    mark, out = tmp_path / "mark", tmp_path / "run"
    vp.sweep(**TINY, act=held, out=out, shard="1/2")
    before = {p: p.stat().st_mtime_ns for p in (out / "cells").iterdir()}
    assert len(before) == TINY["seeds"] // 2
    cluster.start_worker(TEST_HOLD=str(mark))
    notes: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(swept, cluster, out, notes, act=held)
        wait_until(Path(f"{mark}.pid").is_file)
        cluster.stop()
        cluster.scheduler = cluster.start_scheduler()
        cluster.start_worker()
        ds = future.result(300)
    assert any("lost the scheduler" in note for note in notes)
    assert_same(ds, whole)
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_tables_are_sent_back_where_no_folder_is_shared(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random nets of several architectures, and the probes' jobs; with data from a file that workers do not see."""
    rows = np.random.default_rng(0).normal(size=(40, 8))
    arguments: dict[str, Any] = {"act": "relu,tanh", "arch": "plain,residual", "data": rows, "batch": 5, "seeds": 2}
    arguments |= {"correlation": 0.5, "jacobian": True}
    cluster.start_worker()
    notes: list[str] = []
    assert_same(swept(cluster, None, notes, **arguments), vp.sweep(**TINY | arguments))
    assert notes == [] or "waiting for a worker" in notes[0]


def test_workers_of_other_versions_are_refused(cluster: Cluster) -> None:
    cluster.start_worker()
    with dask_crew(cluster.address, None, print) as crew:
        crew.seen = crew.versions() | {"jax": "0.0.1"}
        with pytest.raises(
            MachineError, match=r"^the worker on .* has jax .*, and the sweep 0\.0\.1; install the same"
        ):
            run(read_request(**TINY), resources=Resources(executor=crew))


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
