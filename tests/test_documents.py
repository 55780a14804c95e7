"""Every block of code in README.md and in docs/ runs, in the order of its page, in a folder of the page's own.

Python blocks of a page share one namespace; a block with title="FILE" is written to that file as well. Shell blocks
are read by bash, whose only programs are stand-ins that write down how they were called: the calls of `varprobe` are
then made in this process. Sizes are lowered in three visible places: `smaller`, `small_defaults` and `mirrored`. By
default the numbers of stacks are made up (`made_up`), coordinate checks have two layers and two seeds, and all else
runs; the exhaustive tests measure them.
"""

import importlib
import inspect
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from made_up import learned, signals
from stand_in import compute_with

import varprobe as vp
from varprobe.__main__ import main
from varprobe.cli.pytest_plugin import Probes
from varprobe.sweeps.predict import plain
from varprobe.training import coordinates

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SHOWN = {"text", "tex"}
"""Languages of what a program prints or a reader pastes elsewhere; everything else is run or read."""


# What is on a page


@dataclass(frozen=True)
class Block:
    """A block of code: where it starts, its language, the file that it is, if any, and its text."""

    place: str
    line: int
    language: str
    title: str
    text: str


def blocks_of(name: str, text: str) -> list[Block]:
    """Fenced blocks with their languages, and indented ones, which are lines for the shell."""
    found: list[Block] = []
    lines = text.splitlines()
    at, before = 0, ""
    while at < len(lines):
        fence = re.fullmatch(r"( *)```+\s*(\w*)(.*)", lines[at])
        start = at + 1
        if fence:
            at = next(i for i in range(start, len(lines)) if lines[i].strip() == "```")
            title = re.search(r'title="([^"]+)"', fence[3])
            body = [line.removeprefix(fence[1]) for line in lines[start:at]]
            found.append(Block(f"{name}:{start}", start, fence[2], title[1] if title else "", "\n".join(body)))
        elif lines[at].startswith("    ") and not before.strip():
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            body = [line.removeprefix("    ") for line in lines[start - 1 : at]]
            found.append(Block(f"{name}:{start}", start - 1, "indented", "", "\n".join(body).rstrip()))
            at -= 1
        before = lines[at]
        at += 1
    return found


# Smaller than the pages say


def smaller(text: str) -> str:
    """The text with the least sizes, the same everywhere, so that what one block compiled serves the next.

    `--depth 50`, `depth=50` become 4, a list of depths 4, 5; widths 16, 24; a profile 784-512 48-32; seeds 2; steps 3;
    ranges have 3 points, models 3 layers (`for _ in range(12)`). `--widths` are 16 and 32.
    """
    text = re.sub(r"--widths \S+", "--widths 16,32", text)
    for option, least, step in (("depth", 4, 1), ("width", 16, 8), ("seeds", 2, 0), ("steps", 3, 0)):
        text = re.sub(rf"((?:--{option} |\b{option} ?= ?)\[?)(\d[\d,\- ]*\d|\d)", partial(lowered, least, step), text)
    text = re.sub(r"(\b[\d.]+:[\d.]+:)\d+", r"\g<1>3", text)
    return re.sub(r"(for _ in range)\(\d+\)", r"\1(3)", text)


def lowered(least: int, step: int, found: re.Match[str]) -> str:
    """A number, a list or a profile of them with the least values of a size."""
    old = found[2]
    if "-" in old:
        return found[1] + "-".join(str(16 * n) for n in range(old.count("-") + 1, 0, -1))
    numbers = [min(int(n), least + i * step) for i, n in enumerate(re.findall(r"\d+", old))]
    return found[1] + ", ".join(map(str, numbers)) if " " in old else found[1] + ",".join(map(str, numbers))


@pytest.fixture
def small_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Depth 4, not 50, width 16, not 512, 2 seeds, not 8, and 2 initializers, not 11, where nothing is said.

    Phase diagrams are measured at 3 x 3 points. A grid is read and checked as a whole; of its activations,
    architectures, norms and depths the first and the last combination is measured, with everything else.
    """
    grid = importlib.import_module("varprobe.sweeps.grid")
    requests = importlib.import_module("varprobe.sweeps.request")
    sweeping = importlib.import_module("varprobe.sweeps.sweep")
    read_stacks, read_request = grid.read_stacks, requests.read_request

    def shallow(depth: Any, width: Any) -> Any:
        return read_stacks(4 if depth is None and "-" not in str(width) else depth, width)

    def thinned(**options: Any) -> Any:
        request = read_request(**options)
        combinations = [(c.act, c.arch_name, c.norm_name, c.depth) for c in request.configs]
        ends = combinations[0], combinations[-1]
        kept = tuple(c for c, of in zip(request.configs, combinations, strict=True) if of in ends)
        return replace(request, configs=kept)

    monkeypatch.setattr(grid, "STANDARD", ("he_normal", "glorot_normal"))
    monkeypatch.setattr(grid, "read_stacks", shallow)
    for module in (requests, sweeping, importlib.import_module("varprobe.training.request")):
        monkeypatch.setattr(module, "read_request", thinned)
    grids = importlib.import_module("varprobe.training.trainability")
    monkeypatch.setitem(grids.DEFAULTS, "width", 16)
    monkeypatch.setattr(grids, "STEPS", 3)
    for name, value in (("width", 16), ("seeds", 2)):
        monkeypatch.setitem(importlib.import_module("varprobe.sweeps.arguments").DEFAULTS, name, value)
    monkeypatch.setattr(vp.advise, "__defaults__", (4, 16))
    advise = importlib.import_module("varprobe.cli.advise").command
    for name, least in (("depth", "4"), ("width", "16")):
        monkeypatch.setattr(next(p for p in advise.params if p.name == name), "default", least)
    monkeypatch.setattr(importlib.import_module("varprobe.cli.phase"), "MEASURED", 3)
    monkeypatch.setattr(importlib.import_module("varprobe.cli.device"), "keep_compiled_code", lambda: None)
    monkeypatch.setattr("webbrowser.open", lambda url: True)


# What pages speak of without making it

MYNET = """
import jax
from flax import nnx

class Net(nnx.Module):
    def __init__(self, rngs, gain=2.0):
        init = nnx.initializers.variance_scaling(gain, "fan_in", "normal")
        self.layers = nnx.List([nnx.Linear(8, 8, kernel_init=init, rngs=rngs) for _ in range(3)])

    def __call__(self, x):
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return x

X, Y = jax.random.normal(jax.random.key(1), (6, 8)), jax.numpy.arange(6) % 8

def init_params():
    return {f"w{i}": jax.random.normal(jax.random.key(i), (16, 16)) / 4 for i in range(3)}

def loss_fn(params, x):
    for w in params.values():
        x = x @ w
    return (x**2).sum()

def make(key):
    return Net(nnx.Rngs(key)), X

def after(key):
    return Net(nnx.Rngs(key), gain=1.0), X

def at_width(width, key):
    params = {"w": jax.random.normal(key, (8, width)) / 8**0.5, "v": jax.random.normal(key, (width, 1)) / width**0.5}
    return lambda p, x: ((x @ p["w"] @ p["v"] - 1) ** 2).mean(), params, X
"""
MINE = """
import jax
import jax.numpy as jnp

def swishy(x, beta=1.0):
    return x * jax.nn.sigmoid(beta * x)

def my_init(key, shape, dtype=jnp.float32):
    return jax.random.normal(key, shape, dtype) * (2 / shape[0]) ** 0.5
"""


def mirrored(folder: Path, measured: bool) -> dict[str, Any]:
    """What the README names: mine.py, mynet.py, images, classes and the runs RUN, BEFORE and AFTER in `folder`.

    Returns its models.
    """
    (folder / "mine.py").write_text(MINE)
    (folder / "mynet.py").write_text(MYNET)
    rng = np.random.default_rng(0)
    np.save(folder / "images.npy", rng.normal(size=(32, 12)).astype(np.float32))
    np.save(folder / "classes.npy", np.arange(32) % 10)
    inits = ["he_normal", "orthogonal", "torch_default"]
    vp.sweep(depth=4, width=16, init=inits, out=folder / "RUN", jacobian=measured, histogram=measured)
    for name in ("BEFORE", "AFTER"):
        shutil.copytree(folder / "RUN", folder / name)
    net = runpy.run_path(str(folder / "mynet.py"))
    import jax
    from flax import nnx

    graph, parameters = nnx.split(net["Net"](nnx.Rngs(0)))

    def loss_fn(params: Any, x: Any, y: Any) -> Any:
        return ((nnx.merge(graph, params)(x).mean(1) - y) ** 2).mean()

    return {
        **{"jax": jax, "nnx": nnx, "Net": net["Net"], "model": net["Net"](nnx.Rngs(0)), "x": net["X"], "y": net["Y"]},
        **{"params": parameters, "loss_fn": loss_fn, "batches": [(net["X"], net["Y"])] * 12},
        "update": lambda params, gradients: jax.tree.map(lambda p, g: p - 0.01 * g, params, gradients),
    }


# What is not run, and what is looked at instead


def package(words: list[str]) -> None:
    """`pip install` needs a network: what it names is this project, with extras that it has."""
    assert words[0] == "install"
    for word in words[1:]:
        found = re.fullmatch(r"(?:varprobe|\.)(?:\[([\w,]+)\])?", word)
        assert found, f"pip install {word}"
        assert {*filter(None, (found[1] or "").split(","))} <= {*PROJECT["optional-dependencies"]}, word


def script(words: list[str]) -> None:
    """Scripts measure for minutes, or need PyTorch: the file is there and has the options given. Pytest is us."""
    if words[:2] == ["-m", "pytest"]:
        return
    text = (ROOT / words[0]).read_text()
    assert words[0].startswith("scripts/")
    for option in (word for word in words if word.startswith("--")):
        assert f'"{option}"' in text, f"{words[0]} has no {option}"


def site(words: list[str]) -> None:
    """The site is built by .ci/run: its settings are there."""
    assert words[0] in ("build", "serve") and (ROOT / "mkdocs.yml").is_file()


def varprobe(words: list[str]) -> None:
    """Run here; `check` may find something unhealthy."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code in ((0, 1) if words[:1] == ["check"] else (0,)), f"varprobe {' '.join(words)}"


def dashboard(words: list[str]) -> None:
    """TensorBoard would serve for ever: the folder has event files."""
    assert words[0] == "--logdir" and list(Path(words[1]).rglob("events.out.tfevents.*"))


def array_job(words: list[str]) -> None:
    """`sbatch FILE` runs the file once for every index of its --array."""
    text = Path(words[0]).read_text()
    first, last = re.search(r"^#SBATCH --array=(\d+)-(\d+)$", text, re.MULTILINE).groups()  # type: ignore[union-attr]
    for index in range(int(first), int(last) + 1):
        shell(text, words[0], {"SLURM_ARRAY_TASK_ID": str(index)})


def own_tests(words: list[str]) -> None:
    """`pytest FILE` calls the tests of a file that the page made."""
    tests = [f for name, f in runpy.run_path(words[0]).items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


PROGRAMS = {
    "varprobe": varprobe,
    "tensorboard": dashboard,
    "pip": package,
    "python": script,
    "mkdocs": site,
    "sbatch": array_job,
    "pytest": own_tests,
}
"""Every program that a page may call; bash finds no other."""
STAND_IN = '#!/bin/bash\nprintf "%s\\x1f" "${0##*/}" "$@" >> "$CALLS"; printf "\\x1e" >> "$CALLS"\n'


def shell(text: str, place: str, variables: dict[str, str] | None = None) -> None:
    """Let bash read a block, and make the calls that it makes."""
    programs = Path(".programs").absolute()
    programs.mkdir(exist_ok=True)
    for name in PROGRAMS:
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    calls = programs / "calls.txt"
    calls.unlink(missing_ok=True)
    bash = shutil.which("bash")
    assert bash
    environment = {"PATH": str(programs), "CALLS": str(calls), **(variables or {})}
    done = subprocess.run([bash, "-eu", "-c", text], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{place}: {done.stderr}"
    made = calls.read_text().split("\x1e")[:-1] if calls.exists() else []
    assert made, f"{place}: calls nothing"
    for call in made:
        name, *words = call.split("\x1f")[:-1]
        PROGRAMS[name](words)


# Running a page


def run(block: Block, namespace: dict[str, Any]) -> None:
    """Run, read or pass over a block.

    Raises:
        AssertionError: or whatever its code raises.
    """
    if block.language == "indented":
        first = block.text.split()[0]
        assert first in {*PROGRAMS, "eval"}, (
            f"{block.place}: {first!r} is no program; of a program's output, fence it as ```text"
        )
    text = smaller(block.text)
    if block.title:
        Path(block.title).write_text(text + "\n")
    if block.language == "python":
        before = set(namespace)
        exec(compile("\n" * block.line + text, block.place, "exec"), namespace)
        for name in set(namespace) - before:
            if name.startswith("test_"):  # takes the plugin's fixture
                namespace[name](**{fixture: Probes() for fixture in inspect.signature(namespace[name]).parameters})
    elif block.language in ("bash", "indented"):
        if not block.title:
            shell(text, block.place)
    elif block.language in ("yaml", "json", "toml"):
        held = {"yaml": yaml.safe_load, "json": json.loads, "toml": tomllib.loads}[block.language](text)
        assert held
        for job in held.get("jobs", {}).values():  # a workflow
            shell("\n".join(step["run"] for step in job["steps"] if "run" in step), block.place)
    else:
        assert block.language in SHOWN, f"{block.place}: nothing is known of the language {block.language!r}"


@dataclass
class Reader:
    """A page in the middle of being read: its folder, its names, and how many of its blocks were run."""

    folder: Path
    names: dict[str, Any]
    read: int = 0

    def read_to(self, block: Block, blocks: list[Block]) -> None:
        """Run the blocks before this one that were not run, and this one."""
        end = blocks.index(block) + 1
        while self.read < end:
            self.read += 1
            run(blocks[self.read - 1], self.names)


BY_DEFAULT = {"README.md", "docs/index.md"}
"""Pages whose blocks run by default with made-up signals; the exhaustive tests run every page and measure."""
PAGES_READ = {
    str(page.relative_to(ROOT)): [
        block
        for block in blocks_of(page.name, page.read_text("utf-8"))
        if find_spec("torchax") or "torch_net" not in block.text
    ]
    for page in PAGES
}
BLOCKS = [
    pytest.param(page, block, measured, id=f"{page}:{block.line}-{measured}", marks=[pytest.mark.exhaustive] * measured)
    for measured in (False, True)
    for page, held in PAGES_READ.items()
    if measured or page in BY_DEFAULT
    for block in held
]


@contextmanager
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the folder, which is on the path for modules that a page makes."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    before = set(sys.modules)
    yield
    plt.close("all")
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_defaults: None) -> Iterator[Path]:
    """A folder of a page."""
    with inside(tmp_path, monkeypatch):
        yield tmp_path


def predicted(request: Any, frame: Any) -> Any:
    """With theory's numbers of plain stacks only."""
    alone = all((c.arch_name, c.norm_name) == ("plain", "none") for c in request.configs)
    return plain.predicted(request, frame) if alone else frame


def two_layers(stacks: Callable[..., Any], *given: Any, **options: Any) -> Any:
    """The stacks of a coordinate check."""
    return stacks(*given, **options | {"depth": 2})


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Reader]:
    """The reader of a page."""

    @cache
    def reader(page: str, measured: bool) -> Reader:
        folder = tmp_path_factory.mktemp("page")
        names: dict[str, Any] = {"__name__": "__main__"}
        return Reader(folder, names | (mirrored(folder, measured) if page == "README.md" else {}))

    return reader


@pytest.mark.parametrize(("page", "block", "measured"), BLOCKS)
def test_every_block_runs(
    page: str,
    block: Block,
    measured: bool,
    readers: Callable[[str, bool], Reader],
    raw_keys: None,
    small_defaults: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the module says."""
    if not measured:
        compute_with(monkeypatch, signals)
        monkeypatch.setattr("varprobe.training.jobs.run_job", learned)
        monkeypatch.setattr("varprobe.sweeps.sweep.predicted", predicted)
        monkeypatch.setattr("varprobe.training.coordinates.stacks", partial(two_layers, coordinates.stacks))
        monkeypatch.setattr("varprobe.training.coordinates.SEEDS", 2)
        draw = importlib.import_module("varprobe.cli.sweep").draw
        once = lambda *given: "none" if [*reader.folder.rglob("variance.pdf")] else draw(*given)  # noqa: E731
        monkeypatch.setattr("varprobe.cli.sweep.draw", once)  # one figure of a sweep on each page
    reader = readers(page, measured)
    with inside(reader.folder, monkeypatch):
        reader.read_to(block, PAGES_READ[page])


def test_the_readme_is_read_as_it_is_meant() -> None:
    """Both kinds of blocks are found, at their lines."""
    text = (ROOT / "README.md").read_text("utf-8")
    found = blocks_of("README.md", text)
    assert {"python", "indented"} <= {block.language for block in found}
    assert text.count("```") == 2 * sum(block.language != "indented" for block in found)
    commands = [line for block in found if block.language == "indented" for line in block.text.splitlines()]
    assert sum(line.startswith("varprobe sweep") for line in commands) >= 12
    python = next(block for block in found if block.language == "python")
    assert text.splitlines()[python.line] == python.text.splitlines()[0] == "import varprobe as vp"


@pytest.mark.parametrize(
    "text",
    [
        "```python\nvp.sweeep()\n```",
        "```python\nimport varprobe as vp\nvp.sweep(acts='relu')\n```",
        "```bash\nvarprobe sweep --nonsense\n```",
        "```bash\nvarprobe plot nowhere\n```",
        "```bash\nnovel-program --depth 3\n```",
        "```bash\npip install numpyy\n```",
        '```bash\npip install ".[nonsense]"\n```',
        "```bash\npython scripts/none.py\n```",
        "```bash\npython scripts/bench_torch.py --nonsense 3\n```",
        "```yaml\na: [\n```",
        "```\nwhat is this\n```",
        "```rust\nfn main() {}\n```",
        "It prints\n\n    relu, depth 50\n",
    ],
)
def test_what_cannot_run_fails(text: str, folder: Path) -> None:
    """Each is a page with a mistake."""
    (block,) = blocks_of("page.md", text)
    with pytest.raises((Exception, AssertionError)):
        run(block, {})


def test_sizes_are_lowered_in_shell_and_python_alike() -> None:
    """And nothing else is."""
    line = (
        "varprobe sweep --depth 10,50,100 --width 784-512-256 --seeds 8 --sigma-w2 1:4:32 --batch 64 --act elu(alpha=3)"
    )
    assert smaller(line) == (
        "varprobe sweep --depth 4,5,6 --width 48-32-16 --seeds 2 --sigma-w2 1:4:3 --batch 64 --act elu(alpha=3)"
    )
    code = 'vp.sweep(depth=[10, 50], width=512, seeds=8, arch="residual(branch_scale=1/sqrt(depth))", root_seed=30)'
    assert smaller(code) == (
        'vp.sweep(depth=[4, 5], width=16, seeds=2, arch="residual(branch_scale=1/sqrt(depth))", root_seed=30)'
    )
    assert smaller("depth=3, width=8, seeds=1") == "depth=3, width=8, seeds=1"


def test_scripts_that_pages_name_are_there() -> None:
    """In tables and sentences, too."""
    for page in PAGES:
        for name in re.findall(r"scripts/\w+\.py", page.read_text("utf-8")):
            assert (ROOT / name).is_file(), f"{page.name}: {name}"


def test_the_folder_of_a_page_is_left_alone_by_bash(folder: Path) -> None:
    """No program of the machine is found: only the stand-ins are."""
    with pytest.raises(AssertionError, match="not found"):
        shell("ls", "page")
    shell('for extra in test docs; do pip install ".[$extra]"; done', "page")
    assert os.listdir(folder) == [".programs"]
