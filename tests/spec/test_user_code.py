"""The user's own code: loaded fresh, identified by its source, and every failure told in one line."""

import functools
import hashlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.spec.user_code import REQUIRED, UserCode, digest_of, is_reference, keyword_parameters, load

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a file below a fresh current folder, and check that loading leaves no trace in the interpreter."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture(autouse=True)
def no_trace() -> Any:
    paths, bytecode = list(sys.path), sys.dont_write_bytecode
    yield
    assert (sys.path, sys.dont_write_bytecode) == (paths, bytecode)
    assert not [name for name in sys.modules if name.startswith("user_code_") or name in ("mine", "helper", "pkg.mod")]


def sha256(*contents: str) -> str:
    each = [hashlib.sha256(content.encode()).hexdigest() for content in contents]
    return each[0] if len(each) == 1 else hashlib.sha256("".join(each).encode()).hexdigest()


@pytest.mark.parametrize(
    "name, expected",
    [
        ("mine.py:swishy", True),
        ("../a b/mine.py:swishy", True),
        (r"C:\x\mine.py:f", True),
        ("mod:name", True),
        ("pkg.mod:name", True),
        ("relu", False),
        ("relu:2", False),
        ("mine.py", False),
        (".py:f", False),
        ("mine.py:", False),
        (":f", False),
        ("pkg..mod:f", False),
        ("a/b:f", False),
        ("mine.py:f.g", False),
        ("mine.py:f()", False),
    ],
)
def test_is_reference(name: str, expected: bool) -> None:
    assert is_reference(name) is expected
    if not expected:
        with pytest.raises(InvalidArgumentError, match="is not of the form PKG.MOD:NAME or FILE.py:NAME"):
            load(name)


@given(st.text(max_size=20) | st.text("ab1.:py/", max_size=20))
def test_any_text(text: str) -> None:
    try:
        load(text)
    except InvalidArgumentError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("reference", ["mine.py:swishy", "./mine.py:swishy", "mine:swishy"])
def test_load(write: Write, reference: str) -> None:
    text = "def swishy(x, beta=1):\n    return beta * x\n"
    path = write("mine.py", text)
    code = load(reference)
    assert isinstance(code, UserCode)
    assert code.reference == reference
    assert code.function(3, beta=2) == 6
    assert code.digest == sha256(text)
    assert code.function.__code__.co_filename == str(path)


def test_edited_file_is_loaded_anew(write: Write) -> None:
    for reference in ("mine.py:f", "mine:f"):
        for number in (1, 2, 3):  # the same size within the same second
            write("mine.py", f"def f(x): return {number}\n")
            code = load(reference)
            assert code.function(0) == number
            assert code.digest == sha256(f"def f(x): return {number}\n")


def test_neighbors(write: Write) -> None:
    mine = "import helper\ndef f(x): return helper.scale * x\n"
    for folder, scale in (("a", 2), ("b", 3)):
        write(f"{folder}/mine.py", mine)
        write(f"{folder}/helper.py", f"scale = {scale}\n")
    assert load("a/mine.py:f").function(1) == 2
    assert load("b/mine.py:f").function(1) == 3
    assert load("a/mine.py:f").digest == load("a/mine.py:f").digest == sha256("scale = 2\n", mine)
    write("a/helper.py", "scale = 5\n")
    edited = load("a/mine.py:f")
    assert edited.function(1) == 5
    assert edited.digest == sha256("scale = 5\n", mine)


def test_current_folder_is_importable_for_a_file_elsewhere(write: Write) -> None:
    write("helper.py", "scale = 4\n")
    write("sub/mine.py", "from helper import scale\ndef f(x): return scale * x\n")
    assert load("sub/mine.py:f").function(1) == 4


def test_package(write: Write) -> None:
    write("pkg/__init__.py", "from pkg.mod import f\n")
    write("pkg/mod.py", "from . import other\ndef f(x): return other.scale * x\n")
    write("pkg/other.py", "scale = 7\n")
    assert load("pkg.mod:f").function(1) == load("pkg:f").function(1) == 7
    before = load("pkg:f").digest
    write("pkg/other.py", "scale = 8\n")
    assert load("pkg:f").function(1) == 8
    assert load("pkg:f").digest != before


def test_module_that_the_caller_imported_stays(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def f(x): return 1\n"
    path = write("imported_before.py", text)
    monkeypatch.syspath_prepend(str(path.parent))
    module = __import__("imported_before")
    try:
        code = load("imported_before:f")
        assert code.function is module.f
        assert code.digest == sha256(text)
        write("imported_before.py", "def f(x): return 2\n")
        assert load("imported_before:f").function(0) == 1
        assert load("imported_before:f").digest is None  # the file is no longer what runs
    finally:
        del sys.modules["imported_before"]
        sys.path.remove(str(path.parent))


def test_installed_function() -> None:
    assert load("math:sin") == UserCode("math:sin", math.sin, None)
    code = load("varprobe.errors:lookup")
    assert code.function is lookup
    assert code.digest == hashlib.sha256(Path(lookup.__code__.co_filename).read_bytes()).hexdigest()


def test_what_has_no_digest(write: Write) -> None:
    write(
        "mine.py",
        "def make(b):\n    def f(x): return b * x\n    return f\nclosure = make(2)\nfrom math import sin\n"
        "lambda_ = lambda x: x\n",
    )
    assert load("mine.py:closure").function(3) == 6
    assert load("mine.py:closure").digest is None
    assert load("mine.py:lambda_").digest is not None  # the file and the name say which


def test_prints_go_to_stderr(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("mine.py", "print('hello')\ndef f(x): return x\n")
    load("mine.py:f")
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    "reference, text, message",
    [
        ("mime.py:f", "", "mime.py:f: there is no file 'mime.py'; did you mean 'mine.py'?"),
        ("zzz.py:f", "", "zzz.py:f: there is no file 'zzz.py'"),
        ("no/mine.py:f", "", "no/mine.py:f: there is no file 'no/mine.py'"),
        ("folder.py:f", "", "folder.py:f: cannot read 'folder.py': Is a directory"),
        ("mine.py:f", "\n\ndef f(x:\n", "mine.py:f: mine.py, line 3: '(' was never closed"),
        ("mine:f", "\n\ndef f(x:\n", "mine:f: mine.py, line 3: '(' was never closed"),
        (
            "mine.py:f",
            "x = 1 / 0\n",
            "mine.py:f: it does not import: ZeroDivisionError: division by zero (mine.py, line 1)",
        ),
        ("mine.py:f", "raise ValueError('a\\nb')\n", "mine.py:f: it does not import: ValueError: a (mine.py, line 1)"),
        ("mine.py:f", "raise SystemExit(3)\n", "mine.py:f: it does not import: SystemExit: 3 (mine.py, line 1)"),
        (
            "mine.py:f",
            "import no_such_module\n",
            "mine.py:f: it does not import: ModuleNotFoundError: No module named 'no_such_module' (mine.py, line 1)",
        ),
        (
            "mine:f",
            "import no_such_module\n",
            "mine:f: it does not import: ModuleNotFoundError: No module named 'no_such_module' (mine.py, line 1)",
        ),
        ("nope.mod:f", "", "nope.mod:f: there is no module 'nope', neither in {cwd!r} nor installed"),
        ("mine.mod:f", "", "mine.mod:f: there is no module 'mine.mod', neither in {cwd!r} nor installed"),
        (
            "mine.py:swish",
            "def swishy(x): return x\ndef _swish(x): return x\n",
            "mine.py:swish: there is no 'swish' in it; did you mean 'swishy'? (allowed: swishy)",
        ),
        ("mine.py:f", "x = 1\n", "mine.py:f: there is no 'f' in it and no other function"),
        ("mine.py:f", "f = 2.5\n", "mine.py:f: 'f' is of type float, not a function"),
        ("mine.py:f", "f = None\n", "mine.py:f: 'f' is of type NoneType, not a function"),
    ],
)
def test_failures(write: Write, reference: str, text: str, message: str) -> None:
    folder = write("mine.py", text).parent
    (folder / "folder.py").mkdir()
    with pytest.raises(InvalidArgumentError) as caught:
        load(reference)
    assert str(caught.value) == message.format(cwd=str(folder))


def test_impossible_file_name() -> None:
    with pytest.raises(InvalidArgumentError, match=r"cannot read 'a\\x00.py': .*embedded null"):
        load("a\0.py:f")


def test_broken_encoding(write: Write) -> None:
    write("mine.py", "").write_bytes(b"x = '\xff'\n")
    with pytest.raises(InvalidArgumentError, match=r"^mine.py:f: .*(utf-8|encoding)"):
        load("mine.py:f")


def plain(x: float, beta: float = 1) -> float:
    return beta * x


def test_digest_of() -> None:
    here = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    wrapped = type("Jitted", (), {"__call__": lambda self, x: x, "__wrapped__": staticmethod(plain)})()
    factor = 2

    @functools.wraps(plain)
    def closure(x: float) -> float:
        return factor * plain(x)

    def inner(x: float, beta: float = factor) -> float:
        return beta * x

    assert digest_of(plain) == digest_of(wrapped) == here
    others: list[Any] = [closure, inner, lambda x: x, math.sin, np.tanh, functools.partial(plain, beta=2)]
    for function in others:
        assert digest_of(function) is None
    typed: dict[str, Any] = {}
    exec("def f(x): return x", typed)
    assert digest_of(typed["f"]) is None


def test_keyword_parameters() -> None:
    def initializer(
        key: Any, shape: Any, dtype: Any = float, scale: float = 2.0, *, layer: int, **rest: Any
    ) -> None: ...

    assert keyword_parameters(plain) == {"beta": 1}
    assert keyword_parameters(initializer, positional=3) == {"scale": 2.0, "layer": REQUIRED}
    assert keyword_parameters(lambda *args, gain=3: None, positional=3) == {"gain": 3}
    assert keyword_parameters(functools.partial(plain, beta=5)) == {"beta": 5}
    assert keyword_parameters(math.hypot) == {}  # a builtin without a signature
    with pytest.raises(InvalidArgumentError, match="^plain is called with 3 positional arguments and takes 2$"):
        keyword_parameters(plain, positional=3)
    with pytest.raises(InvalidArgumentError, match="^needy needs y, which can only be given by position$"):
        keyword_parameters(needy)


def needy(x: float, y: float, /) -> None: ...
