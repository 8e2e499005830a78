
"use strict";
// Sorting and filtering of one table, and open findings on paper. Nothing is loaded, nothing is stored.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const down = header.getAttribute("aria-sort") === "ascending";
      const number = header.dataset.kind === "number";
      const key = (row) => number ? Number(row.cells[column].dataset.value) : row.cells[column].textContent;
      const keyed = [...body.rows].map((row) => [key(row), row]);
      keyed.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0) * (down ? -1 : 1));
      body.append(...keyed.map(([, row]) => row));
      headers.forEach((each) => each.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
}
for (const input of document.querySelectorAll("input[data-filter]")) {
  const rows = [...document.getElementById(input.dataset.filter).tBodies[0].rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const told = document.querySelector(`output[for="${input.id}"]`);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, index) => {
      row.hidden = !words.every((word) => texts[index].includes(word));
      shown += !row.hidden;
    });
    told.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
  });
}
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details:not([open])")) {
    each.open = true;
    each.dataset.forPaper = "";
  }
});
addEventListener("afterprint", () => {
  for (const each of document.querySelectorAll("details[data-for-paper]")) {
    each.open = false;
    delete each.dataset.forPaper;
  }
});
