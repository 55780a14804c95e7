"""Completion in the shell: what is offered, and that nothing heavy is loaded for it."""

import json
import os
import subprocess
import sys

import pytest
import write_names
from click.shell_completion import ShellComplete

from varprobe.__main__ import main
from varprobe.cli import command
from varprobe.cli.completion import VARIABLE
from varprobe.cli.group import COMMANDS
from varprobe.cli.names import NAMES

ALL = [name for commands in COMMANDS.values() for name in commands]


def offered(line: str) -> list[str]:
    """What is offered for the last word of a line; a path's kind in angles."""
    *words, last = line.split(" ")
    found = ShellComplete(command, {}, "varprobe", VARIABLE).get_completions(words, last)
    return [item.value if item.type == "plain" else f"<{item.type}>{item.value}" for item in found]


@pytest.mark.parametrize(
    "line, expected",
    [
        ("", ALL),
        ("s", ["sweep"]),
        ("--v", ["--version"]),
        ("sweep --act ta", ["tanh"]),
        ("plot --kind he", ["heatmap"]),
        ("plot --style i", ["iclr", "icml", "ieee"]),
        ("plot --quantity activation,g", ["activation,gradient"]),
        ("plot --from f", ["<file>f"]),
        ("sweep --act relu,ta", ["relu,tanh"]),
        ("sweep --act=so", ["softplus", "soft_sign"]),
        ("sweep --act relu --act sel", ["selu"]),
        ("sweep --act leaky_relu(neg", []),
        ("sweep --act elu(alpha=2),gel", ["elu(alpha=2),gelu"]),
        ("sweep --act my", ["<file>my"]),
        ("sweep --init-last gl", ["glorot_normal", "glorot_uniform"]),
        ("sweep --bias t", ["truncated_normal", "torch_default"]),
        ("sweep --arch plain,r", ["plain,residual", "plain,rnn"]),
        ("sweep --norm ", ["none", "batch", "layer", "rms", "group"]),
        ("sweep --loss m", ["mse"]),
        ("sweep --depth 3 --depth 4 --loss m", ["mse"]),
        ("sweep --bogus 3 --dtype b", ["bfloat16"]),
        ("sweep --dep", ["--depth"]),
        ("sweep --data im", ["<file>im"]),
        ("check --act gel", ["gelu"]),
        ("check ru", ["<dir>ru"]),
        ("plot ", ["<dir>"]),
        ("export run --table ", ["verdicts", "layers"]),
        ("export run --save ta", ["<file>ta"]),
        ("probe my", ["<file>my"]),
        ("theory --init cr", ["critical"]),
        ("list ", ["acts", "inits", "archs", "norms", "optimizers", "verdicts"]),
        ("list in", ["inits"]),
        ("swep --act sw", ["sweep"]),
    ],
)
def test_what_is_offered(line: str, expected: list[str]) -> None:
    assert offered(line) == expected


def test_names_are_those_of_the_registries() -> None:
    """If this fails, run `python scripts/write_names.py`."""
    assert "".join(f"{kind}: {' '.join(names)}\n" for kind, names in NAMES.items()) == write_names.text()


def test_the_shell_gets_answers_without_jax() -> None:
    code = (
        "import json, sys; from varprobe.__main__ import outcome; code = outcome([]);"
        "print(json.dumps([code, sorted({'jax', 'xarray', 'numpy', 'matplotlib'} & set(sys.modules))]))"
    )
    shell = {VARIABLE: "bash_complete", "COMP_WORDS": "varprobe sweep --act ge", "COMP_CWORD": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | shell, capture_output=True, text=True)
    answer, rest = done.stdout.splitlines()
    assert answer == "plain,gelu" and json.loads(rest) == [0, []] and done.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_lines_that_turn_it_on(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, f"{shell}_source")
    with pytest.raises(SystemExit) as stop:
        main([])
    out, err = capsys.readouterr()
    assert stop.value.code == 0 and f"{VARIABLE}={shell}_complete" in out and not err


def test_other_shells_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(VARIABLE, "tcsh_source")
    with pytest.raises(SystemExit) as stop:
        main([])
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "")
    assert err.startswith(f"varprobe: {VARIABLE}='tcsh_source' is no instruction; did you mean 'zsh_source'?")
