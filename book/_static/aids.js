// What scrolls sideways can be scrolled with the keyboard: it takes the focus while it is too wide for its place.
// The theme does this for every cell of a page at once, which lays all of them out; here each waits until it shows.
(() => {
  const watch = new ResizeObserver((changes) => {
    for (const { target } of changes) {
      if (target.scrollWidth > target.clientWidth + 1) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  const kinds = "div.math, pre, .cell_output > .output, .book-table, .figure-data > div, "
    + "figure.wide, .pst-scrollable-table-container";
  const look = (node) => { watch.unobserve(node); watch.observe(node); };
  window.addEventListener("load", () => document.querySelectorAll(kinds).forEach(look));
  document.addEventListener("typeset", (event) => event.target.querySelectorAll("mjx-container[display]").forEach(look));
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
