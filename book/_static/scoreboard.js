// Filter and sorting of the scoreboard. Without this script the whole table shows and the form stays hidden.
(() => {
  const form = document.querySelector(".score-filter");
  const table = document.querySelector(".scoreboard table");
  if (!form || !table) return;
  const { verdict, order } = form.elements;
  const search = form.querySelector("input");
  const output = form.querySelector("output");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((node) => ({ node, text: node.textContent.toLowerCase() }));
  let announcement;

  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = words.every((word) => row.text.includes(word))
        && (!verdict.value || row.node.dataset.verdict === verdict.value);
      row.node.hidden = !fits;
      shown += fits;
    }
    // Wait for the end of typing, so that a screen reader hears one count.
    clearTimeout(announcement);
    announcement = setTimeout(() => { output.textContent = `${shown} of ${rows.length} derivations`; }, 300);
  };

  const value = (row, column) => {
    const cell = row.cells[column];
    const number = cell.querySelector("[data-sort]");
    return number ? Number(number.dataset.sort) : cell.textContent.toLowerCase();
  };

  const sort = (column, down) => {
    const header = table.tHead.rows[0].cells[column];
    order.value = column;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const sorted = rows.map((row) => row.node).sort((one, two) => {
      const [a, b] = [value(one, column), value(two, column)];
      const step = typeof a === "number" ? a - b : a.localeCompare(b);
      return down ? -step : step;
    });
    body.append(...sorted);
  };

  [...table.tHead.rows[0].cells].forEach((header, column) => {
    if (column === 1 || column === 2) return; // figures of different units have no order
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => sort(column, header.getAttribute("aria-sort") === "ascending"));
  });

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", apply);
  order.addEventListener("change", () => sort(Number(order.value), false));
  form.hidden = false;
  apply();
})();
