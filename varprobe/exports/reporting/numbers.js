"use strict";
// Numbers as tables and axes write them. Values come as log10, for they run past every float.

const ABSENT = "\u2013";

// 3.2e-80 from its log10; exactly zero is -Infinity, what does not apply is NaN.
function powerText(log10) {
  if (Number.isNaN(log10)) return ABSENT;
  if (!Number.isFinite(log10)) return log10 < 0 ? "0" : "\u221e";
  if (log10 >= -3 && log10 < 4) return String(Number((10 ** log10).toPrecision(3)));
  const exponent = Math.floor(log10);
  const mantissa = (10 ** (log10 - exponent)).toFixed(2);
  return mantissa === "10.00" ? `1.00e${exponent + 1}` : `${mantissa}e${exponent}`;
}

function plainText(value) {
  if (Number.isNaN(value)) return ABSENT;
  return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : value < 0 ? "-\u221e" : "\u221e";
}

// The smallest of 1, 2, 5 times a power of ten that is at least `least`.
function niceStep(least) {
  const unit = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((n) => n * unit).find((step) => step >= least * (1 - 1e-9));
}

const WIDE = 1.5; // decades from which on ticks stand at powers of ten
const TICKS = 7;

// Places and labels on an axis of log10 values from `low` to `high`.
function powerTicks(low, high) {
  const places = [];
  if (high - low >= WIDE) {
    const step = Math.max(1, niceStep((high - low) / TICKS));
    for (let at = Math.ceil(low / step) * step; at <= high; at += step) places.push(Math.round(at));
    return { places, labels: places.map(powerLabel) };
  }
  const unit = Math.floor(high);
  const [first, last] = [10 ** (low - unit), 10 ** (high - unit)];
  const step = niceStep((last - first) / TICKS);
  const labels = [];
  for (let n = Math.max(1, Math.ceil(first / step)); n * step <= last; n++) {
    const mantissa = Number((n * step).toPrecision(6));
    places.push(unit + Math.log10(mantissa));
    labels.push(Math.abs(unit) <= 3 ? String(Number((mantissa * 10 ** unit).toPrecision(6))) : `${mantissa}\u00d7${powerLabel(unit)}`);
  }
  return { places, labels };
}

function powerLabel(exponent) {
  return exponent === 0 ? "1" : exponent === 1 ? "10" : `10<sup>${String(exponent).replace("-", "\u2212")}</sup>`;
}
