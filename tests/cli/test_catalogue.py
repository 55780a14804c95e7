"""The catalogue of bad input: one line on stderr with option, value and what is allowed; exit code 2; nothing written."""

import importlib
import time
from pathlib import Path

import click
import numpy as np
import pytest

from varprobe.__main__ import main
from varprobe.cli import command, options
from varprobe.errors import InvalidArgumentError
from varprobe.sweeps.request import read_request

pytestmark = pytest.mark.filterwarnings("error")

sweep_module = importlib.import_module("varprobe.sweeps.sweep")

CODE = """
import jax, jax.numpy as jnp, numpy as np
number = 3
def good(x): return x * jax.nn.sigmoid(x)
def reduces(x): return x.sum()
def longer(x): return jnp.concatenate([x, x])
def raises(x): raise KeyError("boom\\nsecond line")
def numpy_only(x): return np.tanh(x)
def nan(x): return jnp.log(x)
def softmax(x): return jax.nn.softmax(x)
def nothing(x): return None
def needs(x, beta): return beta * x
def no_arguments(): return 1
def leaves(x): raise SystemExit(0)
def matrix(key, shape, dtype=jnp.float32): return jax.random.normal(key, shape, dtype)
def square(key, shape, dtype=jnp.float32): return jnp.ones((3, 3))
def scalar(key, shape, dtype=jnp.float32): return 1.0
def matrix_nan(key, shape, dtype=jnp.float32): return jnp.full(shape, jnp.nan)
def matrix_raises(key, shape, dtype=jnp.float32): raise ValueError("boom")
def matrix_leaves(key, shape, dtype=jnp.float32): raise SystemExit(0)
def impure(key, shape, dtype=jnp.float32): return np.random.normal(size=shape)
def integers(key, shape, dtype=jnp.float32): return jnp.ones(shape, int)
def complexes(key, shape, dtype=jnp.float32): return jnp.ones(shape, complex)
def no_array(key, shape, dtype=jnp.float32): return None
def two(key, shape): return jnp.ones(shape)
def branches(key, shape, dtype=jnp.float32, *, layer): return jnp.ones(shape) if layer > 1 else jnp.zeros(shape)
def two_dimensions(key, shape, dtype=jnp.float32): return jnp.ones((shape[0], shape[1]))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with all that can be named."""
    path = tmp_path_factory.mktemp("place")
    (path / "mine.py").write_text(CODE)
    (path / "broken.py").write_text("def f(x:\n")
    (path / "leaves.py").write_text("import sys; sys.exit(0)\n")
    rng = np.random.default_rng(0)
    np.save(path / "ok.npy", rng.normal(size=(20, 6)))
    np.save(path / "y.npy", np.arange(20) % 3)
    np.save(path / "short.npy", np.arange(19) % 3)
    np.save(path / "real.npy", rng.normal(size=20))
    np.save(path / "same.npy", np.full(20, 2))
    np.save(path / "negative.npy", np.arange(20) % 3 - 1)
    np.save(path / "classes.npy", np.arange(20) * 10**12)
    np.save(path / "nan.npy", np.full((20, 6), np.nan))
    np.save(path / "huge.npy", np.full((20, 6), 1e300))
    np.save(path / "norows.npy", np.zeros((0, 6)))
    np.save(path / "objects.npy", np.array([1, None], object), allow_pickle=True)
    np.save(path / "text.npy", np.array(["a", "b"]))
    np.save(path / "constant.npy", np.ones((20, 6)))
    np.savez(path / "two.npz", a=np.ones((20, 6)), b=np.ones((20, 5)))
    (path / "cut.npy").write_bytes((path / "ok.npy").read_bytes()[:100])
    (path / "empty.npy").write_bytes(b"")
    (path / "empty.csv").write_text("")
    (path / "ragged.csv").write_text("1,2\n3\n")
    (path / "words.csv").write_text("a,b\nx,y\n")
    (path / "picture.png").write_bytes(b"x")
    (path / "file").write_text("x")
    (path / "wrong.toml").write_text("depht = 3")
    (path / "broken.toml").write_text("depth = ")
    for folder in ("notes", "empty", "folder.npy"):
        (path / folder).mkdir()
    (path / "notes" / "todo.txt").write_text("x")
    return path


@pytest.fixture
def refused(place, monkeypatch, capsys):
    """Run a command line that must be refused before anything is planned, and return its line on stderr."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(sweep_module, "groups_of", lambda *_: pytest.fail("it was not refused"))
    monkeypatch.setattr("varprobe.cli.device.keep_compiled_code", lambda: None)

    def run(*arguments: str) -> str:
        before, began = {p: p.stat().st_mtime_ns for p in place.rglob("*")}, time.monotonic()
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        out, err = capsys.readouterr()
        assert stop.value.code == 2, err
        assert out == ""
        assert err.startswith("varprobe: ") and err.endswith("\n") and err.count("\n") == 1
        assert err[:-1].isprintable() and len(err) < 1100
        assert {p: p.stat().st_mtime_ns for p in place.rglob("*")} == before
        assert time.monotonic() - began < 10  # refused, not computed; a loaded machine has time enough
        return err.removeprefix("varprobe: ").rstrip("\n")

    return run


NO_MATRICES = [
    ("he_normal", "plain has no such matrices; transformer has them"),
    ("", "item 1 of '' is empty"),
    ("he_normal(", "is never closed"),
]

SWEEP: dict[str, list[tuple[str, str]]] = {
    "--depth": [
        ("0", "0 is out of range (allowed: whole numbers from 1)"),
        ("-3", "-3 is out of range"),
        ("x", "'x' is not a number (allowed: whole numbers from 1)"),
        ("1.5", "1.5 is not a whole number"),
        ("", "item 1 of '' is empty"),
        ("10,,20", "item 2 of '10,,20' is empty"),
        ("10:5:3", "the range '10:5:3' runs backwards"),
        ("10:20", "'10:20' is not a range (LO:HI:N"),
        ("1:inf:3", "inf is not a finite number"),
        ("1e30", "layers with 8 seeds make"),
        ("100000000", "TiB of results; this machine has"),
        ("1:100000:100000", "100000 of --depth"),
        ("9" * 100_000, "not a finite number"),
    ],
    "--width": [
        ("0", "0 is out of range"),
        ("x", "'x' is not a number"),
        ("5.5", "5.5 is not a whole number"),
        ("", "item 1 of '' is empty"),
        ("512,", "item 2 of '512,' is empty"),
        ("99999999", "needs about 142 PiB of memory to work with; this machine has"),
        ("784-512-0", "'784-512-0' is not a profile of whole numbers from 1, such as 784-512-256"),
        ("784--512", "is not a profile"),
        ("784-512-x", "is not a profile"),
        ("8\N{MINUS SIGN}8", "is not a number"),
    ],
    "--batch": [
        ("0", "0 is out of range"),
        ("-1", "-1 is out of range"),
        ("x", "'x' is not a number"),
        ("1e15", "needs about 181 EiB of memory; this machine has"),
    ],
    "--seeds": [
        ("0", "0 is out of range"),
        ("-1", "-1 is out of range"),
        ("x", "'x' is not a number"),
        ("1.5", "1.5 is not a whole number"),
        ("1,2", "takes one number, got '1,2'"),
        ("1e12", "1000000000000 seeds make 199 PiB of results; this machine has"),
        ("", "item 1 of '' is empty"),
    ],
    "--root-seed": [
        ("-1", "-1 is out of range (allowed: whole numbers from 0 to 4294967295)"),
        ("4294967296", "4294967296 is out of range"),
        ("x", "'x' is not a number"),
        ("1,2", "takes one number"),
    ],
    "--input-width": [
        ("0", "0 is out of range"),
        ("x", "'x' is not a number"),
        ("1,2", "takes one number"),
        ("9999999999999", "a weight matrix of 9999999999999 x 512 needs about 72.8 PiB"),
    ],
    "--act": [
        ("relly", "unknown activation 'relly'; did you mean 'relu'? (`varprobe list acts` shows all)"),
        ("", "item 1 of '' is empty"),
        ("relu,,tanh", "item 2 of 'relu,,tanh' is empty"),
        ("relu(", "'(' at character 5 of 'relu(' is never closed"),
        ("relu)", "')' at character 5 of 'relu)' closes nothing"),
        ("relu(0.1)", "relu takes no parameters"),
        ("leaky_relu(slope=1)", "unknown parameter 'slope' (allowed: negative_slope)"),
        ("leaky_relu(negative_slope=x)", "negative_slope must be a number, got 'x'"),
        ("gelu(approximate=3)", "approximate must be true or false, got '3'"),
        ("elu(alpha=1e400)", "'1e400' holds a number beyond the range of float64"),
        ("nosuch.mod:f", "there is no module 'nosuch'"),
        ("mime.py:f", "there is no file 'mime.py'; did you mean 'mine.py'?"),
        ("mine.py", "'mine.py' is not of the form FILE.py:NAME or PKG.MOD:NAME"),
        ("mine.py:", "'mine.py:' is not of the form"),
        ("mine.py:goof", "there is no 'goof' in it; did you mean 'good'?"),
        ("mine.py:number", "'number' is of type int, not a function"),
        ("mine.py:reduces", "is not elementwise: it maps shape (3, 4) to ()"),
        ("mine.py:longer", "is not elementwise: it maps shape (3, 4) to (6, 4)"),
        ("mine.py:softmax", "is not elementwise"),
        ("mine.py:raises", "KeyError: 'boom"),
        ("mine.py:numpy_only", "is it written with jax.numpy?"),
        ("mine.py:nan", "is not finite at x = -2.5"),
        ("mine.py:nothing", "NoneType"),
        ("mine.py:needs", "needs a value for beta"),
        ("mine.py:no_arguments", "takes 0"),
        ("mine.py:good(beta=2)", "unknown parameter 'beta'"),
        ("mine.py:leaves", "SystemExit"),
        ("broken.py:f", "broken.py, line 1: '(' was never closed"),
        ("leaves.py:f", "it does not import: SystemExit"),
        ("re\x1b[31mlu", r"'re\x1b[31mlu' does not start with a name"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}relu", r"'\u202erelu'"),
        ("re\nlu", r"'re\nlu'"),
        ("\udcff", r"'\udcff'"),
        ("a" * 100_000, "unknown activation 'aaaa"),
        ("relu," * 50_000, "item 50001 of 'relu,relu,"),
    ],
    "--init": [
        ("he_norml", "unknown initializer 'he_norml'; did you mean 'he_normal'? (`varprobe list inits` shows all)"),
        ("", "item 1 of '' is empty"),
        ("normal(std=", "'(' at character 7 of 'normal(std=' is never closed"),
        ("normal(sigma=1)", "'sigma' is ambiguous, texts disagree whether it is a standard deviation or a variance"),
        ("normal(0.1)", "a value needs its name here"),
        ("uniform(0.1)", "a value needs its name here"),
        ("normal(std=0.1,var=2)", "give one of std, var, not several"),
        ("normal(std=-1)", "std must not be negative, got -1"),
        ("normal(std=foo)", "std must be a number or an expression, got 'foo'"),
        ("normal(std=1/0)", "'1/0' divides by zero"),
        ("normal(std=1/(layer-3))", "normal(std=1/(layer-3))"),
        ("normal(std=1/(fan_in-512))", "divides by zero at fan_in=512"),
        ("normal(stdd=1)", "unknown parameter 'stdd'; did you mean 'std'?"),
        ("normal(std=__import__('os'))", "not allowed"),
        ("normal(std=1:0.01:5)", "runs backwards"),
        ("normal(std=0:1:5log)", "its lower end must be above 0"),
        ("normal(std=0:1:1000000)", "must end in a whole number from 2 to 100000"),
        ("normal(std=" + "(" * 500 + "1" + ")" * 500 + ")", "is longer than 200 characters"),
        ("sparse", "sparse needs density="),
        ("sparse(density=2)", "density must be a number above 0 and at most 1, got '2'"),
        ("variance_scaling(mode=fan_inn)", "unknown mode 'fan_inn'; did you mean 'fan_in'?"),
        ("variance_scaling(scale=-1)", "variance_scaling(scale=-1)"),
        ("mine.py:square", "for a matrix of shape (512, 512) returns shape (3, 3)"),
        ("mine.py:scalar", "returns shape ()"),
        ("mine.py:matrix_nan", "returns nan somewhere"),
        ("mine.py:matrix_raises", "fails under jax.jit (is it written with jax.numpy?): ValueError: boom"),
        ("mine.py:matrix_leaves", "SystemExit"),
        ("mine.py:impure", "returns other numbers for the same key; draw with jax.random from the key alone"),
        ("mine.py:integers", "returns int32, not the dtype that it was given (float32)"),
        ("mine.py:complexes", "returns complex64"),
        ("mine.py:no_array", "returns NoneType, not an array"),
        ("mine.py:two", "is called with 3 positional arguments and takes 2"),
        ("mine.py:branches", "TracerBoolConversionError"),
        ("mine.py:good", "is called with 3 positional arguments and takes 1"),
        ("mine.py:number", "'number' is of type int, not a function"),
    ],
    "--init-first": [
        ("foo", "unknown initializer 'foo'"),
        ("", "item 1 of '' is empty"),
        ("normal(var=-1)", "var must not be negative"),
        ("mine.py:matrix_nan", "returns nan somewhere"),
    ],
    "--init-last": [
        ("foo", "unknown initializer 'foo'"),
        ("normal(sigma=1)", "'sigma' is ambiguous"),
        ("normal(std=50-layer-1)", "must not be negative"),
        ("mine.py:square", "returns shape (3, 3)"),
    ],
    "--bias": [
        ("orthogonal", "orthogonal has no meaning for a bias vector (allowed: zeros, ones, constant,"),
        ("identity", "identity has no meaning"),
        ("sparse(density=0.5)", "sparse(density=0.5) has no meaning"),
        ("zero", "unknown initializer 'zero'; did you mean 'zeros'?"),
        ("normal(std=-1)", "std must not be negative"),
        ("mine.py:two_dimensions", "for a bias of shape (512,) fails"),
    ],
    "--sigma-w2": [
        ("-1", "-1 is out of range (allowed: numbers from 0)"),
        ("x", "'x' is not a number"),
        ("", "item 1 of '' is empty"),
        ("nan", "nan is not a finite number"),
        ("4:1:3", "runs backwards"),
    ],
    "--sigma-b2": [
        ("-0.5", "-0.5 is out of range (allowed: numbers from 0)"),
        ("x", "'x' is not a number"),
        ("0:1", "is not a range"),
    ],
    "--data": [
        ("normall", "unknown name 'normall'; did you mean 'normal'?"),
        ("", "unknown name ''"),
        ("nosuch.npy", "there is no file 'nosuch.npy'"),
        ("nan.npy", "nan.npy holds nan at row 0, column 0"),
        ("huge.npy", "1e+300 is beyond float32; use --dtype float64, or scale it"),
        ("norows.npy", "norows.npy has no rows"),
        ("objects.npy", "objects.npy holds Python objects, not numbers"),
        ("text.npy", "not real numbers"),
        ("two.npz", "two.npz holds several arrays; name one as two.npz:NAME (it has a, b)"),
        ("two.npz:c", "holds no array 'c' (it has a, b)"),
        ("cut.npy", "cut.npy is damaged"),
        ("empty.npy", "empty.npy is damaged"),
        ("empty.csv", "empty.csv has no rows"),
        ("ragged.csv", "line 2 has 1 columns, not 2"),
        ("words.csv", "'x' is not a number"),
        ("picture.png", "a file must end in .npy, .npz or .csv"),
        ("folder.npy", "cannot read 'folder.npy'"),
        ("a\x1b[31m.npy", r"'a\x1b[31m.npy'"),
    ],
    "--loss": [
        ("MSE", "unknown value 'MSE'; did you mean 'mse'? (allowed: cotangent, mse, cross_entropy)"),
        ("foo", "unknown value 'foo'"),
        ("", "unknown value ''"),
    ],
    "--dtype": [
        ("f32", "unknown value 'f32'; did you mean 'float32'? (allowed: float32, float64, bfloat16, float16)"),
        ("float8", "unknown value 'float8'"),
        ("", "unknown value ''"),
    ],
    "--range": [
        ("real", "unknown value 'real' (allowed: unbounded, dtype)"),
        ("dtipe", "did you mean 'dtype'?"),
        ("", "unknown value ''"),
    ],
    "--arch": [
        ("resnet", "unknown architecture 'resnet' (allowed: plain, residual, conv, transformer, rnn, lstm, gru)"),
        ("", "item 1 of '' is empty"),
        ("plane", "did you mean 'plain'?"),
        ("residual(branch_layers=3)", "branch_layers=3 is not allowed (allowed: 2, 1)"),
    ],
    "--norm": [
        ("bach", "did you mean 'batch'? (allowed: none, batch, layer, rms, group)"),
        ("", "item 1 of '' is empty"),
        ("group(groups=7)", "7 groups do not divide 512 units"),
    ],
    "--dropout": [
        ("1", "1 is out of range (allowed: numbers from 0 to 0.999)"),
        ("-0.1", "-0.1 is out of range (allowed: numbers from 0 to 0.999)"),
        ("x", "'x' is not a number"),
    ],
    "--init-qk": NO_MATRICES,
    "--init-v": NO_MATRICES,
    "--init-o": NO_MATRICES,
    "--init-mlp": NO_MATRICES,
    "--correlation": [
        ("2", "2 is out of range (allowed: numbers from -1 to 1)"),
        ("x", "'x' is not a number"),
        ("", "item 1 of '' is empty"),
    ],
    "--labels": [
        ("y.npy", "labels need data with rows; 'normal' is a random law"),
        ("nosuch.npy", "labels need data"),
        ("", "labels need data"),
    ],
    "--label": [
        ("he_normal", "'he_normal' is not of the form NAME=TEXT, such as he_normal=He"),
        ("=", "'=' is not of the form"),
        ("he_norml=He", "nothing in this run is called 'he_norml'; did you mean 'he_normal'?"),
    ],
    "--spec": [
        ("nosuch.toml", "cannot read 'nosuch.toml': No such file or directory"),
        ("empty", "'empty' is no file"),
        ("wrong.toml", "wrong.toml: unknown option 'depht'; did you mean 'depth'?"),
        ("broken.toml", "broken.toml is no TOML: Invalid value (at "),
    ],
    "--memory": [
        ("1", "'1' is 1 byte; the least is 512 MiB, which Python, jax and one compiled program take"),
        ("200%", "'200%' is not a share between 0 and 100%; allowed: bytes such as 8e9, 500MB or 4GiB, or a share of"),
        ("much", "'much' is not an amount of memory; allowed: bytes such as 8e9, 500MB or 4GiB, or a share of the"),
        ("1e30", "'1e30' is more than this machine has, "),
    ],
    "--devices": [
        ("0", "0 is out of range (allowed: whole numbers from 1)"),
        ("1.5", "1.5 is not a whole number (allowed: whole numbers from 1)"),
        ("99999", "99999 is more than the "),
    ],
    "--dask": [
        ("nowhere", "'nowhere' is no address (such as tcp://10.0.0.7:8786, or local)"),
        ("tcp://", "there is no scheduler at 'tcp://'"),
        ("tcp://127.0.0.1:9", "there is no scheduler at 'tcp://127.0.0.1:9'"),
    ],
    "--shard": [
        ("0/3", "'0/3' is no share (allowed: 1/3 to 3/3)"),
        ("4/3", "'4/3' is no share (allowed: 1/3 to 3/3)"),
        ("1/0", "'1/0' is no share (allowed: I/N with N from 1)"),
        ("3", "'3' is not of the form I/N, such as 3/100"),
    ],
    "--out": [
        ("", "'' cannot be used as a folder"),
        (" ", "' ' cannot be used as a folder"),
        ("file", "'file' is a file, not a folder"),
        ("file/x", "'file' is a file, not a folder"),
        ("notes", "notes holds files and no run; name a new or an empty folder"),
        ("a\0b", r"'a\x00b' cannot be used"),
        ("a" * 300, "File name too long"),
    ],
}
FLAGS = (
    "--json",
    "--standardize",
    "--forward-only",
    "--jacobian",
    "--histogram",
    "--fresh",
    "--wide",
    "--full-range",
    "--no-theory",
    "--no-compile-cache",
    "--dry-run",
    "--quiet",
)


@pytest.mark.parametrize("option", SWEEP)
def test_values_of_sweep(refused, option):
    for value, message in SWEEP[option]:
        line = refused("sweep", option, value)
        assert line.startswith(f"{option}: "), line
        assert message in line


def test_every_option_has_three_wrong_values():
    known = [flags[0] for flags, _ in (*options.ESSENTIAL_OPTIONS, *options.OTHER_OPTIONS, *options.SHARE_OPTIONS)]
    assert sorted([*SWEEP, *FLAGS]) == sorted([*known, "--label"])
    assert all(len(values) >= 3 for values in SWEEP.values())


TOGETHER = [
    ("--seeds: given 2 times; it takes one value", "--seeds 2 --seeds 3"),
    ("--out: given 2 times", "--out a --out b"),
    ("--data: given 2 times", "--data normal --data uniform"),
    ("--sigma-w2: '1' is short for a --init; give one of the two", "--sigma-w2 1 --init he_normal"),
    ("--sigma-b2: '1' is short for a --bias; give one of the two", "--sigma-b2 1 --bias zeros"),
    ("--depth: 5 does not fit the profile 784-512-256 of --width, which has depth 3", "--width 784-512-256 --depth 5"),
    ("--batch: 21 samples are more than the 20 rows of ok.npy (20 x 6)", "--data ok.npy --batch 21"),
    ("--batch: 21 samples", "--data ok.npy --batch 4,21"),
    ("--input-width: 7 does not fit ok.npy (20 x 6), whose samples have 6 values", "--data ok.npy --input-width 7"),
    ("--standardize: only rows can be standardized; 'normal' is a random law", "--standardize"),
    ("--standardize: every feature of constant.npy is constant", "--data constant.npy --standardize"),
    ("--labels: labels are for the losses mse and cross_entropy", "--data ok.npy --labels y.npy"),
    ("--labels: short.npy has 19 rows and the data 20", "--data ok.npy --loss mse --labels short.npy"),
    ("--labels: there is no file", "--data ok.npy --loss mse --labels nosuch.npy"),
    (
        "--labels: cross_entropy needs one whole number",
        "--data ok.npy --loss cross_entropy --batch 4 --labels real.npy",
    ),
    (
        "--labels: cross_entropy needs one whole number",
        "--data ok.npy --loss cross_entropy --batch 4 --labels negative.npy",
    ),
    ("--labels: a weight matrix of 512 x 19", "--data ok.npy --loss cross_entropy --labels classes.npy --batch 4"),
    ("--sigma-w2: 1e+10 configurations (100000 of", "--sigma-w2 0:1:100000 --sigma-b2 0:1:100000"),
    ("--depth: 1.1e+11 configurations (11 of --init x", "--depth 1:100000:100000 --width 1:100000:100000"),
    ("--depht: unknown option; did you mean '--depth'? (`varprobe sweep --help-all` shows all)", "--depht 3"),
    ("--init_first: unknown option; did you mean '--init-first'?", "--init_first zeros"),
    ("-depth: unknown option; did you mean '--depth'?", "-depth 3"),
    ("-x: unknown option", "-x"),
    ("--depth: needs a value: Weight layers; a list 10,50 or a range 10:100:10.", "--depth"),
    ("--json: takes no value", "--json=yes"),
    ("--help: takes no value", "--help=3"),
    ("unexpected 'extra'; every value follows its option", "--json extra"),
    (r"unexpected 'e\x1b[31m'", "e\x1b[31m"),
]


@pytest.mark.parametrize("message, line", TOGETHER, ids=[line for _, line in TOGETHER])
def test_options_that_do_not_go_together(refused, message, line):
    assert refused("sweep", *line.split()).startswith(message)


def test_flags_take_no_value(refused):
    for flag in FLAGS:
        for value in ("yes", "0", ""):
            assert refused("sweep", f"{flag}={value}") == f"{flag}: takes no value"


CATALOGUE: list[tuple[str, str]] = [
    # list
    (
        "list init",
        "KIND: unknown list 'init'; did you mean 'inits'? (allowed: acts, inits, archs, norms, optimizers, verdicts)",
    ),
    ("list acts inits", "unexpected 'inits'; every value follows its option (see --help)"),
    ("list --foo acts", "--foo: unknown option (allowed: --help)"),
    ("list", "{acts|inits|archs|norms|optimizers|verdicts}: missing (see --help)"),
    (
        "list ACTS",
        "KIND: unknown list 'ACTS'; did you mean 'acts'? (allowed: acts, inits, archs, norms, optimizers, verdicts)",
    ),
    ("list \x1b[31m", "KIND: unknown list '\\x1b[31m' (allowed: acts, inits, archs, norms, optimizers, verdicts)"),
    # theory
    ("theory --act relly", "--act: unknown activation 'relly'; did you mean 'relu'? (`varprobe list acts` shows all)"),
    ("theory --act mine.py:goof", "--act: mine.py:goof: there is no 'goof' in it; did you mean 'good'?"),
    ("theory --act mine.py:reduces", "--act: mine.py:reduces is not elementwise: it maps shape (3, 4) to ()"),
    ("theory --act relu --sigma-w2 x", "--sigma-w2: 'x' is not a number (allowed: numbers from 0)"),
    ("theory --act relu --sigma-w2 -1", "--sigma-w2: -1 is out of range (allowed: numbers from 0)"),
    ("theory --sigma-w2 nan", "--sigma-w2: nan is not a finite number (allowed: numbers from 0)"),
    ("theory --sigma-w2 1e999", "--sigma-w2: inf is not a finite number (allowed: numbers from 0)"),
    ("theory --sigma-w2 1,2", "--sigma-w2: takes one number, got '1,2'"),
    ("theory --sigma-w2 1 --init he_normal", "--sigma-w2: '1' is what 'he_normal' has too; give one of the two"),
    ("theory --sigma-b2 1 --bias zeros", "--sigma-b2: '1' is what 'zeros' has too; give one of the two"),
    ("theory --sigma-b2 -1", "--sigma-b2: -1 is out of range (allowed: numbers from 0)"),
    (
        "theory --init he_norml",
        "--init: unknown initializer 'he_norml'; did you mean 'he_normal'? (`varprobe list inits` shows all)",
    ),
    ("theory --init normal(std=-1)", "--init: normal(std=-1): std must not be negative, got -1"),
    ("theory --init orthogonal,he_normal", "--init: 'orthogonal,he_normal' is a list where one item is expected"),
    ("theory --bias orthogonal", "--bias: orthogonal has no variance that theory knows"),
    ("theory --depth 0", "--depth: 0 is out of range (allowed: whole numbers from 1 to 1000000)"),
    ("theory --depth x", "--depth: 'x' is not a number (allowed: whole numbers from 1 to 1000000)"),
    ("theory --depth 1.5", "--depth: 1.5 is not a whole number (allowed: whole numbers from 1 to 1000000)"),
    ("theory --depth 10,20", "--depth: takes one number, got '10,20'"),
    ("theory --width 0", "--width: 0 is out of range (allowed: whole numbers from 1)"),
    ("theory --width x", "--width: 'x' is not a number (allowed: whole numbers from 1)"),
    ("theory --json=1", "--json: takes no value"),
    ("theory extra", "unexpected 'extra'; every value follows its option (see --help)"),
    (
        "theory --dept 3",
        "--dept: unknown option; did you mean '--depth'? (allowed: --help, --act, --sigma-w2, --sigma-b2, --init, --bias, --width, --depth, --json)",
    ),
    ("theory --act relu,tanh", "--act: 'relu,tanh' is a list where one item is expected"),
    (
        "theory --act leaky_relu(slope=1)",
        "--act: leaky_relu(slope=1): unknown parameter 'slope' (allowed: negative_slope)",
    ),
    ("theory --act", "--act: needs a value: Activation, e.g. gelu or mine.py:f."),
    ("theory --init mine.py:good", "--init: good is called with 3 positional arguments and takes 1"),
    (
        "theory --act \x1b[31mrelu",
        "--act: '\\x1b[31mrelu' does not start with a name (examples: tanh, leaky_relu(0.1), mine.py:swishy)",
    ),
    # phase
    ("phase --act relly", "--act: unknown activation 'relly'; did you mean 'relu'? (`varprobe list acts` shows all)"),
    ("phase --act tanh,relu", "--act: 'tanh,relu' is a list where one item is expected"),
    ("phase --show chi", "--show: unknown quantity 'chi'; did you mean 'chi_1'? (allowed: chi_1, xi)"),
    ("phase --show xi --measure", "--show: 'xi' is of theory; --measure measures chi_1 (leave out one of the two)"),
    ("phase --depth 50", "--depth: '50' goes with --measure, which runs networks"),
    ("phase --batch 8", "--batch: '8' goes with --measure, which runs networks"),
    ("phase --seeds 3", "--seeds: '3' goes with --measure, which runs networks"),
    ("phase --out x", "--out: 'x' goes with --measure, which runs networks"),
    ("phase --fresh", "--fresh: goes with --measure, which runs networks"),
    ("phase --sigma-w2 x", "--sigma-w2: 'x' is not a number (allowed: numbers from 0 to 1000000)"),
    (
        "phase --sigma-w2 1:2",
        "--sigma-w2: '1:2' is not a range (LO:HI:N, or LO:HI:Nlog for even steps of the logarithm)",
    ),
    ("phase --sigma-w2 2:1:5", "--sigma-w2: the range '2:1:5' runs backwards; the lower end comes first"),
    ("phase --sigma-w2 -1:1:5", "--sigma-w2: -1 is out of range (allowed: numbers from 0 to 1000000)"),
    ("phase --sigma-b2 -1:1:5", "--sigma-b2: -1 is out of range (allowed: numbers from 0 to 1000000)"),
    ("phase --sigma-b2 nan", "--sigma-b2: nan is not a finite number (allowed: numbers from 0 to 1000000)"),
    ("phase --width 0", "--width: 0 is out of range (allowed: whole numbers from 1)"),
    ("phase --width x", "--width: 'x' is not a number (allowed: whole numbers from 1)"),
    ("phase --width 8,16", "--width: takes one number, got '8,16'"),
    ("phase --size 3", "--size: '3' is not a size such as 3.25x2.4in (units: in, cm, mm)"),
    ("phase --size 0x0", "--size: '0x0' is outside 1 to 50 inches"),
    ("phase --size 1x1", "--size: 1 x 1 inches are too small for this figure (at least 2.2 x 1.8)"),
    ("phase --save phase.txt", "--save: 'phase.txt' must end in one of .pdf, .svg, .png, .pgf"),
    ("phase --save nowhere/phase.pdf", "--save: there is no folder 'nowhere' for 'phase.pdf'"),
    ("phase --save notes", "--save: 'notes' must end in one of .pdf, .svg, .png, .pgf"),
    ("phase --measure --depth 1", "--depth: 1 is out of range (allowed: whole numbers from 2)"),
    ("phase --measure --depth x", "--depth: 'x' is not a number (allowed: whole numbers from 2)"),
    (
        "phase --measure --dtype f32",
        "--dtype: unknown value 'f32'; did you mean 'float32'? (allowed: float32, float64, bfloat16, float16)",
    ),
    (
        "phase --measure --data normall",
        "--data: unknown name 'normall'; did you mean 'normal'? (allowed: normal, uniform, sphere, tokens, digits); a file must end in .npy, .npz or .csv",
    ),
    ("phase --measure --seeds 0", "--seeds: 0 is out of range (allowed: whole numbers from 1)"),
    ("phase --measure --batch 0", "--batch: 0 is out of range (allowed: whole numbers from 1)"),
    ("phase --measure --root-seed -1", "--root-seed: -1 is out of range (allowed: whole numbers from 0 to 4294967295)"),
    ("phase --measure --out file", "--out: 'file' is a file, not a folder"),
    ("phase --json=2", "--json: takes no value"),
    ("phase extra", "unexpected 'extra'; every value follows its option (see --help)"),
    (
        "phase --act \x9b31m",
        "--act: '\\x9b31m' does not start with a name (examples: tanh, leaky_relu(0.1), mine.py:swishy)",
    ),
    ("phase --save \x1b[31m/x.pdf", "--save: there is no folder '\\x1b[31m' for 'x.pdf'"),
    # advise
    ("advise --act relly", "--act: unknown activation 'relly'; did you mean 'relu'? (`varprobe list acts` shows all)"),
    ("advise --depth 0", "--depth: 0 is out of range (allowed: whole numbers from 1 to 10000)"),
    ("advise --depth x", "--depth: 'x' is not a number (allowed: whole numbers from 1 to 10000)"),
    ("advise --depth 10,20", "--depth: takes one number, got '10,20'"),
    ("advise --width 0", "--width: 0 is out of range (allowed: whole numbers from 1)"),
    (
        "advise --framework torch",
        "--framework: unknown framework 'torch'; did you mean 'pytorch'? (allowed: jax, flax, equinox, pytorch, keras)",
    ),
    (
        "advise --framework jaxx",
        "--framework: unknown framework 'jaxx'; did you mean 'jax'? (allowed: jax, flax, equinox, pytorch, keras)",
    ),
    ("advise --foo", "--foo: unknown option; did you mean '--out'? (`varprobe advise --help` shows all)"),
    ("advise extra", "unexpected 'extra'; every value follows its option (see --help)"),
    ("advise --seeds 0", "--seeds: 0 is out of range (allowed: whole numbers from 1)"),
    ("advise --batch x", "--batch: 'x' is not a number (allowed: whole numbers from 1)"),
    ("advise --act relu,tanh", "--act: 'relu,tanh' is a list where one item is expected"),
    ("advise --save fig.txt", "--save: unknown option; did you mean '--seeds'? (`varprobe advise --help` shows all)"),
    ("advise --bias nothing", "--bias: unknown option; did you mean '--batch'? (`varprobe advise --help` shows all)"),
    ("advise --framework \x00", "--framework: unknown framework '\\x00' (allowed: jax, flax, equinox, pytorch, keras)"),
    # check
    ("check nosuch", "RUN: there is no run 'nosuch'"),
    ("check file", "RUN: 'file' is a file, not the folder of a run"),
    ("check notes", "RUN: there is no spec.json in 'notes'"),
    ("check empty", "RUN: there is no spec.json in 'empty'"),
    ("check nosuch --depth 3", "--depth: does not go with a RUN ('nosuch'), which has its own"),
    ("check nosuch --fresh", "--fresh: does not go with a RUN ('nosuch'), which has its own"),
    ("check nosuch --out x", "--out: does not go with a RUN ('nosuch'), which has its own"),
    ("check a b", "unexpected 'b'; every value follows its option (see --help)"),
    ("check --depth 0", "--depth: 0 is out of range (allowed: whole numbers from 1)"),
    ("check --act relly", "--act: unknown activation 'relly'; did you mean 'relu'? (`varprobe list acts` shows all)"),
    ("check --strict=1", "--strict: takes no value"),
    ("check --json=1", "--json: takes no value"),
    ("check --stric", "--stric: unknown option; did you mean '--strict'? (`varprobe check --help-all` shows all)"),
    ("check \u202efdp", "RUN: there is no run '\\u202efdp'"),
    # model
    ("probe", "FACTORY: missing FACTORY, such as mynet.py:make"),
    ("probe mine.py", "FACTORY: 'mine.py' is not of the form PKG.MOD:NAME or FILE.py:NAME"),
    ("probe mine.py:nothere", "FACTORY: mine.py:nothere: there is no 'nothere' in it"),
    ("probe mine.py:number", "FACTORY: mine.py:number: 'number' is of type int, not a function"),
    (
        "probe mine.py:make_nothing",
        "FACTORY: mine.py:make_nothing: there is no 'make_nothing' in it; did you mean 'nothing'?",
    ),
    ("probe mime.py:good", "FACTORY: mime.py:good: there is no file 'mime.py'; did you mean 'mine.py'?"),
    (
        "probe nosuch.mod:make",
        "FACTORY: nosuch.mod:make: there is no module 'nosuch', neither in '{place}' nor installed",
    ),
    ("probe broken.py:f", "FACTORY: broken.py:f: broken.py, line 1: '(' was never closed"),
    ("probe leaves.py:f", "FACTORY: leaves.py:f: it does not import: SystemExit: 0 (leaves.py, line 1)"),
    ("probe --seeds x", "FACTORY: missing FACTORY, such as mynet.py:make"),
    ("probe mine.py:good --seeds x", "--seeds: 'x' is not a number (allowed: whole numbers from 1 to 1000)"),
    ("probe mine.py:good --seeds 0", "--seeds: 0 is out of range (allowed: whole numbers from 1 to 1000)"),
    ("probe mine.py:good --seeds 1.5", "--seeds: 1.5 is not a whole number (allowed: whole numbers from 1 to 1000)"),
    ("probe mine.py:good --step-size x", "--step-size: 'x' is not a number (allowed: numbers from 0)"),
    ("probe mine.py:good --data nosuch", "--data: 'nosuch' is no file (allowed: FILE.npy, FILE.npz, FILE.csv)"),
    ("probe mine.py:good --data nosuch.npy", "--data: there is no file 'nosuch.npy'; did you mean 'norows.npy'?"),
    ("probe mine.py:good --out file", "--out: 'file' is a file, not a folder"),
    ("probe mine.py:good --out", "--out: needs a value: Run folder, for plot and check."),
    ("probe mine.py:good extra", "unexpected 'extra'; every value follows its option (see --help)"),
    ("probe --compare a", "--compare: needs a value: Two factories, or two runs, site by site."),
    ("probe --compare a b c", "--compare: 'c' is one model too many; --compare names both"),
    ("probe --compare nosuch nosuch2", "--compare: there is no run 'nosuch'"),
    ("probe --compare a b --out x", "--out: does not go with --compare, which writes nothing"),
    ("probe --compare a b --seeds 3", "--seeds: does not go with --compare of two runs, which are measured already"),
    ("probe --compare a b --data ok.npy", "--data: does not go with --compare of two runs, which are measured already"),
    (
        "probe --compare a b --step-size 1",
        "--step-size: does not go with --compare of two runs, which are measured already",
    ),
    ("probe mine.py:good --step-size -1", "--step-size: -1 is out of range (allowed: numbers from 0)"),
    ("probe \x1b[31m:f", "FACTORY: '\\x1b[31m:f' is not of the form PKG.MOD:NAME or FILE.py:NAME"),
    ("probe ../mine.py:goof", "FACTORY: ../mine.py:goof: there is no file '../mine.py'"),
    # track
    (
        "track --optimizer sgdd",
        "--optimizer: unknown optimizer 'sgdd'; did you mean 'sgd'? (allowed: sgd, adam, adamw, nadam, lion, rmsprop, adagrad)",
    ),
    (
        "track --optimizer sgd(moment=0.9)",
        "--optimizer: sgd(moment=0.9): unknown parameter 'moment'; did you mean 'momentum'? (allowed: lr, momentum, nesterov, clip, warmup, schedule)",
    ),
    ("track --optimizer sgd(lr=x)", "--optimizer: sgd(lr=x): lr=x is not allowed (allowed: numbers from 0 to 1e+30)"),
    (
        "track --optimizer sgd(lr=-1)",
        "--optimizer: sgd(lr=-1): lr=-1 is not allowed (allowed: numbers from 0 to 1e+30)",
    ),
    ("track --optimizer mine.py:number", "--optimizer: mine.py:number: 'number' is of type int, not a function"),
    ("track --steps 0", "--steps: 0 is out of range (allowed: whole numbers from 1 to 10000000)"),
    ("track --steps 5.5", "--steps: 5.5 is not a whole number (allowed: whole numbers from 1 to 10000000)"),
    ("track --at 101", "--at: 101 is out of range (allowed: whole numbers from 0 to 100)"),
    ("track --at 0,x", "--at: 'x' is not a number (allowed: whole numbers from 0 to 100)"),
    (
        "track --data gaussian",
        "--data: unknown name 'gaussian' (allowed: normal, uniform, sphere, tokens, digits); a file must end in .npy, .npz or .csv",
    ),
    ("track --data ok.npy", "--labels: data of your own need labels: a file or an array, one row a sample"),
    ("track --data nosuch.npy", "--data: there is no file 'nosuch.npy'; did you mean 'norows.npy'?"),
    (
        "track --data ok.npy --labels negative.npy --loss cross_entropy",
        "--labels: cross_entropy needs one whole number from 0 per sample",
    ),
    (
        "track --data normal",
        "--data: of 'normal', a random law, nothing can be learned (allowed: digits, a file, an array)",
    ),
    ("track --data ok.npy --labels short.npy", "--labels: short.npy has 19 rows and the data 20"),
    (
        "track --data ok.npy --labels y.npy --batch 21",
        "--batch: 21 samples are more than the 20 rows of ok.npy (20 x 6)",
    ),
    ("track --batch 2000", "--batch: 2000 samples are more than the 1797 rows of digits / 16 (1797 x 64)"),
    ("track --loss mae", "--loss: 'mae' is nothing to train with; did you mean 'mse'? (allowed: cross_entropy, mse)"),
    ("track --dept 3", "--dept: unknown option; did you mean '--depth'? (`varprobe track --help-all` shows all)"),
    ("track --out file", "--out: 'file' is a file, not a folder"),
    ("track extra", "unexpected 'extra'; every value follows its option (see --help)"),
    # coord-check
    ("coord-check --widths 64", "--widths: a power of width needs two widths at least, got 64"),
    ("coord-check --widths 64,x", "--widths: 'x' is not a number (allowed: whole numbers from 1)"),
    (
        "coord-check --widths 64,128,...,100",
        "--widths: 64,128,...,100 goes on neither by a ratio nor by a step that ends there",
    ),
    (
        "coord-check --widths 64,...,4096",
        "--widths: '...' must have two numbers before it and one behind, as in 64,128,...,4096",
    ),
    (
        "coord-check --init mupp",
        "--init: unknown initializer 'mupp'; did you mean 'mup'? (`varprobe list inits` shows all)",
    ),
    ("coord-check --steps 1001", "--steps: 1001 is out of range (allowed: whole numbers from 1 to 1000)"),
    ("coord-check mime.py:good", "FACTORY: mime.py:good: there is no file 'mime.py'; did you mean 'mine.py'?"),
    ("coord-check mine.py:number", "FACTORY: mine.py:number: 'number' is of type int, not a function"),
    (
        "coord-check --optimizer foo",
        "--optimizer: unknown optimizer 'foo' (allowed: sgd, adam, adamw, nadam, lion, rmsprop, adagrad)",
    ),
    (
        "coord-check --width 64",
        "--width: unknown option; did you mean '--widths'? (`varprobe coord-check --help-all` shows all)",
    ),
    ("coord-check a b", "unexpected 'b'; every value follows its option (see --help)"),
    # trainability
    (
        "trainability --depth 10:300",
        "--depth: '10:300' is not a range (LO:HI:N, or LO:HI:Nlog for even steps of the logarithm)",
    ),
    ("trainability --depth 10:x:5", "--depth: 'x' is not a number (allowed: whole numbers from 1)"),
    ("trainability --depth 0", "--depth: 0 is out of range (allowed: whole numbers from 1)"),
    ("trainability --sigma-w2 -1:4:3", "--sigma-w2: -1 is out of range (allowed: numbers from 0)"),
    (
        "trainability --sigma-w2 1:4:0",
        "--sigma-w2: the range '1:4:0' must end in a whole number from 2 to 100000, or in one and log",
    ),
    (
        "trainability --init he_normal --sigma-w2 1:4:3",
        "--sigma-w2: '1:4:3' is short for a --init; give one of the two",
    ),
    ("trainability --steps x", "--steps: 'x' is not a number (allowed: whole numbers from 1 to 10000000)"),
    (
        "trainability --act relly",
        "--act: unknown activation 'relly'; did you mean 'relu'? (`varprobe list acts` shows all)",
    ),
    ("trainability --data ok.npy", "--labels: data of your own need labels: a file or an array, one row a sample"),
    ("trainability --data ok.npy --labels same.npy", "--labels: are all the same, so that there is nothing to learn"),
    (
        "trainability --at 3",
        "--at: unknown option; did you mean '--act'? (`varprobe trainability --help-all` shows all)",
    ),
    ("trainability --out file", "--out: 'file' is a file, not a folder"),
    ("trainability extra", "unexpected 'extra'; every value follows its option (see --help)"),
    # report
    ("report", "RUN: missing RUN, the folder of a run"),
    ("report nosuch", "RUN: there is no run 'nosuch'"),
    ("report file", "RUN: 'file' is a file, not the folder of a run"),
    ("report notes", "RUN: there is no spec.json in 'notes'"),
    ("report a b", "--save: 2 runs need --save FILE.html"),
    ("report nosuch --save r.txt", "--save: 'r.txt' must end in .html"),
    ("report nosuch --save r.pdf", "--save: 'r.pdf' must end in .html; varprobe plot draws figures"),
    ("report nosuch --save nowhere/r.html", "--save: there is no folder 'nowhere' for 'r.html'"),
    ("report nosuch --save folder.html", "RUN: there is no run 'nosuch'"),
    ("report nosuch --open=1", "--open: takes no value"),
    ("report nosuch --foo", "--foo: unknown option (allowed: --help, --save, --open, --quiet)"),
    ("report a\x07", "RUN: there is no run 'a\\x07'"),
    # export
    ("export", "RUN: missing (see --help)"),
    ("export nosuch", "--save: missing; what is to be written, such as table.tex or tb:logs"),
    (
        "export nosuch --save",
        "--save: needs a value: FILE.csv, .parquet, .json, .nc, .md, .tex, or tb:FOLDER, wandb:FOLDER.",
    ),
    (
        "export nosuch --save x",
        "--save: 'x' has no ending (allowed: .csv, .parquet, .json, .nc, .md, .tex, tb:, wandb:)",
    ),
    (
        "export nosuch --save x.txt",
        "--save: unknown ending '.txt'; did you mean '.tex'? (allowed: .csv, .parquet, .json, .nc, .md, .tex, tb:, wandb:)",
    ),
    ("export nosuch --save x.csv", "RUN: there is no run 'nosuch'"),
    (
        "export nosuch --save x.cvs",
        "--save: unknown ending '.cvs'; did you mean '.csv'? (allowed: .csv, .parquet, .json, .nc, .md, .tex, tb:, wandb:)",
    ),
    ("export nosuch --save tb:", "--save: 'tb:' names no folder, such as tb:logs"),
    (
        "export nosuch --save tbb:logs",
        "--save: unknown prefix 'tbb:'; did you mean 'tb:'? (allowed: .csv, .parquet, .json, .nc, .md, .tex, tb:, wandb:)",
    ),
    ("export nosuch --save tb:file", "--save: 'file' is a file, not a folder"),
    ("export nosuch --save tb:notes", "--save: 'notes' is not empty ('todo.txt' is in it); name a new folder"),
    ("export nosuch --save nowhere/x.csv", "--save: there is no folder 'nowhere' for 'x.csv'"),
    (
        "export nosuch --save x.csv --table verdict",
        "--table: unknown table 'verdict'; did you mean 'verdicts'? (allowed: verdicts, layers)",
    ),
    ("export nosuch --save x.md --table layers", "--table: 'layers' is too long for .md; use .csv or .parquet"),
    ("export nosuch --save tb:logs --table layers", "--table: does not go with tb:FOLDER, which has curves"),
    ("export a b --save x.csv", "unexpected 'b'; every value follows its option (see --help)"),
    ("export file --save x.csv", "RUN: 'file' is a file, not the folder of a run"),
    (
        "export x --save a\x1b[31m",
        "--save: 'a\\x1b[31m' has no ending (allowed: .csv, .parquet, .json, .nc, .md, .tex, tb:, wandb:)",
    ),
    ("export x --save tb:\x1b]0;x\x07/y", "--save: there is no folder '\\x1b]0;x\\x07' for 'y'"),
    # plot
    ("plot", "RUN: missing (see --help)"),
    ("plot nosuch", "RUN: there is no run 'nosuch'"),
    (
        "plot nosuch --kind heat",
        "--kind: unknown kind 'heat'; did you mean 'heatmap'? (`varprobe plot --help` shows all)",
    ),
    ("plot nosuch --kind before-after", "RUN: --kind before-after takes two, BEFORE and AFTER"),
    ("plot a b", "unexpected 'b'; a figure of two runs is --kind before-after"),
    ("plot a b c --kind before-after", "unexpected 'c'; --kind before-after takes two"),
    (
        "plot nosuch --style icmll",
        "--style: unknown style 'icmll'; did you mean 'icml'? (allowed: paper, neurips, iclr, icml, aps, ieee, slides, dark)",
    ),
    ("plot nosuch --columns 3", "--columns: '3' is not 1 or 2"),
    ("plot nosuch --columns x", "--columns: 'x' is not 1 or 2"),
    (
        "plot nosuch --quantity gradent",
        "--quantity: unknown quantity 'gradent'; did you mean 'gradient'? (allowed: activation, preactivation, gradient, weight_gradient, branch, branch_gradient, update, loss)",
    ),
    ("plot nosuch --size 3", "--size: '3' is not a size such as 3.25x2.4in (units: in, cm, mm)"),
    ("plot nosuch --size 1000x1000in", "--size: '1000x1000in' is outside 1 to 50 inches"),
    ("plot nosuch --save fig.txt", "RUN: there is no run 'nosuch'"),
    ("plot nosuch --save nowhere/fig.pdf", "RUN: there is no run 'nosuch'"),
    ("plot nosuch --kind heatmap --no-theory", "--no-theory: does not go with --kind heatmap"),
    ("plot nosuch --kind spectrum --quantity gradient", "--quantity: does not go with --kind spectrum"),
    ("plot nosuch --label x", "RUN: there is no run 'nosuch'"),
    ("plot nosuch --usetex=1", "--usetex: takes no value"),
    ("plot --from nosuch.pdf", "--from: there is no file 'nosuch.pdf'"),
    ("plot --from file", "--from: 'file' must end in one of .pdf, .svg, .png, .pgf"),
    (
        "plot --from picture.png",
        "--from: 'picture.png' does not say how it was made; varprobe writes that into its figures",
    ),
    ("plot --from folder.npy", "--from: 'folder.npy' must end in one of .pdf, .svg, .png, .pgf"),
    ("plot x --from fig.pdf", "--from: draws nothing, so nothing else goes with it"),
    ("plot --from fig.pdf --save x.pdf", "--from: draws nothing, so nothing else goes with it"),
    ("plot --form fig.pdf", "--form: unknown option; did you mean '--from'? (`varprobe plot --help` shows all)"),
    ("plot mine.py", "RUN: 'mine.py' is a file, not the folder of a run"),
    ("plot x --size 1000x1000mm", "RUN: there is no run 'x'"),
    ("plot x --size axb", "--size: 'axb' is not a size such as 3.25x2.4in (units: in, cm, mm)"),
    ("plot x --size 3x3 --size 4x4", "--size: given 2 times; it takes one value"),
    (
        "plot x --quantity=",
        "--quantity: unknown quantity '' (allowed: activation, preactivation, gradient, weight_gradient, branch, branch_gradient, update, loss)",
    ),
    (
        "plot x --quantity gradient,,activation",
        "--quantity: unknown quantity '' (allowed: activation, preactivation, gradient, weight_gradient, branch, branch_gradient, update, loss)",
    ),
    ("plot x --full-range=1", "--full-range: takes no value"),
    ("plot a\x1b[2J", "RUN: there is no run 'a\\x1b[2J'"),
    ("plot <script>alert(1)</script>", "RUN: there is no run '<script>alert(1)</script>'"),
    ("plot --from \x1b[31m.pdf", "--from: there is no file '\\x1b[31m.pdf'"),
    (
        "plot x --kind \x1b[31m",
        "--kind: unknown kind '\\x1b[31m' (`varprobe plot --help` shows all)",
    ),
    (
        "plot x --style \u2066x",
        "--style: unknown style '\\u2066x' (allowed: paper, neurips, iclr, icml, aps, ieee, slides, dark)",
    ),
    # no command
    ("swep", "unknown command 'swep'; did you mean 'sweep'? (`varprobe --help` shows all)"),
    ("--foo", "--foo: unknown option (allowed: --help, --version)"),
    ("--depth 3", "--depth: unknown option before a command; did you mean 'varprobe sweep --depth'?"),
    ("--version=3", "--version: takes no value"),
    ("sw\x1b[31m", "unknown command 'sw\\x1b[31m' (`varprobe --help` shows all)"),
    ("\u202eplot", "unknown command '\\u202eplot'; did you mean 'plot'? (`varprobe --help` shows all)"),
    # sweep
    (
        "sweep --arch residual(branch_layers=3)",
        "--arch: residual(branch_layers=3): branch_layers=3 is not allowed (allowed: 2, 1)",
    ),
    (
        "sweep --arch conv(kernel=0)",
        "--arch: conv(kernel=0): kernel=0 is not allowed (allowed: whole numbers from 1 to 1024)",
    ),
    ("sweep --arch conv(kernel=2,dims=9)", "--arch: conv(kernel=2,dims=9): dims=9 is not allowed (allowed: 2, 1)"),
    ("sweep --arch transformer(heads=7)", "--arch: transformer(heads=7): 7 heads do not divide 512 units"),
    (
        "sweep --arch transformer(tokens=0)",
        "--arch: transformer(tokens=0): tokens=0 is not allowed (allowed: whole numbers from 1 to 1048576)",
    ),
    ("sweep --arch lstm --norm batch", "--arch: lstm: a norm has no settled place in it (rnn takes one)"),
    (
        "sweep --arch lstm(forget_bias=x)",
        "--arch: lstm(forget_bias=x): forget_bias=x is not allowed (allowed: numbers from -1e+30 to 1e+30)",
    ),
    (
        "sweep --arch rnn(steps=0)",
        "--arch: rnn(steps=0): unknown parameter 'steps'; did you mean 'per_step'? (allowed: inputs, per_step)",
    ),
    ("sweep --init fixup", "--init: fixup is for residual branches, and plain has none (try --arch residual)"),
    ("sweep --init delta_orthogonal", "--init: delta_orthogonal is for the kernels of conv; use orthogonal"),
    ("sweep --init lsuv(gain=2)", "--init: lsuv(gain=2): unknown parameter 'gain' (lsuv takes no parameters)"),
    (
        "sweep --arch mine.py:good",
        "--arch: mine.py:good: 'good' is of type function, not a block with init(key, width) and apply(params, x)",
    ),
    (
        "sweep --data tokens(vocab=0)",
        "--data: tokens(vocab=0): vocab=0 is not allowed (allowed: whole numbers from 1 to 2147483647)",
    ),
    (
        "sweep --data tokens(vocab=x)",
        "--data: tokens(vocab=x): vocab=x is not allowed (allowed: whole numbers from 1 to 2147483647)",
    ),
    ("sweep --data ok.npy:x", "--data: 'ok.npy:x' names an array, but only an .npz file holds arrays with names"),
    ("sweep --correlation nan", "--correlation: nan is not a finite number (allowed: numbers from -1 to 1)"),
    (
        "sweep --correlation 0.5 --data ok.npy --batch 21",
        "--batch: 21 samples are more than the 20 rows of ok.npy (20 x 6)",
    ),
    (
        "sweep --label \x1b[31m=x --init he_normal",
        "--label: nothing in this run is called '\\x1b[31m' (allowed: plain, none, relu, he_normal, zeros)",
    ),
    (
        "sweep --arch \x1b[31m",
        "--arch: '\\x1b[31m' does not start with a name (examples: tanh, leaky_relu(0.1), mine.py:swishy)",
    ),
    (
        "sweep --norm \x1b[31m",
        "--norm: '\\x1b[31m' does not start with a name (examples: tanh, leaky_relu(0.1), mine.py:swishy)",
    ),
    ("sweep --loss \x1b[31m", "--loss: unknown value '\\x1b[31m' (allowed: cotangent, mse, cross_entropy)"),
    (
        "sweep --bias \x1b[31m",
        "--bias: '\\x1b[31m' does not start with a name (examples: tanh, leaky_relu(0.1), mine.py:swishy)",
    ),
    ("sweep --out \x00", "--out: '\\x00' cannot be used as a folder: empty, or not text"),
    ("verify", "RUN...: missing (see --help)"),
    ("verify nosuch", "RUN: there is no run 'nosuch'"),
    ("verify file", "RUN: 'file' is a file, not the folder of a run"),
    ("verify empty", "RUN: there is no spec.json in 'empty'"),
    ("verify ", "RUN: '' cannot be used as a folder: empty, or not text"),
    ("verify x --jsn", "--jsn: unknown option; did you mean '--json'? (allowed: --help, --json, --quiet)"),
    ("rerun", "RUN: missing (see --help)"),
    ("rerun nosuch", "RUN: there is no run 'nosuch'"),
    ("rerun file", "RUN: 'file' is a file, not the folder of a run"),
    ("rerun a b", "unexpected 'b'; every value follows its option (see --help)"),
    ("check --spec wrong.toml", "--spec: wrong.toml: unknown option 'depht'; did you mean 'depth'?"),
    ("check --dry-run", "--dry-run: unknown option (`varprobe check --help-all` shows all)"),
    ("sweep --dask local --devices 2", "--devices: 2: the workers of --dask decide"),
    ("sweep --dry-run --out file", "--out: 'file' is a file, not a folder"),
    ("sweep --dry-run --depth 0", "--depth: 0 is out of range (allowed: whole numbers from 1)"),
]
"""Command lines with the whole message that each is refused with; {place} is the current folder."""


@pytest.mark.parametrize("line, message", CATALOGUE, ids=[ascii(line) for line, _ in CATALOGUE])
def test_every_command(refused, place, line, message):
    assert refused(*line.split(" ")) == message.replace("{place}", str(place))


def test_the_catalogue_covers_every_command():
    """Three lines at least; those of sweep are in the tables above."""
    for name in command.list_commands(click.Context(command)):
        assert name == "sweep" or sum(line.split(" ")[0] == name for line, _ in CATALOGUE) >= 3, name
    count = len(CATALOGUE) + len(TOGETHER) + sum(map(len, SWEEP.values()))
    assert len(CATALOGUE) >= 150 and count >= 350


def test_empty_run(refused):
    assert refused("plot", "").startswith("RUN: '' cannot be used as a folder")


def test_a_grid_may_repeat_its_axes(refused):
    """What is refused for --seeds is a list for --depth: the refusal is the profile's."""
    line = "--depth 3 --depth 4,5 --width 8 --width 6-7-8"
    assert refused("sweep", *line.split()).startswith("--depth: ['3', '4,5'] does not fit the profile 6-7-8")
    request = read_request(depth=["3", "4,5"], width=[8, "9,10"], init=["he_normal", "normal(std=0.01:0.1:2)"], seeds=2)
    assert len(request.configs) == 3 * 3 * 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"act": None}, "act: takes names or functions, got None"),
        ({"act": 3}, "act: takes names or functions, got 3"),
        ({"act": {"Ours": 3}}, "act: 'Ours' must map to a function, got int"),
        ({"act": []}, "act: the list is empty"),
        ({"act": [lambda x: x, lambda x: 2 * x]}, "act: two different functions are called '<lambda>'; label them"),
        ({"act": {"relu": lambda x: x}, "init": ()}, "init: the list is empty"),
        ({"bias": None}, "bias: takes names or functions, got None"),
        ({"depth": True}, "depth: True is not a number"),
        ({"depth": None, "width": []}, "width: the list is empty"),
        ({"seeds": None}, "seeds: None is not a number"),
        ({"seeds": [1, 2]}, "seeds: takes one number, got [1, 2]"),
        ({"batch": [[1]]}, "batch: "),
        ({"loss": ["mse"]}, "loss: unknown value ['mse']"),
        ({"dtype": np.float32}, "dtype: unknown value"),
        ({"standardize": "no"}, "standardize: 'no' is neither True nor False"),
        ({"forward_only": 1}, "forward_only: 1 is neither True nor False"),
        ({"sigma_w2": 1, "init": "zeros"}, "sigma_w2: 1 sets the initializer, as --init does"),
        ({"sigma_b2": 1, "bias": "ones"}, "sigma_b2: 1 sets the bias, as --bias does"),
        ({"data": np.full((9, 3), 1e39), "batch": 4}, "data: 1e+39 is beyond float32"),
    ],
)
def test_python_arguments(arguments, message):
    with pytest.raises(InvalidArgumentError) as caught:
        read_request(**arguments)
    assert str(caught.value).startswith(message)


def test_the_same_function_twice_is_one(place, monkeypatch):
    monkeypatch.chdir(place)
    request = read_request(act="mine.py:good,mine.py:good,swish,silu", init="mine.py:matrix,kaiming_normal,he_normal")
    assert request.spec["act"] == ["mine.py:good", "silu"]
    assert request.spec["init"] == ["mine.py:matrix", "he_normal"]


def test_what_is_nearly_wrong_is_right(place, monkeypatch):
    monkeypatch.chdir(place)
    good = [
        {"width": "784-512-256", "depth": 3},
        {"data": "ok.npy", "batch": 20, "input_width": 6},
        {"data": "ok.npy", "labels": "y.npy", "loss": "cross_entropy", "batch": 4},
        {"data": "huge.npy", "dtype": "float64", "batch": 4},
        {"init": "normal(std=1/(layer-3.5)**2)", "depth": 5},
        {"init": "zeros", "bias": "mine.py:matrix", "width": 8, "depth": 2},
        {"sigma_w2": "0:4:5", "sigma_b2": 0, "root_seed": 2**32 - 1},
        {"depth": 1, "init": "normal(std=1/(layer-2)**2)"},
    ]
    counts = [len(read_request(**arguments).configs) for arguments in good]
    assert counts == [11, 11, 11, 11, 1, 1, 5, 1]


def test_bad_values_are_found_at_every_layer(place, monkeypatch):
    """Layer 37 of 50, and the read-out, which only a loss has."""
    with pytest.raises(InvalidArgumentError, match=r"^init: .*divides by zero at layer=37"):
        read_request(init="normal(std=1/abs)".replace("abs", "(layer-37)**2"))
    with pytest.raises(InvalidArgumentError, match=r"^init: .*divides by zero"):
        read_request(init="normal(std=1/(layer-51)**2)", loss="mse")
    assert len(read_request(init="normal(std=1/(layer-51)**2)").configs) == 1
    with pytest.raises(InvalidArgumentError, match=r"^init_last: .*divides by zero"):
        read_request(init="zeros", init_last="normal(std=1/(layer-51)**2)", loss="mse")
    assert len(read_request(init="normal(std=1/(layer-1)**2)", init_first="zeros").configs) == 1


def test_refusals_leave_an_existing_run_alone(refused, place):
    run = place / "other"
    run.mkdir()
    (run / "spec.json").write_text("{}")
    try:
        assert refused("sweep", "--out", "other").startswith("--out: other is not a run that varprobe wrote")
        assert refused("plot", "other").startswith("RUN: other is not a run that varprobe wrote")
        assert Path(run / "spec.json").read_text() == "{}"
    finally:
        (run / "spec.json").unlink()
        run.rmdir()
