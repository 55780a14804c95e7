"""The command line: help, what goes to stdout and stderr, JSON, exit codes, interrupts, failures of the machine."""

import contextlib
import importlib
import inspect
import io
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import click
import jax
import numpy as np
import pytest
from rich.console import Console

import varprobe as vp
from varprobe.__main__ import main
from varprobe.cli import command as group
from varprobe.cli.console import TerminalProgress
from varprobe.cli.errors import one_line
from varprobe.cli.group import COMMANDS
from varprobe.cli.interrupts import SIGNALS
from varprobe.cli.options import ESSENTIAL
from varprobe.errors import MachineError
from varprobe.plots import save_figure
from varprobe.storage.figure_origin import origin_of
from varprobe.sweeps import local_executor
from varprobe.sweeps.local_executor import LocalCellExecutor
from varprobe.verdict.thresholds import VERDICTS

pytestmark = pytest.mark.filterwarnings("error")

sweep_module = importlib.import_module("varprobe.sweeps.sweep")
NAMES = [name for commands in COMMANDS.values() for name in commands]
TINY = "sweep --depth 4 --width 16 --seeds 2 --batch 4 --init he_normal,normal(std=0.01) --no-compile-cache".split()
FIELDS = {
    *("arch", "act", "init", "bias", "norm", "depth", "width", "batch", "seeds", "loss", "dtype"),
    *("activation_factor", "activation_factor_ci95", "gradient_factor", "gradient_factor_ci95"),
    *("theory_activation_factor", "theory_activation_z", "theory_gradient_factor", "theory_gradient_z"),
    *("forward", "backward", "certain", "flags", "notes", "formats", "healthy", "reason", "advice"),
}


@pytest.fixture
def run(capsys):
    """Run a command line: (exit code, stdout, stderr)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A finished run of TINY."""
    folder = tmp_path_factory.mktemp("template") / "run"
    with pytest.raises(SystemExit) as stop:
        main([*TINY, "--out", str(folder), "--quiet"])
    assert stop.value.code == 0
    return folder


@pytest.fixture
def here(template, tmp_path, monkeypatch):
    """The current folder, with a finished run in `done`."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(template, tmp_path / "done")
    return tmp_path


def commands():
    return {name: group.get_command(click.Context(group), name) for name in NAMES}


# Help


@pytest.mark.parametrize("name", NAMES)
def test_help_is_true_and_complete(run, name):
    command = commands()[name]
    full = "--help-all" if any("--help-all" in p.opts for p in command.params) else "--help"
    for flag in ("--help", "-h", full):
        code, out, err = run(name, flag)
        assert (code, err) == (0, "")
        assert max(map(len, out.splitlines())) <= 80
        assert out.startswith(f"Usage: varprobe {name}")
        assert "\nExample" in out and f"  varprobe {name} " in out and "\\b" not in out
    for param in command.params:
        assert all(opt in out for opt in param.opts if opt.startswith("-")), param
        if isinstance(param, click.Option):
            assert param.help and (param.is_flag or param.metavar), param
    assert command.help and out.split("\n\n")[1].strip().startswith(command.help.split("\n")[0][:40])


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_command_lines(name):
    """Each example parses; only the run folders that they name need not be there."""
    command = commands()[name]
    assert command.examples
    for example in command.examples:
        words = shlex.split(example)
        assert words[:2] == ["varprobe", name]
        command.make_context(name, words[2:], parent=click.Context(group, info_name="varprobe"))


def test_essential_help_shows_ten_options_and_the_full_one_all(run):
    short, full = run("sweep", "--help")[1], run("sweep", "--help-all")[1]
    command = commands()["sweep"]
    names = {param.opts[0] for param in command.params if isinstance(param, click.Option)} - {"--help-all"}
    assert len(ESSENTIAL) == 10 and set(ESSENTIAL) < names
    shown = {name for name in names if f"\n  {name} " in short}
    assert shown == set(ESSENTIAL)
    assert {name for name in names if f"\n  {name} " in full} == names


def test_defaults_in_the_help_are_those_of_the_library(run):
    defaults = {k: p.default for k, p in inspect.signature(sweep_module.sweep).parameters.items()}
    text = " ".join(run("sweep", "--help-all")[1].split())
    for name in ("width", "act", "bias", "seeds", "data", "loss", "dtype", "range", "root_seed", "batch"):
        option = text.split(f" --{name.replace('_', '-')} ")[-1]
        assert option.split("[")[1].split("]")[0] == str(defaults[name]), name
    assert "[50]" in text.split(" --depth ")[-1][:80]


def test_varprobe_alone_prints_help(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert out == run("--help")[1] == run("-h")[1]
    assert all(f"\n  {name} " in out for name in NAMES) and "Example" in out
    assert max(map(len, out.splitlines())) <= 80


def test_version(run):
    assert run("--version") == (0, f"varprobe, version {version('varprobe')}\n", "")


LAZY = """
import sys
from varprobe.__main__ import main
for arguments in (["--help"], ["sweep", "--help-all"], ["list", "verdicts"], ["list", "inits"], ["sweep", "--dpeth"]):
    try:
        main(arguments)
    except SystemExit as stop:
        heavy = {"jax", "xarray", "matplotlib", "scipy", "numpy"} & set(sys.modules)
        print(arguments, stop.code, sorted(heavy), file=sys.stderr)
"""


def test_help_and_lists_import_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, timeout=60)
    lines = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert lines == [
        "['--help'] 0 []",
        "['sweep', '--help-all'] 0 []",
        "['list', 'verdicts'] 0 []",
        "['list', 'inits'] 0 []",
        "['sweep', '--dpeth'] 2 []",
    ]


def test_python_m_varprobe():
    """As a process: the exit code, the line, and nothing else."""
    done = subprocess.run([sys.executable, "-m", "varprobe", "swep"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "varprobe: unknown command 'swep'; did you mean 'sweep'? (`varprobe --help` shows all)\n"


@pytest.mark.parametrize("kind", ["acts", "inits", "verdicts"])
def test_lists(run, kind):
    from varprobe.nets.activations import ACTIVATIONS
    from varprobe.nets.initializers import INITIALIZERS

    code, out, err = run("list", kind)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80 and not [line for line in lines if line != line.rstrip()]
    named = {line.split()[0] for line in lines[1:] if not line.startswith(" ")}
    registry = {"acts": ACTIVATIONS, "inits": INITIALIZERS, "verdicts": VERDICTS}[kind]
    assert set(registry) <= named
    everything = " ".join(out.split())
    aliases = [a for entry in registry.values() for a in getattr(entry, "aliases", ())]
    assert all(f"also {alias}" in everything for alias in aliases)


# What a sweep prints and writes


def test_a_sweep(here, run):
    code, out, err = run(*TINY)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("relu, depth 4, width 16, 2 seeds, batch 4 of N(0,1)") and lines[0].endswith(" s")
    assert max(map(len, lines[:-2])) <= 80
    (folder,) = (here / "runs").iterdir()
    assert f"Figure  runs/{folder.name}/variance.pdf" in lines
    assert f"Data    runs/{folder.name}/results.nc, results.csv" in lines
    there = {p.name for p in folder.iterdir()}
    assert there == {"spec.json", "cells", "results.nc", "results.csv", "variance.pdf", "variance.png", "caption.tex"}
    code, out, err = run(*TINY)
    assert (code, err) == (0, "")
    assert "found finished in the run folder; --fresh computes it again" in out
    assert "found finished" not in run(*TINY, "--fresh", "--out", "done")[1]


def test_json(here, run):
    code, out, err = run(*TINY, "--out", "done", "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert list(answer) == ["version", "run", "rows"]
    assert (answer["version"], answer["run"]) == (version("varprobe"), "done")
    assert out == json.dumps(answer, indent=1) + "\n"
    assert [set(row) for row in answer["rows"]] == [FIELDS] * 2
    he, small = answer["rows"]
    assert (he["init"], small["init"], he["width"], he["seeds"]) == ("he_normal", "normal(std=0.01)", 16, 2)
    assert small["activation_factor"] == pytest.approx(16 / 2 * 0.01**2, rel=0.8)
    low, high = small["activation_factor_ci95"]
    assert low < small["activation_factor"] < high
    assert isinstance(he["certain"], bool) and isinstance(he["healthy"], bool)
    assert answer["rows"] == vp.diagnose(vp.open_run("done")).rows


def test_null_rules_and_a_run_without_gradients(here, run):
    """Exactly zero, one seed, one layer, not measured; and what was not measured cannot be drawn."""
    line = "sweep --depth 1,4 --width 16 --seeds 1 --batch 4 --init zeros,he_normal --forward-only --json --out new"
    code, out, err = run(*line.split())
    assert (code, err) == (0, "")
    rows = {(r["depth"], r["init"]): r for r in json.loads(out)["rows"]}
    assert all(r["activation_factor_ci95"] == r["gradient_factor_ci95"] == [None, None] for r in rows.values())
    assert all(r["gradient_factor"] is None and r["backward"] is None for r in rows.values())
    assert rows[1, "he_normal"]["activation_factor"] is None and rows[1, "he_normal"]["healthy"]
    assert rows[4, "he_normal"]["activation_factor"] > 0
    zeros = rows[4, "zeros"]
    assert (zeros["activation_factor"], zeros["forward"]) == (None, "vanishing") and "symmetric" in zeros["flags"]
    code, out, err = run("plot", "new", "--quantity", "gradient")
    assert (code, out) == (2, "") and err.startswith("varprobe: --quantity: gradient")


def test_wide_and_quiet(here, run):
    code, out, err = run(*TINY, "--out", "done", "--wide", "--quiet")
    assert (code, err) == (0, "")
    assert "gradient" in out and "cosine" in out and max(map(len, out.splitlines())) <= 200


def test_the_users_code_prints_and_warns_to_stderr(here, run):
    body = "print('called')\n    warnings.warn('a\\nb \\x1b[31m')\n    return x"
    text = f"import warnings\nprint('loaded')\ndef f(x):\n    {body}\n"
    (here / "mine.py").write_text(text)
    line = "sweep --depth 2 --width 8 --seeds 2 --batch 4 --init he_normal --act mine.py:f --json --out new"
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, out, err = run(*line.split())
        quiet = run(*line.split(), "--quiet")
    assert code == 0 and json.loads(out)["rows"][0]["act"] == "mine.py:f"
    assert {"loaded", "called", r"a b \x1b[31m"} <= set(err.splitlines())
    assert quiet[:2] == (0, out)
    assert set(quiet[2].splitlines()) == {"loaded", "called"}


def test_labels(here, run):
    """A name may be written in any way that means the same."""
    assert run(*TINY, "--out", "done", "--label", "kaiming_normal=He", "--label", "normal(std=1e-2)=small")[0] == 0
    assert run("plot", "done", "--label", "he_normal=He", "--save", "he.svg", "--quantity", "activation")[0] == 0


# plot


def test_plot(here, run):
    assert run("plot", "done") == (0, "done/variance.pdf\n", "")
    line = "plot done/ --quantity gradient,activation --select init=kaiming_normal --size 8x6cm --full-range"
    code, out, err = run(*line.split(), "--save", "new.svg")
    assert (code, out, err) == (0, "new.svg\n", "")
    text = re.sub(
        "<metadata>.*</metadata>", "", Path("new.svg").read_text(), flags=re.DOTALL
    )  # which names all of the run
    assert "normal(std=0.01)" not in text and 'width="226.' in text  # 8 cm are 226.77 points


@pytest.mark.parametrize(
    "line, message",
    [
        ("--select init=he_norml", "--select: no configuration has init=he_norml; did you mean 'he_normal'?"),
        ("--select init=he_normal,foo", "--select: no configuration has init=foo"),
        ("--select inti=he_normal", "--select: unknown coordinate 'inti'; did you mean 'init'?"),
        ("--select init", "--select: 'init' is not of the form NAME=VALUE, such as init=he_normal,orthogonal"),
        ("--select =x", "--select: '=x' is not of the form"),
        ("--select init=normal(std=", "--select: '(' at character 7 of 'normal(std=' is never closed"),
        ("--select depth=99", "--select: no configuration has depth=99 (allowed: 4)"),
        ("--save fig.foo", "--save: 'fig.foo' must end in one of .pdf, .svg, .png"),
        ("--save nowhere/fig.pdf", "--save: there is no folder 'nowhere' for 'fig.pdf'"),
        ("--save done.pdf", "--save: 'done.pdf' is a folder, not a file"),
        ("--save=", "--save: '' must end in one of"),
        ("--label he_normal", "--label: 'he_normal' is not of the form NAME=TEXT, such as he_normal=He"),
        ("--label he_norml=He", "--label: nothing in this run is called 'he_norml'; did you mean 'he_normal'?"),
        ("--label foo=bar", "--label: nothing in this run is called 'foo'"),
    ],
)
def test_plot_refuses(here, run, line, message):
    (here / "done.pdf").mkdir()
    before = {p: p.stat().st_mtime_ns for p in here.rglob("*")}
    code, out, err = run("plot", "done", *line.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"varprobe: {message}") and err.count("\n") == 1
    assert {p: p.stat().st_mtime_ns for p in here.rglob("*")} == before


def test_plot_names_the_run_that_was_meant(here, run):
    assert run("plot", "doen")[2] == "varprobe: RUN: there is no run 'doen'; did you mean 'done'?\n"
    assert "did you mean its folder 'done'?" in run("plot", "done/spec.json")[2]


# --out


def test_a_folder_with_another_run(here, run):
    line = [*TINY, "--out", "done", "--act", "tanh"]
    code, out, err = run(*line)
    assert (code, out) == (2, "")
    assert err.startswith("varprobe: --out: done holds another run: act is relu there and tanh here")


def test_a_damaged_cell_is_named_and_computed_again(here, run):
    cell = next((here / "done" / "cells").iterdir())
    cell.write_bytes(cell.read_bytes()[:200])
    (here / "done" / "results.nc").unlink()
    code, out, err = run(*TINY, "--out", "done")
    assert code == 0 and "1 of 2 cells were there" in out
    assert cell.name in err and "it is computed again" in err


# Failures of the machine, and interrupts


def failing(error):
    def run(*_):
        raise error
        yield

    return run


@pytest.mark.parametrize(
    "error, line",
    [
        (MachineError("the device failed: out of memory"), "the device failed: out of memory"),
        (MemoryError(), "out of memory"),
        (OSError(5, "Input/output error", "x.npz"), "x.npz: Input/output error"),
        (PermissionError(13, "Permission denied", "a\x1b[2J"), r"a\x1b[2J: Permission denied"),
        (ZeroDivisionError("a bug"), "failed: ZeroDivisionError: a bug (test_cli.py, line "),
    ],
)
def test_what_the_machine_fails_at_is_exit_code_3(here, run, monkeypatch, error, line):
    monkeypatch.setattr(LocalCellExecutor, "run", failing(error))
    code, out, err = run(*TINY, "--out", "new")
    assert (code, out) == (3, "")
    assert err.startswith(f"varprobe: {line}") and err.count("\n") == 1 and "\x1b" not in err


def test_a_traceback_can_be_had(here, monkeypatch):
    monkeypatch.setattr(LocalCellExecutor, "run", failing(ZeroDivisionError("a bug")))
    monkeypatch.setenv("VARPROBE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main([*TINY, "--out", "new"])


def test_a_killed_device_is_exit_code_3_and_keeps_what_is_finished(here, run, monkeypatch):
    real = local_executor.tables_of

    def dies(*arguments):
        if arguments[-1] == [4]:  # the last seed
            raise jax.errors.JaxRuntimeError("INTERNAL: device lost\nsecond line")
        return real(*arguments)

    monkeypatch.setattr(local_executor, "tables_of", dies)
    monkeypatch.setattr(local_executor, "teams", lambda _: [tuple(jax.devices()[:1])])  # one after the other
    line = ["5" if x == "2" else x for x in TINY]  # five seeds, of which at most two wait in line
    code, out, err = run(*line, "--out", "new")
    assert (code, out) == (3, "")
    what = "relu, he_normal, depth 4, width 16 (and 1 more), seed 4"
    assert err == f"varprobe: {what}: the device failed: INTERNAL: device lost\n"
    assert len(list(Path("new/cells").iterdir())) >= 3


def test_a_full_disk_is_exit_code_3(here, run):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        code, out, err = run(*TINY, "--out", "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (code, out) == (3, "")
    assert err.startswith("varprobe: cannot write ") and "File too large" in err and err.count("\n") == 1


def test_no_device_is_exit_code_3(here, run, monkeypatch):
    def devices():
        raise RuntimeError("Unable to initialize backend 'tpu'")

    monkeypatch.setattr(jax, "devices", devices)
    assert run(*TINY, "--out", "new") == (3, "", "varprobe: jax finds no device: Unable to initialize backend 'tpu'\n")
    assert not Path("new").exists()


def test_an_interrupt_keeps_what_is_finished_and_says_how_to_go_on(here, run, monkeypatch):
    real = LocalCellExecutor.run

    def interrupted(*given):
        for i, found in enumerate(real(*given)):
            if i == 1:
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setattr(LocalCellExecutor, "run", interrupted)
    line = [*TINY, "--out", "a b"]
    code, out, err = run(*line)
    assert (code, out) == (130, "")
    assert err.splitlines()[0] == "interrupted; what has finished is kept. Resume with"
    assert err.splitlines()[1].strip().startswith("varprobe sweep --depth 4") and err.endswith("--out 'a b'\n")
    assert len(list(Path("a b/cells").iterdir())) == 1
    monkeypatch.setattr(LocalCellExecutor, "run", real)
    code, out, err = run(*line)
    assert code == 0 and "1 of 2 cells were there" in out
    assert vp.open_run("a b").equals(vp.open_run("done"))


@pytest.mark.parametrize("killed", ["before the figure", "before the other figure", "before the caption", "never"])
def test_a_command_that_was_killed_draws_what_is_missing(run, here, killed):
    """A figure of another run, or of another version, is drawn again too."""
    files = [Path("done", name) for name in ("variance.pdf", "variance.png", "caption.tex")]
    whole = [file.read_bytes() for file in files]
    for i, file in enumerate(files):
        if i >= ["before the figure", "before the other figure", "before the caption", "never"].index(killed):
            file.unlink()
    if killed == "never":
        variance = vp.plot_variance(vp.open_run("done").isel(config=[0])).figure
        save_figure(variance, files[0], spec={"varprobe": vp.__version__, "command": "", "runs": [{"act": ["elu"]}]})
        assert "variance.pdf is the figure of another run" in str(vp.verify("done"))
    Path("done", ".variance.png.0.varprobe.tmp").touch()
    Path("done", ".claims").touch()
    code, out, _ = run(*TINY, "--out", "done")
    assert code == 0 and "found finished" in out
    texts = [origin_of(file)["command"] for file in files[:2]]
    assert all(text.endswith("--out done") for text in texts) or whole == [file.read_bytes() for file in files]
    assert files[2].read_bytes() == whole[2] and not list(Path("done").glob(".*"))
    assert vp.verify("done").findings == []


class Left(BaseException):
    """In place of os._exit."""


@pytest.mark.skipif(sys.platform == "win32", reason="raise_signal ends the process there")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_command_at_once(here, monkeypatch, capfd, number):
    """Not by an exception, which a callback of the garbage collector or a bare except would swallow."""

    def leave(code):
        raise Left(code)

    def interrupted(*_):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        yield

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(LocalCellExecutor, "run", interrupted)
    monkeypatch.setattr(signal, "getsignal", SIGNALS.__getitem__)
    with pytest.raises(Left, match=str(128 + number)):
        main([*TINY, "--out", "new"])
    words = capfd.readouterr().err
    assert words.startswith("interrupted; what has finished is kept. Resume with\n  varprobe sweep --depth 4")
    assert words.endswith("--out new\n") and "\x1b" not in words
    monkeypatch.undo()
    assert {signal.getsignal(number) for number in SIGNALS} == {signal.default_int_handler, signal.SIG_DFL}


def test_a_reader_that_leaves_is_no_error(monkeypatch):
    end, start = os.pipe()
    os.close(end)
    with open(start, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        with pytest.raises(SystemExit) as stop:
            main(["list", "verdicts"])
    assert stop.value.code == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
def test_an_output_that_cannot_be_written_is_exit_code_3(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as stop:
            main(["list", "verdicts"])
    assert stop.value.code == 3
    assert capsys.readouterr().err == "varprobe: cannot write the output: No space left on device\n"


def test_a_terminal_that_knows_no_plus_minus(here, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as stop:
        main([*TINY, "--out", "done"])
    assert stop.value.code == 0
    stream.flush()
    assert b"he_normal" in stream.buffer.getvalue()


# Parts


def test_the_bar_appears_only_while_there_is_work():
    progress = TerminalProgress(quiet=False)
    progress.console = Console(file=io.StringIO(), force_terminal=True)
    progress.start(total=3, cached=1)
    progress.advance()
    progress.show()
    assert progress.bar is not None and progress.bar.tasks[0].completed == 1
    progress.advance(2)
    assert progress.bar.tasks[0].completed == 3
    progress.stop()
    progress.show()  # the timer that fires too late
    assert progress.bar is None


def test_one_line():
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line("\x1b[31mx\u202e\udcff") == r"\x1b[31mx\u202e\udcff"
    assert len(one_line("x" * 10**6)) < 150 and len(one_line("x y " * 10**5)) < 1100
    path = "/" + "/".join(["folder"] * 20)
    assert one_line(path) == path


def test_batches_of_a_file(here, run):
    """With a file of one's own, fewer rows than the default batch are refused with both counts."""
    np.save("rows.npy", np.random.default_rng(0).normal(size=(10, 5)))
    code, out, err = run("sweep", "--data", "rows.npy", "--out", "new")
    assert (code, out) == (2, "")
    assert err == "varprobe: --batch: 16 samples are more than the 10 rows of rows.npy (10 x 5)\n"
