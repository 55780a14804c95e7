"""The user's own functions: `pkg.mod:name` or `file.py:name`, wherever a name is taken.

While such code is loaded the current folder, and a file's own folder, are importable, and what it prints goes to
stderr. Afterwards every module that came from these folders is forgotten again: the next load reads an edited file
anew, and two folders may each have a `helpers.py`. The price is that a function cannot import its neighbors when it
is called, only when its file is loaded.
"""

import contextlib
import hashlib
import importlib.util
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.spec.user_errors import reason
from varprobe.storage.safe_open import UntrustedError, content_of

__all__ = [
    "REQUIRED",
    "UserCode",
    "digest_of",
    "digest_of_several",
    "functions_of",
    "is_block",
    "is_reference",
    "keyword_parameters",
    "load",
    "looks_like_code",
    "was_loaded",
]

REQUIRED = inspect.Parameter.empty
"""What `keyword_parameters` gives for a parameter without a default."""

MAX_SOURCE = 2**24
"""Bytes of a source file."""

WORD = r"[^\W\d]\w*"
FORM = re.compile(rf"(?:(?P<file>.+\.py)|(?P<module>{WORD}(?:\.{WORD})*)):(?P<name>{WORD})")


@dataclass(frozen=True)
class UserCode:
    """A function of the user's.

    Attributes:
        reference: as written, `pkg.mod:name` or `file.py:name`.
        function: what it names; of a block, the object that holds its two.
        digest: sha256 of the source file; where that imported others from the current folder or its own, or the
            function is defined in another, of all of these. None where a file does not say all (a closure) or there
            is none (a builtin): results of such code are not to be reused.
    """

    reference: str
    function: Any
    digest: str | None


def is_reference(name: str) -> bool:
    """Whether `name` has the form `pkg.mod:name` or `file.py:name`; the file may be a Windows path."""
    return FORM.fullmatch(name) is not None


trusted: set[str] = set()
"""References that somebody asked this process to load."""


def was_loaded(reference: str) -> bool:
    """Whether somebody asked this process to load it: what merely stands in a file is not to be run."""
    return reference in trusted


def load(reference: str, wanted: Callable[[Any], bool] = callable, what: str = "function") -> UserCode:
    """Load the function that `reference` names; a file is compiled from the very bytes that the digest is taken of.

    A module that was imported before, by the caller, is used as it is.

    Args:
        reference: `pkg.mod:name` or `file.py:name`.
        wanted: whether an object is what is looked for.
        what: it is called.

    Raises:
        InvalidArgumentError: no such file or module, it does not import, or it holds no such function; one line says
            why.
    """
    form = FORM.fullmatch(reference)
    if not form:
        raise InvalidArgumentError(f"{reference!r} is not of the form PKG.MOD:NAME or FILE.py:NAME")
    path, source = read(form["file"], reference) if form["file"] else (None, b"")
    trusted.add(reference)
    as_it_is = form["module"] in sys.modules
    with importing_from([path.parent, Path.cwd()] if path else [Path.cwd()]) as files:
        try:
            module = execute(path, source) if path else importlib.import_module(form["module"])
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the user's module may raise anything
            raise InvalidArgumentError(f"{reference}: {failure(error, form['module'])}") from error
    function = named(form["name"], module, reference, wanted, what)
    parts = [function] if callable(function) and what == "function" else functions_of(function)
    if as_it_is or any(getattr(f, "__closure__", None) for f in parts):
        return UserCode(reference, function, digest_of_several(parts))
    files[module.__name__] = Path(getattr(module, "__file__", None) or "")
    for plain in map(inspect.unwrap, parts):
        if isinstance(plain, types.FunctionType):
            files[plain.__module__] = Path(plain.__code__.co_filename)
    present = [files[name] for name in sorted(files) if files[name].is_file()]
    contents = [source if file == path else file.read_bytes() for file in dict.fromkeys(present)]
    return UserCode(reference, function, digest(contents) if contents else None)


def digest_of(function: Callable[..., Any]) -> str | None:
    """The sha256 of the file in which a Python function is defined.

    None for what that file does not determine: closures, lambdas, functions made inside others, callable objects,
    builtins, and functions whose file has been edited since it was imported.
    """
    try:
        plain = inspect.unwrap(function, stop=lambda f: bool(getattr(f, "__closure__", None)))
        if not isinstance(plain, types.FunctionType) or plain.__closure__ or "<" in plain.__qualname__:
            return None
        content = Path(plain.__code__.co_filename).read_bytes()
        current = compile(content, plain.__code__.co_filename, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return None
    return digest([content]) if occurs(plain.__code__, current) else None


def digest_of_several(functions: list[Callable[..., Any]]) -> str | None:
    """The digest of the files of all of them; None where one has none."""
    found = [digest_of(function) for function in functions]
    several = list(dict.fromkeys(d for d in found if d is not None))
    if None in found or not several:
        return None
    return several[0] if len(several) == 1 else hashlib.sha256("".join(several).encode()).hexdigest()


def looks_like_code(name: str) -> bool:
    """Whether a name was meant for the user's own function, and is not written as one."""
    return (":" in name or "/" in name or name.endswith(".py")) and not is_reference(name)


def is_block(thing: Any) -> bool:
    """Whether it has the two functions of a block, `init` and `apply`."""
    return all(callable(getattr(thing, name, None)) for name in ("init", "apply"))


def functions_of(block: Any) -> list[Callable[..., Any]]:
    """The two functions of a block; of methods what they were made of."""
    return [getattr(f, "__func__", f) for f in (block.init, block.apply)]


def keyword_parameters(function: Callable[..., Any], positional: int = 1) -> dict[str, Any]:
    """The parameters that a call form may set: those after the first `positional` ones, with their defaults.

    A parameter without a default has the value REQUIRED. What `**kwargs` would take is not listed, nor anything of
    a function that does not tell its parameters (a few builtins).

    Raises:
        InvalidArgumentError: the function takes fewer than `positional` positional arguments, or needs more of them.
    """
    name = getattr(function, "__name__", type(function).__name__)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return {}
    ordered = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(ordered) < positional and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise InvalidArgumentError(f"{name} is called with {positional} positional arguments and takes {len(ordered)}")
    for p in ordered[positional:]:
        if p.kind is p.POSITIONAL_ONLY and p.default is REQUIRED:
            raise InvalidArgumentError(f"{name} needs {p.name}, which can only be given by position")
    by_keyword = [p for p in ordered[positional:] if p.kind is p.POSITIONAL_OR_KEYWORD]
    return {p.name: p.default for p in by_keyword + [p for p in parameters if p.kind is p.KEYWORD_ONLY]}


def read(file: str, reference: str) -> tuple[Path, bytes]:
    """The full path of a source file and its content."""
    try:
        path = Path(file).resolve()
        return path, content_of(path, MAX_SOURCE)
    except FileNotFoundError:
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidArgumentError(f"{reference}: there is no file {file!r}{hint}") from None
    except UntrustedError as error:
        raise InvalidArgumentError(f"{reference}: {file!r} {error}") from None
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"{reference}: cannot read {file!r}: {getattr(error, 'strerror', error)}") from None


@contextlib.contextmanager
def importing_from(folders: list[Path]) -> Iterator[dict[str, Path]]:
    """Make `folders` importable, and forget again what was imported from them; yields a dict that then has its files.

    Only what lies directly in `folders` is forgotten, not packages that are installed somewhere below.
    """
    before, entries, files = set(sys.modules), [str(folder) for folder in folders], dict[str, Path]()
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # bytecode would hide an edit in the same second
    sys.path[:0] = entries
    importlib.invalidate_caches()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield files
    finally:
        sys.dont_write_bytecode = written
        for entry in entries:
            if entry in sys.path:  # the user's code may have edited it
                sys.path.remove(entry)
        new = {name: module for name, module in sys.modules.items() if name not in before}
        for name, module in new.items():
            top = new.get(name.partition(".")[0])
            root = next(iter(getattr(top, "__path__", [])), None) or getattr(top, "__file__", None)
            if root and Path(root).parent in folders:
                files[name] = Path(getattr(module, "__file__", None) or "")
                del sys.modules[name]


def execute(path: Path, source: bytes) -> types.ModuleType:
    """Run `source` as a module of its own name, which no import can mean."""
    name = f"user_code_{digest([str(path).encode(), source])[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a path that ends in .py has a loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
    return module


def named(name: str, module: types.ModuleType, reference: str, wanted: Callable[[Any], bool], what: str) -> Any:
    """The object `name` of a module."""
    if not hasattr(module, name):
        public = [n for n, value in vars(module).items() if wanted(value) and not n.startswith("_")]
        hint = did_you_mean(name, public) if public else f" and no other {what}"
        raise InvalidArgumentError(f"{reference}: there is no {name!r} in it{hint}")
    function = getattr(module, name)
    if not wanted(function):
        raise InvalidArgumentError(f"{reference}: {name!r} is of type {type(function).__name__}, not a {what}")
    return function


def failure(error: BaseException, module: str | None) -> str:
    """Why an import failed, in one line."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}: {error.msg}"
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
        return f"there is no module {error.name!r}, neither in {str(Path.cwd())!r} nor installed"
    return f"it does not import: {reason(error)}"


def digest(contents: list[bytes]) -> str:
    """The sha256 of one content, or of the digests of several."""
    each = [hashlib.sha256(content).hexdigest() for content in contents]
    return each[0] if len(each) == 1 else hashlib.sha256("".join(each).encode()).hexdigest()


def occurs(code: types.CodeType, within: types.CodeType) -> bool:
    """Whether `code` is that of a function defined anywhere in `within`."""
    nested = [constant for constant in within.co_consts if isinstance(constant, types.CodeType)]
    return code in nested or any(occurs(code, inner) for inner in nested)
