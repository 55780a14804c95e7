"""CONTRIBUTING.md is true: four of its additions, made in a copy of the package with no file but those that it names."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import varprobe

ROOT = Path(__file__).parents[1]

EDITS = [
    (
        "nets/activations.py",
        '    "relu6": Registered(',
        '    "quarter": Registered(lambda x: x / 4, "x / 4"),\n',
    ),
    (
        "engine/fractions.py",
        '    "dead_unit_fraction": Fraction(',
        '    "positive_fraction": Fraction(("z",), lambda z: z > 0),\n',
    ),
    (
        "storage/dataset.py",
        '    "dead_unit_fraction": ',
        '    "positive_fraction": "share of preactivations above 0",\n',
    ),
    (
        "plots/kinds.py",
        '    "histogram": Kind(',
        '    "positive": Kind("preactivations above 0", "positive:positive_figure", ()),\n',
    ),
    (
        "sweeps/arguments.py",
        "        histogram: `",
        "        note: a word that is kept with the run.\n",
    ),
    (
        "sweeps/arguments.py",
        "    histogram: Annotated[",
        '    note: Annotated[Literal["none", "draft"], Argument("none", "Kept with the run.", "WORD")]\n',
    ),
    (
        "sweeps/request.py",
        '        "input_width": ',
        '        **({"note": given["note"]} if given["note"] != "none" else {}),\n',
    ),
]
"""(File, what stands behind the new line, the line)."""

FIGURE = '''"""The fraction of preactivations above 0, layer by layer."""

import xarray as xr
from matplotlib.figure import Figure


def positive_figure(ds: xr.Dataset, size: tuple[float, float] | None = None) -> Figure:
    """A line for each configuration."""
    figure = Figure(figsize=size)
    axes = figure.add_subplot()
    axes.plot(ds.layer, ds.positive_fraction.mean("seed").values.T)
    return figure
'''

RUN = """
import json
import numpy as np
import varprobe as vp
from varprobe.__main__ import outcome

ds = vp.sweep(depth=3, width=64, batch=8, seeds=2, act="quarter", init="lecun_normal", out="run")
assert ds.act.values.tolist() == ["quarter"]
print(float(np.diff(ds.activation_log10_mean_square.mean("seed").values[0]).mean()))
print(float(ds.positive_fraction.values[..., 1:].mean()))
assert ds.positive_fraction.attrs["long_name"] == "share of preactivations above 0"
line = "sweep --depth 2 --width 8 --seeds 1 --init zeros --quiet --json --out noted --note"
assert outcome([*line.split(), "darft"]) == 2
assert outcome([*line.split(), "draft"]) == 0
assert json.loads(vp.open_run("noted").attrs["spec"])["note"] == "draft" and "note" not in json.loads(ds.attrs["spec"])
assert "    note: a word that is kept with the run." in vp.sweep.__doc__
print(outcome(["plot", "run", "--kind", "positive", "--save", "positive.pdf"]))
"""


def test_an_activation_a_statistic_a_kind_of_figure_and_an_option(tmp_path: Path) -> None:
    """An activation of x / 4 divides the mean square by 16 a layer; half of the preactivations are above 0."""
    copy = tmp_path / "varprobe"
    shutil.copytree(Path(varprobe.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, behind, line in EDITS:
        text = (copy / name).read_text("utf-8")
        assert text.count(behind) == 1, name
        (copy / name).write_text(text.replace(behind, line + behind), "utf-8")
    (copy / "plots/positive.py").write_text(FIGURE, "utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    slope, positive, *_, code = done.stdout.split()
    assert "--note: unknown value 'darft'; did you mean 'draft'? (allowed: none, draft)" in done.stderr
    assert abs(float(slope) + 1.204) < 0.1 and abs(float(positive) - 0.5) < 0.05 and code == "0"
    assert (tmp_path / "positive.pdf").stat().st_size > 1000


def test_the_files_that_it_names_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = re.findall(r"`((?:varprobe|scripts)/[\w/]+(?:\.py)?)/?`", text)
    assert len(named) > 10 and all((ROOT / name).exists() for name in named)
    for heading in (
        "activation",
        "initializer",
        "architecture",
        "norm",
        "kind of figure",
        "recorded statistic",
        "option of sweeps",
    ):
        assert re.search(rf"^## An? {heading}$", text, re.MULTILINE)
