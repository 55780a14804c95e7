"""The options of whatever runs a stack: ten essential ones in --help, the rest in --help-all."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args, get_origin

import click

from varprobe.cli.help import help_all
from varprobe.errors import InvalidArgumentError, require_name
from varprobe.sweeps.arguments import ARGUMENTS, TYPES

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

Option = tuple[tuple[str, ...], dict[str, Any]]
"""Flags, and attributes for `click.option`."""


def option_of(name: str) -> Option:
    """The option of an argument of `varprobe.sweep`; it may be repeated if several values are an axis of the grid."""
    kind, argument, flags = TYPES[name], ARGUMENTS[name], (f"--{name.replace('_', '-')}",)
    if kind is bool:
        return flags, {"is_flag": True, "help": argument.summary}
    shown = "" if argument.default is None else f"  [{str(argument.default).removesuffix('.0')}]"
    several = any(get_origin(part) is Sequence for part in get_args(kind))
    return flags, {"metavar": argument.metavar, "multiple": several, "help": argument.summary + shown}


FIRST = ("depth", "width", "act", "init", "arch", "norm", "seeds", "data")
"""Arguments of `varprobe.sweep` that --help shows; --help-all has the others."""
ESSENTIAL_OPTIONS: list[Option] = [
    *map(option_of, FIRST),
    (("--out",), {"metavar": "FOLDER", "help": "Run folder.  [runs/ACT-dDEPTH-wWIDTH-HASH]"}),
    (("--json",), {"is_flag": True, "help": "Print one JSON object to stdout and nothing else."}),
]
OTHER_OPTIONS: list[Option] = [
    *(option_of(name) for name in TYPES if name not in FIRST),
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
SHARE_OPTIONS: list[Option] = [
    (("--shard",), {"metavar": "I/N", "help": "Share I of N of the work, for job arrays; all have the same --out."}),
    (("--dry-run",), {"is_flag": True, "help": "Say what it would take of time and memory, and do nothing."}),
]
"""Of a sweep alone: whatever judges needs the whole."""

ESSENTIAL = tuple(flags[0] for flags, _ in ESSENTIAL_OPTIONS)


def stack_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a stack; what was not given is not passed on."""
    return with_options(help_all(function), [*ESSENTIAL_OPTIONS, *OTHER_OPTIONS])


def share_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add those of a sweep alone."""
    return with_options(function, SHARE_OPTIONS)


TRAINING_OPTIONS: list[Option] = [
    (
        ("--optimizer",),
        {"metavar": "NAMES", "multiple": True, "help": "e.g. sgd(lr=0.1),sgd(momentum=0.9),adam(lr=1e-3),lion.  [sgd]"},
    ),
    (("--steps",), {"metavar": "N", "help": "Updates of the weights.  [100]"}),
]
UNTRAINED = (
    *("--input-width", "--forward-only", "--correlation", "--jacobian", "--histogram", "--memory", "--devices"),
    *("--dask", "--full-range", "--no-theory"),
)
"""Options of a sweep that training does not have."""


RECORD_OPTIONS: list[Option] = [
    (("--at",), {"metavar": "STEPS", "help": "Steps to measure at, e.g. 0,10,100.  [0,1,2,4,... and the last]"}),
]


def training_options(help: dict[str, str], more: Sequence[Option] = ()) -> Callable[..., Any]:
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


def with_options(function: Callable[..., Any], options: list[Option]) -> Any:
    """Add some options."""
    for flags, attributes in reversed(options):
        function = click.option(*flags, **attributes)(function)
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
    many = {names[0][2:].replace("-", "_") for names, about in tables if about.get("multiple")}
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
