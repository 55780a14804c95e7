// Tables that sort by their headings. Texts reach the page as text only.

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// A curve's line as in the plots.
function swatch(look, marks) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("class", "swatch");
  drawing.setAttribute("viewBox", "0 0 40 12");
  drawing.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(space, marks ? "path" : "line");
  const shape = marks ? { d: "M20 2 24 6 20 10 16 6Z", fill: "none" } : { x1: 0, x2: 40, y1: 6, y2: 6 };
  for (const [name, value] of Object.entries(shape)) line.setAttribute(name, value);
  line.setAttribute("stroke", look.color[theme().name]);
  line.setAttribute("stroke-width", marks ? 1.5 : 2.5);
  line.setAttribute("stroke-dasharray", look.dashes.map((length) => length * LINE).join(" "));
  drawing.append(line);
  return drawing;
}

// Numbers by size, others as text; what is absent comes last whichever way.
function compare(a, b, sign) {
  const absent = (key) => key === null || key === undefined || Number.isNaN(key);
  if (absent(a) || absent(b)) return absent(a) - absent(b);
  if (typeof a === "number" && typeof b === "number") return a === b ? 0 : sign * (a < b ? -1 : 1);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

/* Show a table in `place`.
   columns: {heading, key(row) -> number or text to sort by, show(row) -> nodes or text, number, wide, header, title}
   most: rows that are shown before all are asked for. The order that a reader chose stays when rows change. */
function showTable(place, { caption, columns, rows, most, label }) {
  const chosen = place.sorting ?? { column: -1, sign: 1 };
  const draw = () => {
    const found = columns[chosen.column];
    const ordered = found ? [...rows].sort((a, b) => compare(found.key(a), found.key(b), chosen.sign)) : rows;
    const shown = place.whole ? ordered : ordered.slice(0, most);
    const heads = columns.map((column, i) => {
      const button = element("button", { type: "button", title: column.title ?? "Sort" }, column.heading);
      button.addEventListener("click", () => {
        chosen.sign = chosen.column === i ? -chosen.sign : 1;
        chosen.column = i;
        draw();
        place.querySelectorAll("thead button")[i].focus();
      });
      const sorted = chosen.column === i ? (chosen.sign > 0 ? "ascending" : "descending") : "none";
      return element("th", { scope: "col", "aria-sort": sorted, className: column.number ? "number" : "" }, button);
    });
    const body = shown.map((row) => element("tr", {}, ...columns.map((column) => cell(column, row))));
    const table = element("table", {}, element("caption", {}, element("span", { className: "name" }, caption)), element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body));
    const scroll = element("div", { className: "scroll", role: "region", "aria-label": label, tabIndex: 0 }, table);
    place.replaceChildren(scroll);
    if (shown.length < rows.length) {
      const more = element("button", { type: "button", className: "more" }, `Show all ${rows.length} rows`);
      more.addEventListener("click", () => { place.whole = true; draw(); place.querySelector(".scroll").focus(); });
      place.append(element("p", {}, `The first ${shown.length} of ${rows.length} rows. `, more));
    }
  };
  place.sorting = chosen;
  draw();
}

function cell(column, row) {
  const shown = column.show(row);
  const made = element(column.header ? "th" : "td", { className: [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ") });
  if (column.header) made.scope = "row";
  made.append(...(Array.isArray(shown) ? shown : [shown]));
  return made;
}

// A smaller line below what a cell says.
function sub(text) {
  return element("span", { className: "sub" }, text);
}

function nameText(text) {
  return element("span", { className: "name" }, text);
}
