// Filter and sorting of the scoreboard. Without this script the whole table shows and the form stays hidden.
(() => {
  const form = document.querySelector(".score-filter");
  const table = document.querySelector(".scoreboard table");
  if (!form || !table) return;
  const [search, verdict] = [form.querySelector("input"), form.querySelector("select")];
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
    announcement = setTimeout(() => { output.textContent = `${shown} of ${rows.length} figures`; }, 300);
  };

  const value = (row, column) => {
    const cell = row.cells[column];
    const number = cell.querySelector("[data-sort]");
    return number ? Number(number.dataset.sort) : cell.textContent.toLowerCase();
  };

  const sort = (column, header) => {
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const sorted = rows.map((row) => row.node).sort((one, two) => {
      const [a, b] = [value(one, column), value(two, column)];
      const order = typeof a === "number" ? a - b : a.localeCompare(b);
      return down ? -order : order;
    });
    body.append(...sorted);
  };

  [...table.tHead.rows[0].cells].forEach((header, column) => {
    if (column === 1 || column === 2) return; // figures of different units have no order
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => sort(column, header));
  });

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", apply);
  form.hidden = false;
  apply();
})();
