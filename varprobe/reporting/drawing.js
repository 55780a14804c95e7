"use strict";
// What needs plotly: the first drawing, and every one that light, dark or paper asks for.

function redraw() {
  update();
  showPair();
}

redraw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
for (const moment of ["beforeprint", "afterprint"]) {
  addEventListener(moment, () => {
    document.documentElement.classList.toggle("paper", moment === "beforeprint");
    redraw();
  });
}
performance.mark("varprobe-ready");
