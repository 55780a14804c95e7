"""TensorBoard's event files, written without TensorFlow or PyTorch."""

import os
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.exports.folders import placed
from varprobe.exports.series import Histogram, histograms, points, quantities
from varprobe.exports.sheets import markdown_of, verdict_table
from varprobe.runs.tables import site_table
from varprobe.spec.extras import needed
from varprobe.storage.kinds import of_sites

__all__ = ["save_events"]

FILE = "events.out.tfevents.varprobe"


def save_events(folder: Path, ds: xr.Dataset) -> None:
    """Write a folder for `tensorboard --logdir`: TensorBoard's step is the layer.

    Scalars are the means over seeds of every quantity (`gradient/log10_mean_square/NAME`) and their standard deviations
    (`gradient/log10_mean_square_std/NAME`); histograms those of runs that have them. The tab Custom Scalars has every
    configuration in one chart, the tab Text the verdicts, and a model's sites by layer.

    Raises:
        InvalidArgumentError: no TensorBoard, or a folder with other things.
        MachineError: the disk refuses.
    """
    proto = "tensorboard.compat.proto"
    event_pb2, summary_pb2 = (needed(f"{proto}.{name}", "event files") for name in ("event_pb2", "summary_pb2"))
    writer = needed("tensorboard.summary.writer.record_writer", "event files")
    steps: dict[int, list[Any]] = defaultdict(list)
    for tag, layer, value in points(ds):
        steps[layer].append(summary_pb2.Summary.Value(tag=tag, simple_value=value))
    for found in histograms(ds):
        steps[found.layer].append(summary_pb2.Summary.Value(tag=found.tag, histo=buckets(found)))
    steps[0] += [layout(list(quantities(ds).values())), text("verdicts", markdown_of(*verdict_table(ds)))]
    if of_sites(ds):
        steps[0].append(text("sites", markdown_of(*site_table(ds))))
    now = time.time()
    with placed(folder, FILE) as half, (half / FILE).open("xb") as file:
        records = writer.RecordWriter(file)
        records.write(event_pb2.Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        for layer, values in sorted(steps.items()):
            summary = summary_pb2.Summary(value=values)
            records.write(event_pb2.Event(wall_time=now, step=layer, summary=summary).SerializeToString())
        file.flush()
        os.fsync(file.fileno())


def buckets(found: Histogram) -> Any:
    """A histogram in its own bins."""
    proto = needed("tensorboard.compat.proto.histogram_pb2", "event files")
    centers = (found.edges[1:] + found.edges[:-1]) / 2
    return proto.HistogramProto(
        min=found.edges[0],
        max=found.edges[-1],
        num=found.shares.sum(),
        sum=(found.shares * centers).sum(),
        sum_squares=(found.shares * centers**2).sum(),
        bucket_limit=found.edges[1:].tolist(),
        bucket=found.shares.tolist(),
    )


def layout(tags: list[str]) -> Any:
    """The charts of the tab Custom Scalars: one a quantity, with a curve for every configuration."""
    pb2 = needed("tensorboard.plugins.custom_scalar.layout_pb2", "event files")
    metadata = needed("tensorboard.plugins.custom_scalar.metadata", "event files")
    charts: dict[str, list[Any]] = defaultdict(list)
    for tag in tags:
        lines = pb2.MultilineChartContent(tag=[f"^{re.escape(tag)}/"])
        charts[tag.partition("/")[0]].append(pb2.Chart(title=tag, multiline=lines))
    categories = [pb2.Category(title=title, chart=found) for title, found in charts.items()]
    content = pb2.Layout(category=categories).SerializeToString()
    return of_string(metadata.CONFIG_SUMMARY_TAG, content, metadata.create_summary_metadata())


def text(tag: str, markdown: str) -> Any:
    """A page of the tab Text."""
    metadata = needed("tensorboard.plugins.text.metadata", "event files")
    about = metadata.create_summary_metadata(display_name="", description="")
    return of_string(tag, markdown.encode(), about)


def of_string(tag: str, content: bytes, metadata: Any) -> Any:
    """A summary that holds a string."""
    summary_pb2, tensor_pb2, types_pb2 = (
        needed(f"tensorboard.compat.proto.{name}", "event files") for name in ("summary_pb2", "tensor_pb2", "types_pb2")
    )
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[content])
    return summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
