"""Names that would deceive, move a cursor, run or lead elsewhere are text wherever they go: every sink, both streams."""

import csv
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from test_report import made

import varprobe as vp
from varprobe.__main__ import main
from varprobe.errors import printable
from varprobe.exports.naming import config_names
from varprobe.plots import caption, save_figure, variance_figure
from varprobe.runs.diagnose import diagnose
from varprobe.sweeps.folders import act_part

ESCAPES = ["\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "a\rb", "a\nb", "a\x08b", "\x00b", "a\x7fb"]
DECEIVING = ["\u202egpj.exe", "\u2066x\u2069", "a\u200bb", "\ufeffrelu", "re\u00adlu", "\u2028line"]
PATHS = ["../../etc/passwd", "/etc/passwd", "..", "C:\\x", "a/b", "~root", "-rf", "CON"]
MARKUP = ["<script>alert(1)</script>", "</script><b>", "&lt;", "' onload=x", '"><img src=x>', "[red]x[/red]", ":smile:"]
FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "$x_1", r"\input{x}", "%", "|pipe|", "`code`"]
NAMES = [*ESCAPES, *DECEIVING, *PATHS, *MARKUP, *FORMULAS]
PLAIN = [name for name in NAMES if name.isprintable()]


def named(names: list[str]) -> xr.Dataset:
    """One healthy network for each name."""
    return made([{"init": name} for name in names])


def is_plain(text: str) -> bool:
    """Whether a terminal shows the text and does nothing else."""
    return all(line.isprintable() for line in text.split("\n"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_what_is_printable_is_escaped_without_loss(name):
    shown = printable(name)
    assert shown.isprintable() and not set(shown) & set("\x1b\x9b\u202e\u2066\u200b\ufeff\u00ad")
    assert shown == name or shown.encode("ascii").decode("unicode_escape") == name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "line",
    ["sweep --act {}", "sweep --init {}", "sweep --data {}.npy", "sweep --label {}=x", "theory --act {}",      "plot {}", "plot x --kind {}", "plot --from {}.pdf", "report {}", "export x --save {}/x.csv", "check {}", "model {}",
     "list {}", "{}", "sweep {}", "model {}.py:f", "sweep --arch {}:f"],
)  # fmt: skip
def test_stderr(here, capsys, name, line):
    """Whatever is wrong with it is said in one line that only a terminal's letters stand in."""
    with pytest.raises(SystemExit) as stop:
        main([word.replace("{}", name) for word in line.split(" ")])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == ""
    assert err.endswith("\n") and err[:-1].isprintable() and "Traceback" not in err
    assert sorted(p.name for p in here.rglob("*")) == ["deep", "er"]


def test_stdout():
    """The printed table, in full width too."""
    for wide in (False, True):
        text = str(diagnose(named(NAMES))) if not wide else repr(diagnose(named(PLAIN)))
        assert is_plain(text)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files(name):
    """Of a run's folder, and of a dashboard's tags."""
    part = act_part([f"mine.py:{name}"])
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", part) and part not in (".", "..") and not part.startswith((".", "-"))
    ds = named([name, "other"])
    for tag in config_names(ds):
        assert tag.isprintable() and not set(tag) & set("/\\<>\"'`|:*?\n\r\0") and tag not in (".", "..")


def test_svg_and_pdf(here):
    """Titles and legends are shapes or text; nothing of them is markup, and no link or script is in the file."""
    names = [n for n in PLAIN if n not in DECEIVING][:8]
    figure = variance_figure(named(names))
    for ending in ("svg", "pdf", "png"):
        save_figure(figure, f"x.{ending}", spec={"command": " ".join(NAMES)})
    root = ElementTree.fromstring(Path("x.svg").read_text("utf-8"))
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not tags & {"script", "a", "image", "foreignObject", "iframe", "img"}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not any(name.startswith("on") for name in attributes)
    content = Path("x.pdf").read_bytes()
    assert not re.search(rb"/(JavaScript|JS|Launch|URI|OpenAction|AA)\b", content)


def test_html(here):
    pytest.importorskip("plotly")
    text = vp.report(named(NAMES), "report.html").read_text("utf-8")
    for name in MARKUP[:2]:
        assert name not in text
    content = text[text.index('"verdict"') :]
    assert "<img src=x" not in text and "\u202e" not in text and "\x1b" not in text
    assert content.count("\\u003cscript>alert(1)\\u003c/script>") >= 1
    assert "default-src 'none'" in text


def test_markdown_and_latex(here):
    ds = named(NAMES)
    table = vp.export(ds, "t.md").read_text("utf-8")
    assert is_plain(table) and len(table.splitlines()) == 2 + len(NAMES)
    assert not re.search(r"(?<!\\)<", table)
    latex = vp.export(ds, "t.tex").read_text("utf-8")
    assert is_plain(latex) and r"\input" not in latex.replace(r"\textbackslash{}input", "")
    words = caption(named([r"\input{/etc/passwd}", "$x", "%"]))
    assert r"\input{" not in words


def test_csv(here):
    """What a spreadsheet would compute is quoted as text; every other cell reads back as it was."""
    for table in ("layers", "verdicts"):
        path = vp.export(named(NAMES), f"{table}.csv", table=table)  # type: ignore[arg-type]
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found = list(dict.fromkeys(row["init"] for row in rows))
        assert len(found) == len(NAMES)
        assert not any(cell[:1] in "=+-@\t\r" for cell in found if cell), table
        shown = {*NAMES, *map(printable, NAMES)}
        assert all(name in shown or name.removeprefix("'") in shown for name in found)


@pytest.mark.parametrize(
    "name",
    [
        "\x1b[31m",
        "<script>",
        *(pytest.param(n, marks=pytest.mark.exhaustive) for n in ("\u202ex", "a b", "$x$", "=1", "'", "a'b")),
    ],
)
def test_folders_and_files_of_such_names(here, capsys, name):
    """A run and its data may be called anything that a disk takes."""
    np.save(f"{name}.npy", np.ones((8, 4)) + np.eye(8, 4))
    folder = f"run {name}"
    ds = vp.sweep(depth=2, width=4, batch=4, seeds=1, init="he_normal", data=f"{name}.npy", out=folder)
    assert ds.attrs["data_description"].startswith(name)
    for line in (["plot", folder, "--save", "x.svg"], ["check", folder], ["report", folder, "--save", "x.html"],
                 ["export", folder, "--save", "x.tex"], ["plot", "--from", "x.svg"]):  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            main(line)
        out, err = capsys.readouterr()
        assert stop.value.code in (0, 1), (line, err)
        assert is_plain(out) and is_plain(err), line
    assert "<script>" not in Path("x.html").read_text("utf-8").split('id="content"')[-1].partition("</script>")[0]
