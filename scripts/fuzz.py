"""Feed every parser with what nearly is right: a result or one line that says what is wrong, and never anything else.

    python scripts/fuzz.py --count 100000

Inputs are made of right ones, by the grammar and by edits (a slice lost, doubled or moved, an odd letter put in), since
random bytes do not come far. An input is told by its number: `--only runs --start 4711 --count 1` makes it again.
"""

import argparse
import contextlib
import io
import json
import os
import random
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import varprobe as vp
from varprobe.__main__ import outcome
from varprobe.cli.options import labels_of
from varprobe.cli.plot import size_of
from varprobe.errors import InvalidArgumentError
from varprobe.model.run_folders import model_folder
from varprobe.nets.activations import resolve_activation
from varprobe.nets.architectures import resolve_architecture
from varprobe.nets.data import load_source
from varprobe.nets.initializers import resolve_initializer
from varprobe.nets.norms import resolve_norm
from varprobe.plots.texts import check_text
from varprobe.spec.calls import parse_calls, parse_numbers, split_items
from varprobe.spec.expressions import parse_expression
from varprobe.spec.toml import read_spec
from varprobe.storage.checksums import sealed_json
from varprobe.storage.figure_origin import origin_of
from varprobe.storage.files import writing
from varprobe.storage.memory import read_memory
from varprobe.sweeps.shards import read_shard

Making = Callable[[random.Random], Any]
Reading = Callable[[Any], object]

ODD = [
    *"(),=:/\\-+*.'\"<>&$_%#{}[]^~|;!? \t\n\r\0",
    "e9",
    "nan",
    "inf",
    "true",
    "0x",
    "1_0",
    "\x1b[31m",
    "\x9b",
    "\u202e",
]
ODD += [
    "\u2212",
    "\u0661",
    "\ud800",
    "\U0001f600",
    "\ufeff",
    "../",
    "//",
    "~",
    "**",
    "sqrt(",
    "fan_in",
    "__import__('os')",
]
WORDS = {
    "act": "relu tanh gelu(approximate=true) leaky_relu(0.1) leaky_relu(negative_slope=0:0.5:3) elu(alpha=2)",
    "init": """
        he_normal normal(std=0.01) uniform(limit=sqrt(6/(fan_in+fan_out))) orthogonal(gain=2) zeros
        sparse(density=0.1,std=1/layer) variance_scaling(scale=2,mode=fan_in,distribution=normal) lsuv""",
    "arch": """
        plain residual(branch_scale=1/sqrt(depth)) conv(kernel=3,dims=2,size=4)
        transformer(heads=2,tokens=4) rnn lstm(forget_bias=1) gru""",
    "norm": "none batch layer(position=post) rms group(groups=4)",
    "numbers": "8 10,50 1:4:4 0.1:10:3log 1/64 2**3 1e1 0",
    "width": "8 8,16 8-16-8 8:32:3",
    "data": "normal uniform sphere tokens(vocab=10) a.npy a.npz:x a.csv digits",
    "choice": "cotangent mse cross_entropy float32 bfloat16 unbounded dtype chi_1 xi jax",
    "text": "he_normal=He init=he_normal,zeros relu=$x_1$ 3.25x2.4in 8.5x6cm 1 2",
    "file": "x.pdf x.png table.tex x.html layers.csv tb:logs wandb:logs nowhere/x.svg runs/x file",
    "run": "stack model nosuch file empty stack/results.nc mine.py:f a.npy",
    "kind": "acts inits variance heatmap before-after phase activation,gradient icml verdicts",
}
"""What is right somewhere."""

OPTIONS = {
    "sweep": """
        --act=act --init=init --init-first=init --bias=init --init-qk=init --arch=arch --norm=norm
        --depth=numbers --width=width --batch=numbers --seeds=numbers --sigma-w2=numbers --sigma-b2=numbers
        --dropout=numbers --root-seed=numbers --input-width=numbers --data=data --labels=data --loss=choice
        --dtype=choice --range=choice --correlation=numbers --label=text --out=file --standardize --jacobian
        --histogram --json --quiet --forward-only --fresh""",
    "check": "run --act=act --init=init --depth=numbers --width=width --strict --json --out=file",
    "theory": """
        --act=act --sigma-w2=numbers --sigma-b2=numbers --init=init --bias=init --width=numbers
        --depth=numbers --json""",
    "phase": """
        --act=act --sigma-w2=numbers --sigma-b2=numbers --show=choice --width=numbers --measure
        --depth=numbers --size=text --save=file --seeds=numbers --out=file --json""",
    "advise": """
        --act=act --depth=numbers --width=numbers --framework=choice --seeds=numbers --data=data --no-probe
        --all --out=file --json""",
    "plot": """
        run run --kind=kind --quantity=kind --select=text --save=file --style=kind --size=text
        --columns=text --label=text --full-range --no-theory --from=file""",
    "report": "run run --save=file --quiet",
    "export": "run --save=file --table=kind --select=text",
    "probe": "run --data=data --seeds=numbers --step-size=numbers --out=file --json --compare=run",
    "list": "kind",
    "": "--version --help run",
}
"""Of each command what it takes, and which words fit."""

STAGES = (
    "varprobe.sweeps.sweep.run",
    "varprobe.theory.fixed_point",
    "varprobe.theory.phase_diagram.phase_diagram",
    "varprobe.verdict.advise.advise",
    "varprobe.model.probing.probe",
    "varprobe.plots.save_figure",
    "varprobe.exports.reporting.writing.write",
    "varprobe.exports.exporting.export",
)
"""Where a command is done with its arguments."""


class ReachedError(InvalidArgumentError):
    """A command line was understood."""


def edited(pick: random.Random, text: str) -> str:
    """The text with up to four edits, often none."""
    for _ in range(pick.choice([0, 0, 1, 1, 2, 4])):
        i, j = sorted(pick.randrange(len(text) + 1) for _ in "ij")
        part = text[i:j]
        new = pick.choice(["", part * 2, pick.choice(ODD), part[::-1], part + pick.choice(ODD), word(pick)])
        text = text[:i] + new + text[j:]
    return text[:2000]


def word(pick: random.Random, kind: str | None = None) -> str:
    """Something that is right, of a kind or of any."""
    return pick.choice(WORDS[kind or pick.choice(list(WORDS))].split())


def formula(pick: random.Random, level: int = 0) -> str:
    """An expression of the grammar."""
    if level > 3 or pick.random() < 0.4:
        return pick.choice(["fan_in", "fan_out", "depth", "layer", "width", "0", "1", "2.5", "1e-3", "1e308", "1e-320"])
    left, right = formula(pick, level + 1), formula(pick, level + 1)
    return pick.choice(
        [f"{left}{pick.choice(['+', '-', '*', '/', '**'])}{right}", f"({left})", f"-{left}", f"sqrt({left})"]
    )


def items(pick: random.Random) -> str:
    """A comma list of calls."""
    return edited(
        pick, ",".join(word(pick, pick.choice(["act", "init", "arch", "norm"])) for _ in range(pick.randint(1, 3)))
    )


def command_line(pick: random.Random) -> list[str]:
    """A command with some of its options, a few of them of others."""
    name = pick.choice(list(OPTIONS))
    line = [edited(pick, name) if pick.random() < 0.05 else name] if name else []
    for _ in range(pick.randint(0, 4)):
        option, _, kind = pick.choice(OPTIONS[name if pick.random() < 0.95 else "sweep"].split()).partition("=")
        if option.startswith("-"):
            line.append(edited(pick, option) if pick.random() < 0.05 else option)
        if kind or not option.startswith("-"):
            line.append(edited(pick, word(pick, (kind or option) if pick.random() < 0.9 else None)))
    return line


def damaged(pick: random.Random, content: bytes) -> bytes:
    """The bytes with some changed, lost, doubled or added."""
    found = bytearray(content)
    for _ in range(pick.choice([0, 1, 1, 2, 5])):
        i = pick.randrange(len(found) + 1)
        j = min(len(found), i + pick.choice([1, 1, 2, 8, 100]))
        part = bytes(found[i:j])
        found[i:j] = pick.choice([b"", part * 2, pick.randbytes(len(part)), bytes(len(part)), b"\xff" * 4, b"9" * 9])
    return bytes(found)


def mutated(pick: random.Random, value: Any, level: int = 0) -> Any:
    """A JSON value with something in it replaced by something else."""
    if pick.random() < 0.1 * (level + 1) or not isinstance(value, dict | list) or not value:
        odd = [None, True, 0, -1, 1e308, 10**30, "", "x", "../../x", "a" * 64, [], {}, [[]], {"a": 1}]
        return edited(pick, value) if isinstance(value, str) and pick.random() < 0.5 else pick.choice(odd)
    at = pick.choice(list(value) if isinstance(value, dict) else list(range(len(value))))
    new = mutated(pick, value[at], level + 1)
    if isinstance(value, dict):
        rest = {k: v for k, v in value.items() if k != at}
        return rest if pick.random() < 0.2 else rest | {at if pick.random() < 0.9 else edited(pick, at): new}
    return [*value[:at], *([] if pick.random() < 0.2 else [new]), *value[at + 1 :]]


class Place:
    """A folder with right files, which are damaged one at a time, and the targets that read them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        table = np.arange(12.0).reshape(4, 3)
        np.save(folder / "a.npy", table)
        np.savez_compressed(folder / "a.npz", x=table, y=np.arange(4))
        (folder / "a.csv").write_text('"a","b"\n1,2\n3.5,-4e0\n\n5,6\n')
        (folder / "file").write_text("x")
        (folder / "spec.toml").write_text(
            'depth = [10, 50]\nact = "relu,tanh"\ninit = ["he_normal", "normal(std=0.02)"]\nsigma-w2 = "1:4:32"\n'
            "seeds = 2\nforward-only = true\nout = 'runs/x'\n"
        )
        (folder / "mine.py").write_text("def f(): return 1\n")
        (folder / "empty").mkdir()
        ds = vp.sweep(depth=2, width=4, batch=2, seeds=2, init="he_normal", out=folder / "stack")
        probed = vp.probe(lambda p, x: (x @ p).sum(), np.eye(3, dtype="f"), np.ones((2, 3), "f"))
        with model_folder(folder / "model", "probe", {"factory": "mine.py:f"}) as save:
            save(probed)
        axes = vp.plot_variance(ds)
        for ending in ("pdf", "svg", "png"):
            vp.plots.save_figure(axes.figure, folder / f"fig.{ending}", spec={"command": "varprobe sweep", "runs": []})
        self.right = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        self.runs = [p for p in self.right if p.parent.name in ("stack", "model", "cells")]

    def data_file(self, pick: random.Random) -> tuple[Path, bytes]:
        """A data file with damage."""
        path = self.folder / pick.choice(["a.npy", "a.npz", "a.csv"])
        content = self.right[path]
        if path.suffix == ".csv":
            return path, edited(pick, content.decode()).encode("utf-8", "surrogatepass")
        if path.suffix == ".npz" and pick.random() < 0.5:
            inner = damaged(pick, self.right[self.folder / "a.npy"])
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", pick.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
                archive.writestr(f"{pick.choice(['x', '../x', '/x', ''])}.npy", inner)
            return path, file.getvalue()
        return path, damaged(pick, content)

    def run_file(self, pick: random.Random) -> tuple[Path, bytes]:
        """A file of a run with damage; the records are still JSON with a checksum that fits, mostly."""
        path = pick.choice(self.runs if pick.random() < 0.3 else [p for p in self.runs if p.name == "spec.json"])
        content = self.right[path]
        if path.suffix == ".json" and pick.random() < 0.8:
            held = json.loads(content)
            new = mutated(pick, {name: value for name, value in held.items() if name not in ("format", "sha256")})
            return path, sealed_json(new) if isinstance(new, dict) else json.dumps(new).encode()
        return path, damaged(pick, content)

    def spec_file(self, pick: random.Random) -> tuple[Path, bytes]:
        """A spec file with damage."""
        path = self.folder / "spec.toml"
        return path, edited(pick, self.right[path].decode()).encode("utf-8", "surrogatepass")

    def read_options(self, made: tuple[Path, bytes]) -> None:
        """Read a spec file: what comes out are texts and flags."""
        with self.holding(*made):
            options = {"depth", "act", "init", "seeds", "sigma_w2", "forward_only", "out"}
            found = read_spec(str(made[0]), options, {"depth", "act", "init", "sigma_w2"}, {"forward_only"})
            for value in found.values():
                several = value if isinstance(value, tuple) else (value,)
                assert several and all(isinstance(v, str | bool) for v in several), found

    def figure(self, pick: random.Random) -> tuple[Path, bytes]:
        """A figure with damage."""
        path = self.folder / pick.choice(["fig.pdf", "fig.svg", "fig.png"])
        return path, damaged(pick, self.right[path])

    @contextlib.contextmanager
    def holding(self, path: Path, content: bytes) -> Iterator[None]:
        """The file with this content, for as long as it is looked at."""
        path.write_bytes(content)
        try:
            yield
        finally:
            path.write_bytes(self.right[path])

    def load(self, made: tuple[Path, bytes]) -> None:
        """Read a data file, and judge what was read."""
        with self.holding(*made):
            rows = load_source(str(made[0])).rows
            assert rows is not None and np.isfinite(rows).all() and rows.ndim == 2

    def open(self, made: tuple[Path, bytes]) -> None:
        """Open the run of a file; three times of four from its cells."""
        folder = self.folder / made[0].relative_to(self.folder).parts[0]
        results = folder / "results.nc"
        with self.holding(*made), contextlib.ExitStack() as stack:
            if len(made[1]) % 4 and results != made[0] and folder.name == "stack":
                results.unlink()
                stack.callback(lambda: results.write_bytes(self.right[results]))
            vp.open_run(folder, note=lambda text: None)

    def tell(self, made: tuple[Path, bytes]) -> None:
        """Read how a figure was made."""
        with self.holding(*made):
            origin_of(made[0])

    def command(self, line: list[str]) -> None:
        """Run a command line up to where its arguments are understood."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.ExitStack() as stack:
            for name in STAGES:
                stack.enter_context(patch(name, side_effect=ReachedError("reached")))
            stack.enter_context(patch("varprobe.cli.device.keep_compiled_code"))
            stack.enter_context(contextlib.redirect_stdout(out))
            stack.enter_context(contextlib.redirect_stderr(err))
            code = outcome(line)
        said = err.getvalue().splitlines()
        assert code in (0, 1, 2), f"exit code {code}: {err.getvalue()}"
        assert code < 2 or said[-1].startswith("varprobe: "), err.getvalue()
        assert all(text.isprintable() for text in (*said, *out.getvalue().splitlines())), (out.getvalue(), said)


def resolved(text: str) -> None:
    """Look up the calls of a list wherever a name is taken."""
    for call in (call for item in split_items(text) for call in parse_calls(item)[:10]):
        if ":" in call.name:
            continue  # it would be imported
        for look_up in (resolve_activation, resolve_initializer, resolve_norm, resolve_architecture):
            with contextlib.suppress(InvalidArgumentError):
                look_up(call)


def targets(place: Place) -> dict[str, tuple[Making, Reading, int]]:
    """Name -> how its inputs are made, what reads them, and how many of a hundred are its own."""
    shape = {"fan_in": 3, "fan_out": 4, "width": 4, "depth": 5, "layer": 2}
    return {
        "calls": (items, resolved, 25),
        "expressions": (lambda p: edited(p, formula(p)), lambda t: parse_expression(t).evaluate(**shape), 20),
        "numbers": (
            lambda p: edited(p, word(p, "numbers")),
            lambda t: [parse_numbers(t, "x", integer=whole, low=0, high=1e6) for whole in (False, True)],
            20,
        ),
        "texts": (lambda p: edited(p, word(p, "text")), lambda t: (check_text(t), size_of(t)), 5),
        "labels": (lambda p: edited(p, word(p, "text")), lambda t: labels_of([t], ["he_normal", "relu"]), 4),
        "commands": (command_line, place.command, 10),
        "data": (place.data_file, place.load, 10),
        "runs": (place.run_file, place.open, 2),
        "figures": (place.figure, place.tell, 4),
        "specs": (place.spec_file, place.read_options, 4),
        "shares": (lambda p: edited(p, p.choice(["3/100", "1/1", "12/7"])), read_shard, 2),
        "memory": (lambda p: edited(p, p.choice(["8GiB", "50%", "5e9", "500 MB"])), read_memory, 2),
    }


def fault_of(read: Reading, made: Any) -> str:
    """What went wrong beyond a line that says so; empty where nothing did."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(made)
    except InvalidArgumentError as error:
        return "" if "\n" not in str(error) else f"several lines: {error!r}"
    except Exception:
        return traceback.format_exc()
    return ""


def fuzz(place: Place, count: int, start: int = 0, only: str | None = None) -> tuple[Counter[str], list[str]]:
    """(how many inputs of each target, faults) of the inputs with these numbers."""
    known, counts, faults = targets(place), Counter[str](), list[str]()
    names = [name for name, (_, _, share) in known.items() for _ in range(share)]
    for number in range(start, start + count):
        pick = random.Random(number)
        name = only or pick.choice(names)
        make, read, _ = known[name]
        made = make(pick)
        counts[name] += 1
        if fault := fault_of(read, made):
            faults.append(f"{name} {number}: {made!r:.1500}\n{fault}")
    return counts, faults


def main() -> None:
    """Fuzz, and say how much and how fast."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--only")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), writing(Path(folder)):
        os.environ.pop("VARPROBE_TRACEBACK", None)
        place, began = Place(Path(folder)), time.monotonic()
        counts, faults = fuzz(place, asked.count, asked.start, asked.only)
        seconds = time.monotonic() - began
    print("\n".join(faults))
    print(f"{counts.total()} inputs in {seconds:.0f} s ({counts.total() / seconds:.0f} a second): {dict(counts)}")
    print(f"{len(faults)} faults")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
