// What scrolls sideways can be scrolled with the keyboard: it takes the focus while it is too wide for its place.
(() => {
  const watch = new ResizeObserver((changes) => {
    for (const { target } of changes) {
      if (target.scrollWidth > target.clientWidth + 1) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  const kinds = "mjx-container[display], div.math, pre, .cell_output > .output, .book-table, .figure-data > div, "
    + "figure.wide, .pst-scrollable-table-container";
  const start = () => document.querySelectorAll(kinds).forEach((node) => watch.observe(node));
  window.addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(start));
})();

// On paper everything is open.
(() => {
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const part of closed) part.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const part of closed) part.open = false;
  });
})();
