"""How much memory there is, in made-up systems; and what is read from --memory."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from varprobe.errors import InvalidArgumentError
from varprobe.storage import memory
from varprobe.storage.memory import LEAST, device_free_bytes, free_bytes, machine_bytes, memory_text, read_memory

GIB = 2**30


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture(autouse=True)
def no_limits_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "process_limits", lambda root=Path("/"): iter(()))


MEMINFO = {"proc/meminfo": f"MemTotal: {99 * 2**20} kB\nMemFree: 1 kB\nMemAvailable: {10 * 2**20} kB\n"}
V2 = {"proc/self/cgroup": "0::/outer/inner\n"}


def test_available(tmp_path: Path) -> None:
    assert free_bytes(system(tmp_path, MEMINFO)) == 10 * GIB


def test_the_nearest_limit_of_a_cgroup_and_its_ancestors(tmp_path: Path) -> None:
    inner, outer = "sys/fs/cgroup/outer/inner", "sys/fs/cgroup/outer"
    files = {
        f"{inner}/memory.max": "max\n",
        f"{inner}/memory.current": f"{GIB}\n",
        f"{outer}/memory.max": f"{4 * GIB}\n",
        f"{outer}/memory.current": f"{3 * GIB}\n",
        f"{outer}/memory.stat": f"anon 5\ninactive_file {GIB // 2}\nactive_file 7\n",
    }
    root = system(tmp_path, MEMINFO | V2 | files)
    assert free_bytes(root) == 1.5 * GIB  # the file cache is given up first
    assert machine_bytes(root) == 4 * GIB
    system(tmp_path, {f"{inner}/memory.max": f"{2 * GIB}\n"})
    assert free_bytes(root) == GIB
    system(tmp_path, {f"{inner}/memory.current": f"{3 * GIB}\n"})
    assert free_bytes(root) == 0


def test_in_a_container_the_root_is_the_cgroup(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{2 * GIB}\n"}
    assert free_bytes(system(tmp_path, MEMINFO | files)) == 2 * GIB


def test_cgroup_of_version_1(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/memory/docker/ab"
    files = {
        "proc/self/cgroup": "12:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n",
        f"{folder}/memory.limit_in_bytes": f"{3 * GIB}\n",
        f"{folder}/memory.usage_in_bytes": f"{2 * GIB}\n",
        f"{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    assert free_bytes(system(tmp_path, MEMINFO | files)) == 2 * GIB


def test_nonsense_in_files_is_no_limit(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "what\n\n", "sys/fs/cgroup/memory.max": "-7\n", "sys/fs/cgroup/memory.stat": "x"}
    assert free_bytes(system(tmp_path, MEMINFO | files)) == 10 * GIB


def test_this_machine() -> None:
    assert 0 < free_bytes() <= machine_bytes() < math.inf


@pytest.mark.parametrize(
    "text, count",
    [
        ("4GiB", 4 * GIB),
        ("4g", 4 * GIB),
        ("600MB", 600e6),
        ("8e9", 8e9),
        ("1.5 GiB", 1.5 * GIB),
        ("50%", 4 * GIB),
        (7e8, 7e8),
        (None, 0.8 * 8 * GIB),
    ],
)
def test_amounts(text: str | float | None, count: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_bytes", lambda: 16.0 * GIB)
    assert read_memory(text, free=8 * GIB) == int(count)


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "'' is not an amount of memory; allowed: bytes such as 8e9, 500MB or 4GiB"),
        ("four", "'four' is not an amount"),
        ("-4GiB", "is not an amount"),
        ("4 GiBs", "is not an amount"),
        ("nan", "is not an amount"),
        (True, "True is not an amount"),
        ("0%", "not a share between 0 and 100%"),
        ("101%", "not a share between 0 and 100%"),
        ("500", "is 500 bytes; the least is 512 MiB"),
        ("1%", "is 81.9 MiB; the least is 512 MiB"),
        ("1e99", "is more than this machine has, 16 GiB"),
        ("1e999", "is more than this machine has, 16 GiB"),
    ],
)
def test_what_is_no_amount(text: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_bytes", lambda: 16.0 * GIB)
    with pytest.raises(InvalidArgumentError, match=why.replace("(", r"\(")) as error:
        read_memory(text, free=8 * GIB)
    assert error.value.option == "memory"


def test_too_little_is_free() -> None:
    with pytest.raises(InvalidArgumentError, match="what is free is 100 MiB; the least is 512 MiB"):
        read_memory(None, free=125 * 2**20)
    assert memory_text(LEAST) == "512 MiB"


def test_devices() -> None:
    stats = {"bytes_limit": 10, "bytes_in_use": 3}
    assert device_free_bytes(SimpleNamespace(platform="gpu", memory_stats=lambda: stats)) == 7
    assert device_free_bytes(SimpleNamespace(platform="tpu", memory_stats=lambda: None)) is None
    assert device_free_bytes(SimpleNamespace(platform="cpu", memory_stats=lambda: stats)) is None
