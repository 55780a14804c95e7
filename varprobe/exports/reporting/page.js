// The page: fills the sections, and redraws what a control concerns.

const at = (id) => document.getElementById(id);
const state = { everything: false, hidden: new Set() };
const several = CONTENT.model ? "curves" : "configurations";
const LONGEST_TABLE = 300; // rows of layers
const NAMED = 12; // configurations that have the same advice

function fillSelect(select, options) {
  select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text.length > 70 ? `${text.slice(0, 50)}\u2026${text.slice(-19)}` : text)));
}

function buildControls() {
  for (const filter of CONTENT.filters) {
    const select = element("select", { id: `filter-${filter.name}` });
    fillSelect(select, [["", "all"], ...filter.values.map((value, i) => [String(i), value || "(none)"])]);
    at("filters").append(element("label", {}, `${filter.label} `, select));
  }
  at("filters").hidden = !CONTENT.filters.length;
  for (const side of ["forward", "backward"]) {
    fillSelect(at(side), CONTENT.quantities[side]);
    at(side).parentElement.hidden = !CONTENT.quantities[side].length;
    at(`${side}-plot`).parentElement.hidden = !CONTENT.quantities[side].length;
  }
  fillSelect(at("statistic"), CONTENT.statistics);
  at("statistic").value = CONTENT.statistics.some(([name]) => name === "log10_mean_square") ? "log10_mean_square" : CONTENT.statistics[0]?.[0];
  at("statistic").querySelector(":checked")?.setAttribute("selected", ""); // what a reset goes back to
  for (const [id, value] of [["first", 0], ["last", CONTENT.layers - 1]]) Object.assign(at(id), { max: CONTENT.layers - 1, defaultValue: value });
  at("theory").parentElement.hidden = !CONTENT.variables.some((variable) => variable.theory);
  at("bands").parentElement.hidden = !CONTENT.variables.some((variable) => variable.std);
  at("controls").addEventListener("input", (event) => update(event.target.id.startsWith("filter-")));
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  at("controls").addEventListener("reset", () => {
    Object.assign(state, { everything: false, hidden: new Set() });
    setTimeout(() => update(true)); // when the controls have gone back
  });
  at("everything").addEventListener("click", () => { state.everything = !state.everything; update(true); });
  at("chosen").addEventListener("change", showLayers);
  at("pair-chosen").addEventListener("change", showPair);
}

function matching() {
  const wanted = CONTENT.filters.map(({ name, values }) => [name, at(`filter-${name}`).value, values]).filter(([, value]) => value !== "");
  return CONTENT.curves.filter((curve) => wanted.every(([name, value, values]) => curve.at[name] === values[value]));
}

function viewNow() {
  const [one, other] = ["first", "last"].map((id) => (at(id).value === "" ? at(id).defaultValue : at(id).value)).map(Number);
  return { linear: at("scale").value === "linear", theory: at("theory").checked, bands: at("bands").checked, first: Math.min(one, other), last: Math.max(one, other) };
}

function update(filtered = true) {
  const found = matching();
  const limited = state.everything ? found : found.slice(0, CONTENT.most);
  const drawn = limited.filter((curve) => !state.hidden.has(curve));
  const view = viewNow();
  const told = new Set();
  for (const side of ["forward", "backward"]) {
    const variable = `${at(side).value}_${at("statistic").value}`;
    at(`${side}-caption`).textContent = `${side === "forward" ? "Forward" : "Backward"}: ${at(side).selectedOptions[0]?.text ?? ""} ${at("statistic").selectedOptions[0]?.text ?? ""}`;
    if (window.Plotly && !at(`${side}-plot`).parentElement.hidden) drawPanel(at(`${side}-plot`), variable, drawn, view).forEach((remark) => told.add(`${side}: ${remark}`));
  }
  const remarks = [...told];
  if (view.bands && drawn.length > BANDED) remarks.unshift(`Bands are left out where more than ${BANDED} curves are drawn.`);
  at("remark").textContent = remarks.slice(0, 6).join(" ") + (remarks.length > 6 ? ` And ${remarks.length - 6} more.` : "");
  at("status").textContent = `${drawn.length} of ${CONTENT.curves.length} ${several} drawn` +
    (found.length < CONTENT.curves.length ? `; ${found.length} match the filters` : "") +
    (limited.length < found.length ? `; the first ${CONTENT.most} of ${found.length} are drawn` : "") + ".";
  at("everything").hidden = found.length <= CONTENT.most;
  at("everything").textContent = state.everything ? `Draw the first ${CONTENT.most}` : `Draw all ${found.length}`;
  if (filtered) {
    showLegend(at("legend"), limited);
    showVerdicts(found);
    chooseFrom(found);
  }
}

function showLegend(list, curves) {
  list.replaceChildren(...curves.map((curve) => {
    const box = element("input", { type: "checkbox", checked: !state.hidden.has(curve) });
    box.addEventListener("change", () => { state.hidden[box.checked ? "delete" : "add"](curve); update(false); });
    return element("li", {}, element("label", { className: "check" }, box, swatch(curve.look, curve.marks), nameText(curve.name)));
  }));
}

function directionColumns(side, heading) {
  const of = (curve) => curve.verdict?.[side];
  return {
    heading,
    number: true,
    title: "Factor of the mean square per layer, with the 95% interval over seeds; sorts by the factor",
    key: (curve) => of(curve)?.factor,
    show: (curve) => of(curve) ? [of(curve).cell, " ", sub(of(curve).word), " ", sub(of(curve).interval ?? "")] : ABSENT,
  };
}

function mark({ healthy, grade }) {
  return element("span", { className: `mark ${grade ?? (healthy ? "stable" : "severe")}` }, healthy ? "\u2713 healthy" : "\u2717 unhealthy");
}

function showVerdicts(curves) {
  const judged = curves.filter((curve) => curve.verdict);
  const some = (test) => judged.some(test);
  const columns = [
    { heading: CONTENT.model ? "Family of sites" : "Configuration", header: true, key: (c) => c.name, show: (c) => [nameText(c.name)] },
    ...(CONTENT.model ? [{ heading: "Sites", number: true, key: (c) => c.layers.length, show: (c) => String(c.layers.length) }] : []),
    {
      heading: "Verdict",
      key: (c) => `${c.verdict.healthy ? 1 : 0} ${c.verdict.words}`,
      show: (c) => [mark(c.verdict), " ", sub(c.verdict.words)],
    },
    directionColumns("forward", "Forward"),
    ...(some((c) => c.verdict.backward) ? [directionColumns("backward", "Backward")] : []),
    ...(some((c) => c.verdict.theory !== "-") ? [{ heading: "Theory", number: true, title: "Factor of the infinitely wide net (forward, backward)", key: (c) => parseFloat(c.verdict.theory), show: (c) => c.verdict.theory.replace(/^-$/, ABSENT) }] : []),
    ...(some((c) => c.verdict.reason) ? [{ heading: "Reason", wide: true, key: (c) => c.verdict.reason, show: (c) => c.verdict.reason ?? ABSENT }] : []),
    ...(some((c) => c.verdict.advice) ? [{ heading: "Advice", wide: true, key: (c) => c.verdict.advice, show: (c) => c.verdict.advice ?? ABSENT }] : []),
  ];
  const unit = CONTENT.model ? (judged.length === 1 ? "family of sites" : "families of sites") : judged.length === 1 ? "configuration" : "configurations";
  const part = judged.length < CONTENT.curves.filter((curve) => curve.verdict).length ? ", as filtered below" : "";
  const doubt = some((c) => !c.verdict.certain) ? " A ? says that the 95% interval over seeds crosses a threshold of the verdict." : "";
  showTable(at("verdict-table"), {
    caption: `${judged.length} ${unit}${part}: factor of the mean square per ${CONTENT.model ? "site" : "layer"}, with its 95% interval over seeds.${doubt}`,
    label: "Table of verdicts",
    columns,
    rows: judged,
    most: CONTENT.most,
  });
}

function chooseFrom(curves) {
  const before = at("chosen").value;
  const rows = new Map();
  for (const curve of curves) if (!rows.has(curve.row)) rows.set(curve.row, CONTENT.model ? modelName(curve) : curve.name);
  fillSelect(at("chosen"), [...rows].map(([row, name]) => [String(row), name]));
  if (rows.has(Number(before)) && before !== "") at("chosen").value = before;
  showLayers();
}

function modelName(curve) {
  return CONTENT.models[curve.row].name;
}

function showLayers() {
  const place = at("layer-table");
  if (at("chosen").value === "") return place.replaceChildren(element("p", {}, "Nothing is chosen."));
  const row = Number(at("chosen").value);
  const mine = CONTENT.curves.filter((curve) => curve.row === row);
  const sites = CONTENT.runs[mine[0].run].sites;
  const layers = sites ? sites.map((_, layer) => layer) : layersOf(mine[0]);
  const family = new Map(mine.flatMap((curve) => layersOf(curve).map((layer) => [layer, curve.at.family])));
  const shown = CONTENT.variables.filter((variable) => (!variable.statistic || ["log10_mean_square", "log10_var", "correlation"].includes(variable.statistic)) && layers.some((layer) => !Number.isNaN(numbers(variable.name, "mean", row)[layer])));
  const value = (variable, layer) => numbers(variable.name, "mean", row)[layer];
  showTable(place, {
    caption: `${CONTENT.model ? modelName(mine[0]) : mine[0].name}. ${CONTENT.model ? "Each site, in the order of execution" : "Each layer; 0 is the input"}. Powers are geometric means over seeds, \u00b1 one standard deviation in decades.`,
    label: "Table of layers",
    rows: layers,
    most: LONGEST_TABLE,
    columns: [
      { heading: CONTENT.model ? "Order" : "Layer", number: true, header: !sites, key: (layer) => layer, show: (layer) => String(layer) },
      ...(sites ? [
        { heading: "Site", header: true, key: (layer) => sites[layer][0], show: (layer) => [nameText(sites[layer][0])] },
        { heading: "Kind", key: (layer) => sites[layer][1], show: (layer) => sites[layer][1] },
        { heading: "Family", key: (layer) => family.get(layer) ?? null, show: (layer) => [nameText(family.get(layer) ?? ABSENT)] },
      ] : []),
      ...shown.map((variable) => ({
        heading: words(variable),
        number: true,
        title: variable.about,
        key: (layer) => value(variable, layer),
        show: (layer) => {
          const std = numbers(variable.name, "std", row)?.[layer];
          const text = (variable.log10 ? powerText : plainText)(value(variable, layer));
          return Number.isFinite(std) ? [`${text} `, sub(`\u00b1 ${plainText(std)}`)] : text;
        },
      })),
    ],
  });
}

function showAdvice() {
  const place = at("changes");
  const bad = CONTENT.model ? CONTENT.models.filter((model) => !model.healthy) :
    CONTENT.curves.filter((curve) => !curve.verdict.healthy).map((curve) => ({ name: curve.name, advice: curve.verdict.advice }));
  const grouped = new Map();
  for (const { name, advice } of bad) {
    const text = advice ?? "There is no single change that theory names; the reason is in the table of verdicts.";
    grouped.set(text, [...(grouped.get(text) ?? []), name]);
  }
  if (!bad.length) place.append(element("p", {}, "Nothing: what was measured is healthy."));
  else {
    const lines = [...grouped].map(([advice, names]) => element("li", {},
      element("strong", {}, advice), " ",
      element("span", { className: "remark" }, ...names.slice(0, NAMED).flatMap((name, i) => [i ? ", " : "", nameText(name)]), names.length > NAMED ? ` and ${names.length - NAMED} more` : "")));
    place.append(element("ul", { className: "advice" }, ...lines));
  }
  if (CONTENT.pairs === null) {
    if (bad.length) place.append(element("p", { className: "remark" }, "Measure once more as advised, and give both runs, before and after, to see the change beside this one."));
    return;
  }
  if (!CONTENT.pairs.length) {
    place.append(element("p", {}, "The two runs have nothing in common that could be compared as before and after."));
    return;
  }
  showChanges();
  fillSelect(at("pair-chosen"), CONTENT.pairs.map(([before, after], i) => [String(i), pairName(before, after)]));
  at("pair").hidden = false;
}

function pairName(before, after) {
  const [one, other] = [CONTENT.curves[before].name, CONTENT.curves[after].name];
  return `${one} \u2192 ${other}`;
}

function showChanges() {
  const place = element("div");
  at("changes").append(place);
  const rows = CONTENT.pairs.map(([before, after]) => ({ before: CONTENT.curves[before], after: CONTENT.curves[after] })).filter(({ before, after }) => before.verdict && after.verdict);
  const change = (side, heading) => ({
    heading,
    number: true,
    key: ({ before, after }) => after.verdict[side]?.factor / before.verdict[side]?.factor,
    show: ({ before, after }) => {
      const [one, other] = [before.verdict[side], after.verdict[side]];
      if (!one || !other) return ABSENT;
      return [`${one.cell} \u2192 ${other.cell} `, sub(`${one.word} \u2192 ${other.word}`)];
    },
  });
  showTable(place, {
    caption: "Before and after: factor of the mean square per layer, with its 95% interval over seeds.",
    label: "Table of changes",
    most: CONTENT.most,
    rows,
    columns: [
      { heading: "Before", header: true, key: ({ before }) => before.name, show: ({ before }) => [nameText(before.name)] },
      { heading: "After", key: ({ after }) => after.name, show: ({ after }) => [nameText(after.name)] },
      { heading: "Verdict", key: ({ before, after }) => after.verdict.healthy - before.verdict.healthy, show: ({ before, after }) => [mark(before.verdict), " \u2192 ", mark(after.verdict)] },
      change("forward", "Forward"),
      change("backward", "Backward"),
    ],
  });
}

function showPair() {
  if (!CONTENT.pairs?.length) return;
  const [before, after] = CONTENT.pairs[Number(at("pair-chosen").value)].map((place) => CONTENT.curves[place]);
  const [old, now] = ["#D55E00", "#0072B2"];
  const looked = (curve, color, dashes) => ({ ...curve, look: { color: { light: color, dark: curve === before ? "#E69F00" : "#56B4E9" }, theory: curve.look.theory, dashes } });
  const curves = [looked(before, old, [4.5, 1.4]), looked(after, now, [])];
  const view = { linear: false, theory: false, bands: true, first: 0, last: CONTENT.layers - 1 };
  for (const side of ["forward", "backward"]) {
    const quantity = CONTENT.quantities[side][0];
    at(`pair-${side}`).parentElement.hidden = !quantity;
    if (!quantity) continue;
    at(`pair-${side}-caption`).textContent = `${side === "forward" ? "Forward" : "Backward"}: ${quantity[1]} mean square, before (dashed) and after`;
    drawPanel(at(`pair-${side}`), `${quantity[0]}_log10_mean_square`, curves, view);
  }
  at("pair-legend").replaceChildren(...curves.map((curve) => element("li", {}, swatch(curve.look, curve.marks), " ", nameText(curve.name))));
}

function showHow() {
  for (const run of CONTENT.runs) {
    const facts = run.facts.flatMap(([term, text]) => [element("dt", {}, term), element("dd", {}, nameText(text))]);
    at("made").append(
      element("h3", {}, nameText(run.name ? `${run.name}: ${run.title}` : run.title)),
      element("dl", {}, ...facts),
      run.command ? element("pre", { tabIndex: 0, "aria-label": "Command that repeats it" }, element("code", {}, run.command)) : element("p", {}, "Measured from Python; no command line repeats it."),
      element("details", {}, element("summary", {}, "All settings"), element("pre", {}, JSON.stringify(run.spec, null, 1))),
    );
  }
}

function showHead() {
  document.title = `varprobe: ${CONTENT.title}`;
  at("title").textContent = CONTENT.title;
  const { sentences, healthy, kinds } = CONTENT.verdict;
  at("sentences").append(...sentences.map((text, i) => element("p", { className: `sentence ${healthy[i] ? "stable" : "severe"}` }, text)));
  at("kinds").textContent = kinds.map(([what, count]) => `${count} \u00d7 ${what}`).join("; ");
  for (const model of CONTENT.models) {
    at("models").append(element("p", {}, element("strong", { className: "name" }, model.name), " ", mark(model), `: ${model.reason}`, model.advice ? element("strong", {}, ` ${model.advice}`) : ""));
  }
  if (CONTENT.model) {
    at("layers-heading").textContent = "Site by site";
    at("chosen-label").textContent = "Model";
    document.querySelector("nav a[href='#layers']").textContent = "Sites";
  }
}

showHead();
buildControls();
showAdvice();
showHow();
update();
performance.mark("varprobe-verdicts");
