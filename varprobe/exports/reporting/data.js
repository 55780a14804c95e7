// The content of the report, and the numbers in it, unpacked when they are first asked for.

const CONTENT = JSON.parse(document.getElementById("content").textContent);
const VARIABLES = new Map(CONTENT.variables.map((variable) => [variable.name, variable]));
const unpacked = new Map();

function unpack(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

// `part` (mean, std or theory) of a variable in a row; null where there is none.
function numbers(name, part, row) {
  const text = VARIABLES.get(name)?.[part];
  if (!text) return null;
  const key = `${name} ${part}`;
  if (!unpacked.has(key)) unpacked.set(key, unpack(text));
  return unpacked.get(key).subarray(row * CONTENT.layers, (row + 1) * CONTENT.layers);
}

function layersOf(curve) {
  return curve.layers ?? Array.from({ length: curve.depth + 1 }, (_, layer) => layer);
}

// `layers/7 (linear)`, of a stack `layer 7`.
function placeText(curve, layer) {
  const sites = CONTENT.runs[curve.run].sites;
  return sites ? `${sites[layer][0]} (${sites[layer][1]})` : `layer ${layer}`;
}

function labelOf(quantity) {
  return [...CONTENT.quantities.forward, ...CONTENT.quantities.backward].find(([name]) => name === quantity)?.[1] ?? quantity;
}

// A variable's name in words: `activation mean square`.
function words(variable) {
  const statistic = CONTENT.statistics.find(([name]) => name === variable.statistic);
  return statistic ? `${labelOf(variable.quantity)} ${statistic[1]}` : variable.label;
}
