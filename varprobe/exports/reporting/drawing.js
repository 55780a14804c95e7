"use strict";
// What needs plotly: the first drawing, and every one that light, dark or paper asks for.

function redraw(colored) {
  update(colored);
  showPair();
}

redraw(false);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(true));
for (const moment of ["beforeprint", "afterprint"]) {
  addEventListener(moment, () => {
    document.documentElement.classList.toggle("paper", moment === "beforeprint");
    redraw(true);
  });
}
performance.mark("varprobe-ready");
