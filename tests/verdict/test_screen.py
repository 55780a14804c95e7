"""The table of verdicts: 80 columns whatever is swept, what merges, what is explained, plain text, colors and HTML."""

import io
import itertools
import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from rich.console import Console

from varprobe.cli.console import console_for
from varprobe.plots.style import contrast
from varprobe.runs.diagnose import Diagnosis
from varprobe.spec.number_format import rounded, scientific
from varprobe.verdict.columns import fold
from varprobe.verdict.table import MOST_LINES, UNCERTAIN, sheet_of, title_of
from varprobe.verdict.terminal import print_diagnosis, text_of

pytestmark = pytest.mark.filterwarnings("error")

ATTRS = {"data_description": "N(0,1)", "range": "unbounded"}


def word(factor):
    """The word for a factor over 50 layers."""
    decades = abs(math.log10(factor)) * 49 / 2
    if decades <= 1:
        return "stable"
    if decades <= 3:
        return "growing" if factor > 1 else "shrinking"
    return "exploding" if factor > 1 else "vanishing"


def made(factor=1.0, back=None, half=0.005, **others):
    """A row of `diagnose`."""
    back = factor if back is None else back
    words = word(factor), word(back)
    row = {
        "arch": "plain",
        "act": "relu",
        "init": "he_normal",
        "bias": "zeros",
        "norm": "none",
        "depth": 50,
        "width": 512,
        "batch": 32,
        "seeds": 8,
        "loss": "cotangent",
        "dtype": "float32",
        "activation_factor": factor,
        "activation_factor_ci95": [factor - half, factor + half],
        "gradient_factor": back,
        "gradient_factor_ci95": [back - half, back + half],
        "forward": words[0],
        "backward": words[1],
        "certain": True,
        "flags": [],
        "notes": [],
        "formats": {},
        "healthy": not {"vanishing", "exploding"} & set(words),
        "reason": f"It is {words[0]}.",
        "advice": None,
    }
    row |= others
    row["healthy"] = row["healthy"] and not row["flags"]
    return row


def screen(rows, ends=(), wide=False, right="", width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_diagnosis(console, Diagnosis(rows, title_of(rows, ATTRS), ends), wide, right)
    return console.file.getvalue()


def test_the_first_screen():
    rows = [
        made(0.0256, init="normal(std=0.01)", half=0.0002, advice="Multiply the weight std by 6.25."),
        made(0.4981, 0.5003, init="glorot_normal", half=0.003),
        made(0.4990, 0.4998, init="glorot_uniform", half=0.003),
        made(0.4985, 0.4998, init="lecun_normal", half=0.003),
        made(0.995, 0.999, init="he_normal"),
        made(0.993, 0.998, init="he_uniform"),
    ]
    assert screen(rows, right="cpu, 4 s").splitlines() == [
        "relu, depth 50, width 512, 8 seeds, batch 32 of N(0,1)                  cpu, 4 s",
        "mean square per layer     forward         backward        verdict",
        "he_normal (+ he_uniform)  0.995 ± .005    0.999 ± .005    stable",
        "glorot_normal (+2 alike)  0.498 ± .003    0.500 ± .003    vanishes both ways",
        "normal(std=0.01)          0.0256 ± .0002  0.0256 ± .0002  vanishes both ways",
        "Alike: glorot_normal, glorot_uniform, lecun_normal.",
        "Why normal(std=0.01): It is vanishing. Multiply the weight std by 6.25.",
        "Why glorot_normal: It is vanishing.",
    ]


def test_rows_merge_only_where_the_initializer_alone_differs():
    same = [made(init="he_normal"), made(init="he_uniform"), made(init="lecun_normal", act="selu")]
    text = screen(same)
    assert "he_normal (+ he_uniform)" in text and "lecun_normal (" not in text
    for other in ({"act": "tanh"}, {"depth": 10}, {"width": 64}, {"batch": 4}, {"bias": "ones"}):
        assert "(+" not in screen([made(), made(**other)])
    assert "(+" not in screen([made(), made(1.03, init="he_uniform")])  # log(1.03) > 0.02
    assert "(+ he_uniform)" in screen([made(), made(1.015, init="he_uniform")])
    assert "(+" not in screen([made(), made(init="he_uniform", flags=["dead"])])
    none = {"activation_factor": None, "gradient_factor": None, "forward": "vanishing", "backward": "vanishing"}
    none |= {"activation_factor_ci95": [None] * 2, "gradient_factor_ci95": [None] * 2, "flags": ["dead"]}
    pair = [made(**none, reason="a"), made(**none, reason="b", init="zeros")]
    assert "(+" not in screen(pair)
    assert "(+ zeros)" in screen([pair[0], pair[1] | {"reason": "a"}])


def test_an_axis_of_numbers_keeps_its_order():
    rows = [made(f, init=f"normal(std={s})") for f, s in ((0.5, "0.01"), (1.0, "0.02"), (1.001, "0.03"), (2.0, "0.04"))]
    lines = screen(rows).splitlines()[2:6]
    assert [line.split()[0] for line in lines] == [r["init"] for r in rows]


def test_what_is_shared_is_said_once():
    form = "variance_scaling(scale={},mode=fan_in,distribution=truncated_normal)"
    text = screen([made(init=form.format(s)) for s in (1, 2, 3)])
    assert re.findall(r"^variance_scaling\(scale=\d,\.\.\.\)", text, re.MULTILINE)
    sigma = "variance_scaling(scale={},mode=fan_in,distribution=normal)"
    grid = itertools.product((1, 1.66666666667), (0, 0.5))
    text = screen([made(1 / w, init=sigma.format(w), bias=f"normal(var={b})") for w, b in grid])
    assert {"sigma_b2=0", "sigma_b2=0.5", "  sigma_w2=1", "  sigma_w2=1.667"} <= {
        re.split(r"(?<=\S) ", line)[0] for line in text.splitlines()
    }
    alone = screen([made(init=form.format(1))])
    assert "truncated_normal" in alone.replace("\n", "").replace(" ", "")


def test_the_worst_are_explained_first_and_of_different_kinds():
    rows = [made()]
    rows += [made(0.1**n, init=f"down{n}") for n in (1, 2, 3, 4)]
    rows += [made(10.0, init="up"), made(init="dead", flags=["dead"])]
    why = [line.split(":")[0] for line in screen(rows).splitlines() if line.startswith("Why")]
    assert why == ["Why dead", "Why down4", "Why up"]
    assert "6 of 7 are unhealthy; --json and vp.diagnose give the reason for each." in screen(rows)
    assert "Why" not in screen([made(), made(0.97, init="lecun_normal")])


def test_the_question_mark_is_explained_where_there_is_one():
    doubtful = made(certain=False)
    assert "stable ?" in screen([doubtful]) and UNCERTAIN.split()[-1] in screen([doubtful])
    assert "?" not in screen([made()])
    assert "?" not in screen([made(certain=False, seeds=1)])  # of one seed nothing is certain
    assert "?" not in screen([made(certain=False, flags=["symmetric"])])  # what is certain is the flag


@pytest.mark.parametrize(
    "row, words",
    [
        (made(), "stable"),
        (made(0.85), "shrinks both ways"),
        (made(0.5), "vanishes both ways"),
        (made(1.0, 2.0), "gradient explodes"),
        (made(0.5, 2.0), "forward vanishes, gradient explodes"),
        (made(0.85, 1.0), "forward shrinks"),
        (made(flags=["dead"]), "dead"),
        (made(0.5, flags=["symmetric", "dead"]), "symmetric, vanishes both ways"),
        (made(flags=["non_finite"]), "not finite"),
        (made(flags=["non_finite"], notes=["overflows(layer=4)"]), "overflows at layer 4"),
        (made(0.5, flags=["dead"], notes=["underflows(layer=29)"]), "underflows at layer 29"),
        (made(1.0, 0.5, notes=["gradient_underflows(layer=3)"]), "gradient underflows at layer 3"),
        (made(backward=None, gradient_factor=None), "stable"),
        (made(0.5, backward=None, gradient_factor=None), "vanishes"),
    ],
)
def test_verdicts(row, words):
    sheet = sheet_of([row])
    assert sheet.lines[0].cells[-1] == words
    assert ("backward" in sheet.headings) is (row["backward"] is not None)


@pytest.mark.parametrize(
    "factor, half, cell",
    [
        (0.498, 0.003, "0.498 ± .003"),
        (0.0256, 0.0002, "0.0256 ± .0002"),
        (1.0, 0.02, "1.00 ± .02"),
        (85.3, 1.24, "85.3 ± 1.2"),
        (791.0, 104.0, "791 ± 104"),
        (105.1, 0.1, "105.1 ± .1"),
        (0.251, 0.0002, "0.2510 ± .0002"),
        (256.0, 1e-5, "256 ± 1e-5"),
        (7.3e-4, 1e-4, "7.3e-4 ± 1e-4"),
        (7.2e5, 2e5, "7.2e5 ± 2e5"),
        (1.2e40, 1e39, "1.2e40 ± 1e39"),
    ],
)
def test_factors(factor, half, cell):
    ci = [factor - half, factor + half]
    row = made(0.5, activation_factor=factor, activation_factor_ci95=ci)
    assert sheet_of([row]).lines[0].cells[1] == cell


def test_factors_that_are_not_known_well_or_not_at_all():
    def cell(**others):
        return sheet_of([made(0.5, **others)]).lines[0].cells[1]

    assert cell(activation_factor_ci95=[0.002, 440.0]) == "0.500 [0.002, 440]"
    assert cell(activation_factor_ci95=[None, None]) == "0.500"
    none = {"activation_factor": None, "activation_factor_ci95": [None, None]}
    assert cell(**none) == "zero"
    assert cell(**none, flags=["non_finite"]) == "not finite"
    assert cell(**none, depth=1) == "-"


ACTS = ["relu", "leaky_relu(negative_slope=0.123)", "folder/with/a/long/path/mine.py:an_activation(beta=0.25)"]
INITS = [
    "he_normal",
    "uniform(limit=sqrt(6/(fan_in+fan_out)))",
    "variance_scaling(scale=2,mode=fan_geo_avg,distribution=truncated_normal)",
    "x" * 100,
]


@pytest.mark.parametrize("wide_intervals", [False, True])
def test_no_line_is_longer_than_80_columns(wide_intervals):
    others = {"activation_factor_ci95": [1.2e-30, 3.4e30]} if wide_intervals else {}
    flags = ["symmetric", "dead", "saturated"]
    everything = itertools.product(ACTS, INITS, (10, 50), ("512", "784-512-256-128-64-32-16-10"), (4, 32))
    names = ("act", "init", "depth", "width", "batch")
    rows = [
        made(0.5, 2.0, flags=flags, certain=False, **others, **dict(zip(names, x, strict=True))) for x in everything
    ]
    for shown in (rows, rows[:30], rows[:1], rows[: MOST_LINES + 1], rows[::16]):
        lines = screen(shown, right="found finished in the run folder; --fresh computes it again").splitlines()
        assert max(map(len, lines)) <= 80
        assert not [line for line in lines if line != line.rstrip()]
    for name in ACTS + INITS:  # folded, never cut
        assert name in re.sub(r"\s+", "", screen([r for r in rows if name in (r["act"], r["init"])][:20]))


def test_many_rows_become_a_line_a_verdict():
    rows = [made(f, depth=d) for f in (0.5, 1.0, 0.85) for d in range(1, 31)]
    text = " ".join(screen(rows).split())
    assert len(screen(rows).splitlines()) < 25
    assert "30 configurations, e.g. depth 1" in text
    assert "90 configurations; --wide shows each, results.csv has every number." in text
    assert len(screen(rows, wide=True, width=180).splitlines()) > 90


@given(st.text(max_size=200), st.integers(1, 60), st.integers(0, 4))
def test_folding_loses_nothing(text, width, indent):
    indent = min(indent, width - 1)
    lines = fold(text, width, indent)
    assert all(len(line) <= width for line in lines)
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", text)


def test_folding_breaks_at_blanks_and_marks_first():
    assert fold("uniform(limit=sqrt(6/(fan_in+fan_out)))", 26, 2) == ["uniform(limit=sqrt(6/(", "  fan_in+fan_out)))"]
    assert fold("a, b", 80) == ["a, b"]
    assert fold("", 10) == [""]


def test_wide_shows_every_configuration_and_what_stands_beside_it():
    ends = {
        "gradient_rms_first": -80.3,
        "gradient_rms_last": 0.0,
        "largest_signal": 120.0,
        "largest_gradient": float("nan"),
        "activation_correlation": 0.98765,
        "gradient_correlation": 0.0,
    }
    rows = [made(notes=["leaves_float16(layer=3)"]), made(init="he_uniform", certain=False)]
    lines = screen(rows, [ends, ends], wide=True, width=180).splitlines()
    heading = " ".join(" ".join(lines[1:4]).split())
    assert "gradient" in heading and "cosine" in heading
    (first, second) = (line for line in lines if line.startswith("he_"))
    assert {"5.0e-81", "1", "1.0e120", "-", "0.988", "0.000", "yes", "leaves_float16(layer=3)"} <= set(first.split())
    assert "no" in second.split() and "(+" not in "".join(lines)
    assert max(map(len, lines)) <= 180


@pytest.mark.parametrize(
    "log10, text",
    [(0.0, "1"), (-80.3, "5.0e-81"), (3.99, "9770"), (120.0, "1.0e120"), (4.99999, "1.0e5"), (-400.5, "3.2e-401")],
)
def test_numbers_far_outside_float64(log10, text):
    assert scientific(log10) == text
    assert [scientific(x) for x in (None, float("nan"), float("-inf"), float("inf"))] == ["-", "-", "0", "inf"]


@pytest.mark.parametrize(
    "value, text", [(0.4981, "0.498"), (4370.2, "4370"), (999999.0, "1.00e6"), (2.43e-4, "2.43e-4"), (1e6, "1.00e6")]
)
def test_numbers_in_sentences(value, text):
    assert rounded(value) == text


def test_colors_say_nothing_that_words_do_not():
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system="truecolor")
    rows = [made(), made(0.85, init="b"), made(0.5, init="c")]
    print_diagnosis(console, Diagnosis(rows, "title"))
    colored = file.getvalue()
    assert all(start in colored for start in ("\x1b[94mstable", "\x1b[33mshrinks", "\x1b[1;91mvanishes"))
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == text_of(Diagnosis(rows, "title")) + "\n"


def test_names_cannot_move_the_cursor():
    rows = [made(init="a\x1b[31m\nb", reason="r\x07"), made(0.5, init="c\N{RIGHT-TO-LEFT OVERRIDE}", advice="\x1b[2J")]
    text = screen(rows) + screen(rows, wide=True) + title_of(rows, {"data_description": "\x1b[2Jd"})
    assert all(c.isprintable() or c == "\n" for c in text)
    assert r"a\x1b[31m\nb" in text and r"\u202e" in text


def test_title():
    assert title_of([made()], ATTRS) == "relu, depth 50, width 512, 8 seeds, batch 32 of N(0,1)"
    rows = [made(act="tanh", depth=5, seeds=1), made(depth=6, seeds=1)]
    assert title_of(rows, ATTRS) == "he_normal, width 512, 1 seed, batch 32 of N(0,1)"
    special = made(bias="normal(var=0.05)", loss="mse", dtype="float16", init_first="zeros", init_last="ones")
    assert title_of([special], {"data_description": "digits", "range": "dtype"}) == (
        "relu, first layer zeros, last layer ones, depth 50, width 512, 8 seeds, batch 32 of digits, "
        "bias normal(var=0.05), mse, float16 with its own range"
    )
    assert title_of([], ATTRS) == "no configurations"


class Reader(HTMLParser):
    """Checks that tags are closed in order, and keeps the text and the number of rows."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_html_is_valid_and_escaped(count):
    name = "<script>alert('&')</script>"
    rows = [made(0.5, init=f"{name}{i}", act=f"a{i % 2}", reason="x < y & z", certain=False) for i in range(count)]
    html = Diagnosis(rows, f"title {name}")._repr_html_()
    reader = Reader()
    reader.feed(html)
    assert reader.open == [] and "script" not in reader.tags
    text = "".join(reader.text)
    assert f"title {name}" in text
    if rows:
        assert "x < y & z" in text and f"{name}0" in text
        assert "vanishes both ways ?" in text and UNCERTAIN in text


def test_verdicts_in_notebooks_are_legible_on_any_ground():
    html = Diagnosis([made(1.0), made(0.5, init="zeros"), made(0.8, init="ones")], "title")._repr_html_()
    pairs = re.findall(r"background:(#[0-9a-f]{6});color:(#fff)", html)
    assert len({ground for ground, _ in pairs}) == 3
    assert all(contrast(to_rgb(ground), to_rgb(text)) >= 4.5 for ground, text in pairs)
    assert html.count("color:") == len(pairs)  # the rest has the notebook's own


def test_a_diagnosis_is_a_small_table():
    rows = [made(), made(0.5, init="b")]
    diagnosis = Diagnosis(rows)
    assert list(diagnosis) == rows and len(diagnosis) == 2
    assert str(diagnosis) == repr(diagnosis) == text_of(diagnosis)
    assert str(Diagnosis([])) == ""


def test_consoles_are_80_columns_when_piped():
    assert console_for(io.StringIO()).width == 80
    assert console_for(io.StringIO(), wide=True).width == 180
