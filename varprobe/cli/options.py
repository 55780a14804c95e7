"""The options of whatever runs a stack: ten essential ones in --help, the rest in --help-all."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from varprobe.cli.help import help_all
from varprobe.errors import InvalidArgumentError, require_name

__all__ = [
    "ESSENTIAL",
    "RECORD_OPTIONS",
    "canonical",
    "given",
    "label_option",
    "labels_of",
    "pairs_of",
    "share_options",
    "stack_options",
    "training_options",
    "with_spec",
]

ESSENTIAL_OPTIONS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--depth",), {"metavar": "N", "help": "Weight layers; a list 10,50 or a range 10:100:10.  [50]"}),
    (("--width",), {"metavar": "N", "help": "Units per layer, or of layers 1, 2, ...: 784-512-256.  [512]"}),
    (("--act",), {"metavar": "NAMES", "help": "Activations, e.g. relu,elu(alpha=0.5),mine.py:f.  [relu]"}),
    (
        ("--init",),
        {"metavar": "NAMES", "help": "Initializers, e.g. he_normal,critical,normal(std=0.02).  [the standard set]"},
    ),
    (("--arch",), {"metavar": "NAMES", "help": "Architectures, e.g. residual,conv(kernel=5).  [plain]"}),
    (("--norm",), {"metavar": "NAMES", "help": "batch, layer, rms or group, e.g. batch(position=post).  [none]"}),
    (("--seeds",), {"metavar": "N", "help": "Independent draws of every network.  [8]"}),
    (
        ("--data",),
        {"metavar": "DATA", "help": "normal, uniform, sphere, tokens, digits, or FILE.npy/.npz/.csv.  [normal]"},
    ),
    (("--out",), {"metavar": "FOLDER", "help": "Run folder.  [runs/ACT-dDEPTH-wWIDTH-HASH]"}),
    (("--json",), {"is_flag": True, "help": "Print one JSON object to stdout and nothing else."}),
]
OTHER_OPTIONS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--batch",), {"metavar": "N", "help": "Samples per batch.  [16]"}),
    (("--bias",), {"metavar": "NAMES", "help": "Bias initializers, e.g. normal(var=0.05).  [zeros]"}),
    (("--init-first",), {"metavar": "NAMES", "help": "Initializer of layer 1."}),
    (("--init-last",), {"metavar": "NAMES", "help": "Initializer of layer L and of the read-out."}),
    (("--init-qk",), {"metavar": "NAMES", "help": "Initializer of a transformer's queries and keys."}),
    (("--init-v",), {"metavar": "NAMES", "help": "Initializer of a transformer's values."}),
    (("--init-o",), {"metavar": "NAMES", "help": "Initializer of the attention's outputs."}),
    (("--init-mlp",), {"metavar": "NAMES", "help": "Initializer of a transformer's perceptrons."}),
    (("--sigma-w2",), {"metavar": "R", "help": "fan_in Var W of normal weights, e.g. 1:4:32 (instead of --init)."}),
    (("--sigma-b2",), {"metavar": "R", "help": "Var b of normal biases (instead of --bias)."}),
    (("--input-width",), {"metavar": "N", "help": "Width of random data.  [that of layer 1]"}),
    (("--labels",), {"metavar": "FILE", "help": "Labels for the losses, one row per sample of --data."}),
    (("--standardize",), {"is_flag": True, "help": "Scale each feature of the data to mean 0, variance 1."}),
    (("--loss",), {"metavar": "NAME", "help": "cotangent, mse or cross_entropy.  [cotangent]"}),
    (("--dtype",), {"metavar": "NAME", "help": "float32, float64, bfloat16 or float16.  [float32]"}),
    (("--range",), {"metavar": "NAME", "help": "unbounded: exponents of any size; dtype: its own range.  [unbounded]"}),
    (("--forward-only",), {"is_flag": True, "help": "No backward pass."}),
    (("--correlation",), {"metavar": "C0", "help": "Follow pairs of inputs at these cosines, e.g. 0.1,0.5,0.9."}),
    (("--jacobian",), {"is_flag": True, "help": "Singular values of a sample's Jacobians; width^3 a layer."}),
    (("--histogram",), {"is_flag": True, "help": "Histograms and kurtosis of activations and gradients."}),
    (("--root-seed",), {"metavar": "N", "help": "Everything random follows from it.  [0]"}),
    (("--dropout",), {"metavar": "P", "help": "Share of the activations that is dropped.  [0]"}),
    (("--spec",), {"metavar": "FILE", "help": "More of these options, from a TOML file; the command line goes first."}),
    (("--memory",), {"metavar": "SIZE", "help": "What may be used, e.g. 8GiB or 50% of what is free.  [80%]"}),
    (("--devices",), {"metavar": "N", "help": "How many devices, or cores of a CPU.  [all]"}),
    (("--dask",), {"metavar": "ADDRESS", "help": "Compute on a Dask cluster, e.g. tcp://10.0.0.7:8786, or local."}),
    (("--fresh",), {"is_flag": True, "help": "Compute again what the run folder already holds."}),
    (("--wide",), {"is_flag": True, "help": "Every configuration on its own line, and more columns."}),
    (("--full-range",), {"is_flag": True, "help": "A figure whose axes show every curve to its end."}),
    (("--no-theory",), {"is_flag": True, "help": "A figure without the lines of mean-field theory."}),
    (("--no-compile-cache",), {"is_flag": True, "help": "Do not keep compiled code in the user's cache folder."}),
    (("--quiet",), {"is_flag": True, "help": "Nothing on stderr but errors."}),
]
SHARE_OPTIONS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--shard",), {"metavar": "I/N", "help": "Share I of N of the work, for job arrays; all have the same --out."}),
    (("--dry-run",), {"is_flag": True, "help": "Say what it would take of time and memory, and do nothing."}),
]
"""Of a sweep alone: whatever judges needs the whole."""
MANY = frozenset(
    f"--{name}"
    for name in (
        "depth width act init arch norm bias dropout batch init-first init-last init-qk init-v init-o init-mlp sigma-w2"
        " sigma-b2 correlation optimizer"
    ).split()
)
"""Options that may be repeated: each is an axis of the grid."""

ESSENTIAL = tuple(flags[0] for flags, _ in ESSENTIAL_OPTIONS)


def stack_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a stack; what was not given is not passed on."""
    return with_options(help_all(function), [*ESSENTIAL_OPTIONS, *OTHER_OPTIONS])


def share_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add those of a sweep alone."""
    return with_options(function, SHARE_OPTIONS)


TRAINING_OPTIONS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--optimizer",), {"metavar": "NAMES", "help": "e.g. sgd(lr=0.1),sgd(momentum=0.9),adam(lr=1e-3),lion.  [sgd]"}),
    (("--steps",), {"metavar": "N", "help": "Updates of the weights.  [100]"}),
]
UNTRAINED = (
    *("--input-width", "--forward-only", "--correlation", "--jacobian", "--histogram", "--memory", "--devices"),
    *("--dask", "--full-range", "--no-theory"),
)
"""Options of a sweep that training does not have."""


RECORD_OPTIONS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--at",), {"metavar": "STEPS", "help": "Steps to measure at, e.g. 0,10,100.  [0,1,2,4,... and the last]"}),
]


def training_options(
    help: dict[str, str], more: Sequence[tuple[tuple[str, ...], dict[str, Any]]] = ()
) -> Callable[..., Any]:
    """Add the options of whatever trains stacks: those of a stack that apply, the optimizer's, and `more`.

    `help` replaces the help of some.
    """
    common = {"--data": "digits, or FILE.npy/.npz/.csv with --labels.  [digits]"}
    common |= {
        "--loss": "cross_entropy or mse.  [what the labels are]",
        "--labels": "Labels, one row per sample of --data.",
    }
    texts = common | help

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        told = [(flags, about | {"help": texts.get(flags[0], about["help"])}) for flags, about in TRAINED]
        return with_options(help_all(function), [*told, *more])

    return decorate


TRAINED = [o for o in (*TRAINING_OPTIONS, *ESSENTIAL_OPTIONS, *OTHER_OPTIONS) if o[0][0] not in UNTRAINED]


def with_options(function: Callable[..., Any], options: list[tuple[tuple[str, ...], dict[str, Any]]]) -> Any:
    """Add some options."""
    for flags, attributes in reversed(options):
        function = click.option(*flags, **attributes, multiple=flags[0] in MANY)(function)
    return function


def with_spec(options: dict[str, Any]) -> dict[str, Any]:
    """The options with those of the file that --spec names, where the command line does not give them."""
    file = options.pop("spec", None)
    if file is None:
        return options
    from varprobe.spec.toml import read_spec

    tables = [*ESSENTIAL_OPTIONS, *OTHER_OPTIONS, *SHARE_OPTIONS, *TRAINING_OPTIONS, *RECORD_OPTIONS]
    flags = {names[0][2:].replace("-", "_"): bool(about.get("is_flag")) for names, about in tables}
    known = {name: flag for name, flag in flags.items() if name in options}
    many = {name[2:].replace("-", "_") for name in MANY}
    found = read_spec(file, known, many, {name for name, flag in known.items() if flag})
    return {name: value or found.get(name, value) for name, value in options.items()}


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that the user gave, lists of one unwrapped; the library knows the defaults."""
    chosen = {k: v for k, v in options.items() if v is not None and v is not False and v != ()}
    for weights, short in (("init", "sigma_w2"), ("bias", "sigma_b2")):
        if weights in chosen and short in chosen:
            raise InvalidArgumentError(f"{chosen[short][0]!r} is short for a --{weights}; give one of the two", short)
    return {k: (v[0] if len(v) == 1 else list(v)) if isinstance(v, tuple) else v for k, v in chosen.items()}


def label_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--label NAME=TEXT, as often as needed."""
    return click.option(
        "--label", multiple=True, metavar="NAME=TEXT", help="What the figure says instead of a name, e.g. he_normal=He."
    )(function)


def pairs_of(option: str, texts: Iterable[str], example: str, last: bool = False) -> list[tuple[str, str]]:
    """(NAME, TEXT) of each NAME=TEXT, cut at the first `=`, or at the last (a name may hold some in parentheses)."""
    pairs = []
    for text in texts:
        name, _, value = text.rpartition("=") if last else text.partition("=")
        if not name.strip() or not value.strip():
            raise InvalidArgumentError(f"{text!r} is not of the form {example}", option)
        pairs.append((name.strip(), value.strip()))
    return pairs


def labels_of(texts: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """{"he_normal": "He"} from ("he_normal=He",), each name one of `known` however it was written."""
    labels, names = {}, list(dict.fromkeys(known))
    for name, text in pairs_of("label", texts, "NAME=TEXT, such as he_normal=He", last=True):
        match = next((n for n in (name, *canonical(name)) if n in names), name)
        require_name(match, names)
        if "$" in text:
            from varprobe.plots.texts import check_text

            check_text(text)
        labels[match] = text
    return labels


def canonical(text: str) -> list[str]:
    """What a run may call the activation or the initializer that a text names: he_normal for kaiming_normal."""
    from varprobe.nets.activations import resolve_activation
    from varprobe.nets.initializers import resolve_initializer
    from varprobe.spec.calls import parse_calls
    from varprobe.spec.user_code import is_reference

    try:
        calls = parse_calls(text)
    except InvalidArgumentError:
        return []
    found = [str(call) for call in calls]
    for resolve in (resolve_initializer, resolve_activation):
        try:
            found += [resolve(call).name for call in calls if not is_reference(call.name)]
        except InvalidArgumentError:
            continue
    return list(dict.fromkeys(found))
