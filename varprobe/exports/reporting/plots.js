// The curves. Powers are drawn as their log10 on a linear axis with labels of our own, so that no float bounds them.

const LINE = 2;
const LARGEST = 308; // decades beyond which a float holds no value
const BANDED = 12; // more bands hide each other
const PAPER = { width: 325, height: 265 }; // half of what A4 and Letter hold, in CSS pixels

function onPaper() {
  return document.documentElement.classList.contains("paper");
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches && !onPaper();
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  return { name: dark ? "dark" : "light", ink: color("ink"), soft: color("soft"), faint: color("faint"), ground: color("ground") };
}

// What plotly shows of a text: it reads some tags and entities.
function plotlyText(text, longest = 80) {
  const cut = text.length > longest ? `${text.slice(0, longest - 20)}\u2026${text.slice(-19)}` : text;
  return cut.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function dashOf(look) {
  return look.dashes.length ? look.dashes.map((length) => `${length * LINE}px`).join(",") : "solid";
}

// The y of a value; null where there is nothing to draw.
function height(value, log10, linear) {
  if (!log10) return Number.isFinite(value) ? value : null;
  if (!linear) return Number.isFinite(value) ? value : null;
  return value > LARGEST || Number.isNaN(value) || (value < -LARGEST && value !== -Infinity) ? null : 10 ** value;
}

function lineTrace(curve, name, part, view, colors) {
  const values = numbers(name, part, curve.row);
  if (!values) return null;
  const std = part === "mean" ? numbers(name, "std", curve.row) : null;
  const { log10 } = VARIABLES.get(name);
  const layers = layersOf(curve);
  const y = layers.map((layer) => height(values[layer], log10, view.linear));
  if (y.every((value) => value === null)) return null;
  const text = log10 ? powerText : plainText;
  const title = plotlyText(curve.name) + (part === "theory" ? ", theory" : "");
  return {
    type: "scatter",
    mode: curve.marks ? "markers" : layers.length < 2 ? "markers" : CONTENT.model && part === "mean" ? "lines+markers" : "lines",
    x: layers,
    y,
    connectgaps: false,
    name: part,
    hoverinfo: "text",
    hovertext: layers.map((layer) => {
      const spread = std && std[layer] >= 0 ? `<br>std over seeds ${plainText(std[layer])}${log10 ? " decades" : ""}` : "";
      return `${title}<br>${plotlyText(placeText(curve, layer))}<br>${plotlyText(words(VARIABLES.get(name)))} ${text(values[layer])}${spread}`;
    }),
    line: { color: part === "theory" ? curve.look.theory[colors.name] : curve.look.color[colors.name], width: part === "theory" ? 0.9 : LINE, dash: dashOf(curve.look) },
    marker: { color: curve.look.color[colors.name], size: curve.marks ? 7 : 5, symbol: curve.marks ? "diamond-open" : "circle" },
  };
}

// One standard deviation on either side, a polygon for each stretch of finite values.
function bandTrace(curve, name, view, colors) {
  const [mean, std] = [numbers(name, "mean", curve.row), numbers(name, "std", curve.row)];
  if (!mean || !std || curve.marks) return null;
  const { log10 } = VARIABLES.get(name);
  const [x, y] = [[], []];
  let stretch = [];
  const close = () => {
    if (stretch.length > 1) {
      const there = stretch.map(([layer, , high]) => [layer, high]);
      const back = stretch.map(([layer, low]) => [layer, low]).reverse();
      for (const [across, up] of [...there, ...back, [null, null]]) { x.push(across); y.push(up); }
    }
    stretch = [];
  };
  for (const layer of layersOf(curve)) {
    const [low, high] = [-1, 1].map((sign) => height(mean[layer] + sign * std[layer], log10, view.linear));
    if (low === null || high === null || !Number.isFinite(std[layer])) close();
    else stretch.push([layer, low, high]);
  }
  close();
  if (!x.length) return null;
  return { type: "scatter", mode: "lines", x, y, name: "band", fill: "toself", fillcolor: alpha(curve.look.color[colors.name], 0.22), line: { width: 0 }, hoverinfo: "skip" };
}

function alpha(color, share) {
  const parts = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return `rgba(${parts.join(",")},${share})`;
}

// Draw curves of one variable; says what of it could not be drawn. `view`: linear, theory, bands, first, last, label.
function drawPanel(target, name, curves, view) {
  const colors = theme();
  const variable = VARIABLES.get(name);
  const log10 = Boolean(variable?.log10);
  const bands = view.bands && curves.length <= BANDED;
  const some = (make) => (variable ? curves.map(make).filter(Boolean) : []);
  const means = some((curve) => lineTrace(curve, name, "mean", view, colors));
  const traces = [
    ...(bands ? some((curve) => bandTrace(curve, name, view, colors)) : []),
    ...means,
    ...(view.theory ? some((curve) => lineTrace(curve, name, "theory", view, colors)) : []),
  ];
  const powers = log10 && !view.linear;
  const yaxis = axis(colors, { title: { text: variable ? plotlyText(words(variable)) : "", font: { size: 13 } }, automargin: true });
  if (powers) Object.assign(yaxis, { range: extent(traces), tickmode: "array" }, tickSetting(extent(traces)));
  else Object.assign(yaxis, { exponentformat: "power", rangemode: "normal" });
  const layout = {
    ...(onPaper() ? PAPER : { autosize: true }),
    margin: { l: 60, r: 10, t: 30, b: 46 },
    paper_bgcolor: colors.ground,
    plot_bgcolor: colors.ground,
    font: { color: colors.ink, family: getComputedStyle(document.body).fontFamily, size: 12 },
    showlegend: false,
    hovermode: "closest",
    hoverlabel: { align: "left", bgcolor: colors.ground, bordercolor: colors.soft, font: { color: colors.ink } },
    xaxis: axis(colors, { title: { text: CONTENT.model ? "site, in the order of execution" : "layer", font: { size: 13 } }, range: acrossRange(view), dtick: view.last - view.first < 6 ? 1 : undefined }),
    yaxis,
    annotations: traces.length ? [] : [{ text: variable ? "nothing finite to draw" : "not measured", showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5, font: { color: colors.soft } }],
  };
  Plotly.react(target, traces, layout, {
    displaylogo: false,
    responsive: true,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
    toImageButtonOptions: { format: "svg", filename: "varprobe" },
  });
  if (!target.dataset.listens) {
    target.dataset.listens = "yes";
    target.on("plotly_relayout", (change) => {
      const now = target.layout.yaxis;
      const zoomed = Object.keys(change).some((key) => key.startsWith("yaxis.range") || key === "yaxis.autorange");
      if (zoomed && now.tickmode === "array") {
        const { tickvals, ticktext } = tickSetting(now.range);
        Plotly.relayout(target, { "yaxis.tickvals": tickvals, "yaxis.ticktext": ticktext });
      }
    });
  }
  return variable ? remarks(curves, name, log10, view) : [];
}

function axis(colors, more) {
  return { color: colors.ink, gridcolor: colors.faint, linecolor: colors.soft, tickcolor: colors.soft, ticks: "outside", ticklen: 4, showline: true, zeroline: false, ...more };
}

function acrossRange(view) {
  const pad = Math.max(0.5, (view.last - view.first) * 0.02);
  return [view.first - pad, view.last + pad];
}

function tickSetting([low, high]) {
  const { places, labels } = powerTicks(low, high);
  return { tickvals: places, ticktext: labels };
}

// The range of all that is drawn, with a margin.
function extent(traces) {
  let [low, high] = [Infinity, -Infinity];
  for (const { y } of traces) for (const value of y) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low > high) return [-1, 1];
  const pad = Math.max((high - low) * 0.05, 0.05);
  return [low - pad, high + pad];
}

// What the panel cannot show: signals that became exactly zero or infinite, and powers that no float holds.
function remarks(curves, name, log10, view) {
  const found = [];
  let beyond = 0;
  for (const curve of curves) {
    const values = numbers(name, "mean", curve.row);
    const layers = layersOf(curve);
    const lost = layers.filter((layer) => log10 && values[layer] === -Infinity);
    const infinite = layers.filter((layer) => log10 && values[layer] === Infinity);
    if (lost.length && !view.linear) found.push(`${curve.name} is exactly zero at ${placesText(curve, lost)}.`);
    if (infinite.length) found.push(`${curve.name} is infinite at ${placesText(curve, infinite)}.`);
    if (view.linear && log10 && layers.some((layer) => Math.abs(values[layer]) > LARGEST && Number.isFinite(values[layer]))) beyond++;
  }
  if (beyond) found.unshift(`A linear axis cannot show values beyond 10^\u00b1${LARGEST}: ${beyond} of ${curves.length} curves are cut there.`);
  return found;
}

function placesText(curve, layers) {
  const [first, last] = [layers[0], layers.at(-1)];
  if (first === last) return placeText(curve, first);
  return CONTENT.model ? `${placeText(curve, first)} to ${placeText(curve, last)}` : `layers ${first} to ${last}`;
}
