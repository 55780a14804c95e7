"""What a report says, as plain JSON-able content: no HTML, and no text that could deceive the eye."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from varprobe.errors import printable
from varprobe.exports.reporting.arrays import STATISTICS, quantity_label, variables_of
from varprobe.exports.reporting.curves import curves_of, filters_of
from varprobe.exports.reporting.how import command_of, facts_of, spec_of
from varprobe.exports.reporting.pairs import pairs_of
from varprobe.exports.reporting.sources import Run
from varprobe.model.families import labels_of
from varprobe.runs.diagnose import diagnose

__all__ = ["content_of"]

MOST_DRAWN = 24
"""Curves that are drawn before more are asked for."""


def content_of(runs: Sequence[Run]) -> dict[str, Any]:
    """Everything that the page shows."""
    diagnoses = [diagnose(run.ds) for run in runs]
    curves = curves_of(runs, diagnoses)
    variables = variables_of(runs)
    quantities = dict.fromkeys(v["quantity"] for v in variables if v["quantity"])
    forward = sorted((q for q in quantities if "gradient" not in q), key=preferred)
    content = {
        "title": " and ".join(dict.fromkeys(diagnosis.title for diagnosis in diagnoses)),
        "verdict": summary_of(runs, diagnoses, curves),
        "model": runs[0].model,
        "most": MOST_DRAWN,
        "layers": max(run.ds.sizes["layer"] for run in runs),
        "runs": [
            {
                "name": run.name,
                "title": diagnosis.title,
                "facts": facts_of(run),
                "command": command_of(run),
                "spec": spec_of(run),
                "sites": sites_of(run) if run.model else None,
            }
            for run, diagnosis in zip(runs, diagnoses, strict=True)
        ],
        "models": models_of(runs, diagnoses) if runs[0].model else [],
        "filters": filters_of(curves),
        "curves": curves,
        "pairs": pairs_of(curves) if len(runs) == 2 else None,
        "quantities": {
            "forward": [[name, quantity_label(name)] for name in forward],
            "backward": [[name, quantity_label(name)] for name in quantities if name not in forward],
        },
        "statistics": [
            [name, text] for name, text in STATISTICS.items() if any(v["statistic"] == name for v in variables)
        ],
        "variables": variables,
    }
    return shown(content)


def preferred(quantity: str) -> int:
    """The signal first, where there is one, then the activation."""
    return {"signal": 0, "activation": 1}.get(quantity, 2)


def summary_of(runs: Sequence[Run], diagnoses: Sequence[Any], curves: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many are healthy, a sentence for each run, and what the others do."""
    what = "model" if runs[0].model else "configuration"
    sentences = [sentence_of(diagnosis.rows, what) for diagnosis in diagnoses]
    if len(runs) > 1:
        sentences = [f"{run.name}: {text[0].lower()}{text[1:]}" for run, text in zip(runs, sentences, strict=True)]
    words = Counter(curve["verdict"]["words"].removesuffix(" ?") for curve in curves if unhealthy(curve))
    return {
        "sentences": sentences,
        "healthy": [all(row["healthy"] for row in diagnosis.rows) for diagnosis in diagnoses],
        "kinds": [[text, count] for text, count in words.most_common()] if len(curves) > 2 else [],
    }


def sentence_of(rows: Sequence[dict[str, Any]], what: str) -> str:
    """How many rows are healthy."""
    good = sum(row["healthy"] for row in rows)
    if len(rows) == 1:
        return f"The {what} is {'healthy' if good else 'unhealthy'}."
    if good in (0, len(rows)):
        return f"All {len(rows)} {what}s are {'healthy' if good else 'unhealthy'}."
    return f"{good} of {len(rows)} {what}s {'is' if good == 1 else 'are'} healthy, {len(rows) - good} not."


def unhealthy(curve: dict[str, Any]) -> bool:
    """Whether a curve's verdict says so."""
    return curve["verdict"] is not None and not curve["verdict"]["healthy"]


def models_of(runs: Sequence[Run], diagnoses: Sequence[Any]) -> list[dict[str, Any]]:
    """The verdict on each model as a whole."""
    found = []
    for run, diagnosis in zip(runs, diagnoses, strict=True):
        for row in diagnosis.rows:
            step = [f"step {row['step']}"] if "step" in row else []
            name = ", ".join([*([run.name] if len(runs) > 1 else []), *step]) or row["arch"]
            found.append({"name": name} | {key: row[key] for key in ("healthy", "reason", "advice")})
    return found


def sites_of(run: Run) -> list[list[str]]:
    """[label, kind] of each site of a model, in the order of execution; the first is the input."""
    kinds = run.ds["kind"].values.tolist()
    return [[label, kind] for label, kind in zip(labels_of(run.ds), kinds, strict=True)]


def shown(content: Any) -> Any:
    """The content, every text of it with what could move or reorder letters escaped."""
    if isinstance(content, str):
        return content if content.isascii() and content.isprintable() else printable(content)
    if isinstance(content, dict):
        return {shown(key): shown(value) for key, value in content.items()}
    return [shown(value) for value in content] if isinstance(content, list | tuple) else content
