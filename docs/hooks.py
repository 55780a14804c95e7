"""What the site has beside its pages: formulas as MathML, and pages made from the package itself.

The pages of commands, names and Python are written when the site is built, from the help texts, `varprobe list` and
`__all__`, so that they cannot fall behind. No page may load anything from another host; a build that would fails.
"""

import re
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

import varprobe
import varprobe.theory
from varprobe.cli import command as group
from varprobe.cli.group import COMMANDS
from varprobe.cli.list import KINDS

FIGURES = Path(__file__).parents[1] / "figures"
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}
"""Elements that make a browser load something, and the attribute that says what."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here, and the figures of the README."""
    pages = {
        "commands.md": commands_page(),
        "names.md": names_page(),
        "python.md": reference_page("varprobe", PYTHON, varprobe.__all__),
        "python-theory.md": reference_page("varprobe.theory", THEORY, varprobe.theory.__all__),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    for figure in sorted(FIGURES.glob("*.png")):
        files.append(File.generated(config, f"figures/{figure.name}", abs_src_path=str(figure)))
    return files


# Formulas


def on_page_content(html: str, **_: Any) -> str:
    """Write formulas as MathML, which browsers draw by themselves."""
    return FORMULA.sub(lambda found: mathml(unescape(found[3]), found[2] == "["), html)


def mathml(latex: str, block: bool) -> str:
    """A formula as MathML.

    Raises:
        PluginError: it has a command that is not understood.
    """
    found = convert(spaced(latex.strip()), display="block" if block else "inline")
    found = re.sub(r"<mo>([A-Za-z]+|&#x02202;)</mo>", r"<mi>\1</mi>", found)  # no space of an operator around a name
    found = re.sub(r"<mo[^>]*>(?:[|]|&#x0007C;|&#x02223;)</mo>", "<mi>|</mi>", found)
    if "\\" in found or re.search(r"&(?![#\w]+;)", found):
        raise PluginError(f"no MathML for the formula {latex.strip()!r}")
    return f'<div class="formula">{found}</div>' if block else found


def spaced(latex: str) -> str:
    """Thin spaces around names of functions, as TeX sets them, which MathML leaves to the writer."""
    name = r"\\(?:(?:ln|sin|cos|tan|sinh|cosh|arccos|arcsin)(?![a-z])|operatorname\{\w+\})"
    latex = re.sub(rf"(?<=[\w)}}])\s*({name})", r"\,\1", latex)
    return re.sub(rf"({name}(?:[_^](?:\w|\{{[^}}]*\}}))?)(?!\s*(?:\(|\\left|[_^]))", r"\1\,", latex)


# Pages


def commands_page() -> str:
    """The help of every command, all options included."""
    parts = ["# Commands\n\nWhat `varprobe COMMAND --help-all` prints. `--help` shows the options that matter most.\n"]
    parts.append(shown(group.get_help(click.Context(group, info_name="varprobe", **group.context_settings))))
    for heading, commands in COMMANDS.items():
        parts.append(f"## {heading.capitalize()}\n")
        for name in commands:
            parts.append(f"### varprobe {name}\n\n{shown(help_of(name))}")
    return "\n".join(parts)


def help_of(name: str) -> str:
    """What `--help-all` prints, or `--help` where there is no other."""
    command = group.get_command(click.Context(group), name)
    assert command is not None
    parent = click.Context(group, info_name="varprobe", **group.context_settings)
    context = click.Context(command, info_name=name, parent=parent)
    context.meta["varprobe.all"] = True
    return command.get_help(context)


def shown(text: str) -> str:
    """A text as it stands on a terminal."""
    return f"```text\n{text.rstrip()}\n```\n"


def names_page() -> str:
    """Everything that `varprobe list` lists."""
    parts = [
        "# Names and thresholds\n\nWhat `varprobe list` prints: names that options take, and how verdicts are made.\n"
    ]
    for kind, (first, second, rows) in KINDS.items():
        parts.append(f"## {first.capitalize()}s\n\n`varprobe list {kind}`\n\n<table>")
        parts.append(f"<thead><tr><th>{first}</th><th>{second}</th><th>meaning</th></tr></thead><tbody>")
        parts += [f"<tr><td>{code(a)}</td><td>{code(b)}</td><td>{escape(c)}</td></tr>" for a, b, c in rows()]
        parts.append("</tbody></table>\n")
    return "\n".join(parts)


def code(text: str) -> str:
    """A name in its own letters."""
    return f"<code>{escape(text)}</code>" if text else ""


PYTHON = "# Python\n\n`import varprobe as vp`: every public name.\n"
THEORY = (
    "# Python: varprobe.theory\n\n"
    "Mean-field predictions in float64, which share no code with the networks. [Theory](theory.md) has the formulas.\n"
)


def reference_page(module: str, head: str, names: list[str]) -> str:
    """The docstrings of names, functions and classes as they stand in the source."""
    found = [name for name in names if not (module == "varprobe" and name == "theory")]
    return head + "".join(f"\n::: {module}.{name}\n" for name in sorted(found, key=str.lower))


# What pages load


class Loaded(HTMLParser):
    """Addresses on other hosts that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of an element that loads something."""
        given = dict(attrs)
        address = given.get(LOADS.get(tag, "")) or ""
        names = not (tag == "link" and given.get("rel") in ("canonical", "prev", "next"))
        if names and re.match(r"(?:\w+:)?//", address):
            self.found.append(address)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site with a page or a style sheet that loads something from another host.

    Raises:
        PluginError: and which.
    """
    site = Path(config.site_dir)
    for page in site.rglob("*.html"):
        reader = Loaded()
        reader.feed(page.read_text("utf-8"))
        if reader.found:
            raise PluginError(f"{page.relative_to(site)} loads {reader.found[0]}")
    for sheet in site.rglob("*.css"):
        far = re.search(r"(?:url\(\s*[\"']?|@import\s+[\"'])((?:https?:)?//[^\"')]+)", sheet.read_text("utf-8"))
        if far:
            raise PluginError(f"{sheet.relative_to(site)} loads {far[1]}")
