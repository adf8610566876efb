const table = document.querySelector(".weights table"), body = table.tBodies[0], rows = [...body.rows];
const form = document.querySelector("form");
const text = (row, column) => row.cells[column].textContent;

function value(row, column) { // a number, if the text is one
  const number = Number(text(row, column).replaceAll("−", "-").replace("< ", "").replace("∞", "Infinity"));
  return Number.isNaN(number) ? text(row, column) : number;
}

function compare(a, b) {
  const numbers = typeof a === "number" && typeof b === "number";
  return numbers ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

function sort(header) {
  const column = Number(header.dataset.column), down = header.ariaSort === "ascending";
  for (const other of table.querySelectorAll("[aria-sort]")) other.ariaSort = null;
  header.ariaSort = down ? "descending" : "ascending";
  rows.sort((a, b) => (down ? -1 : 1) * compare(value(a, column), value(b, column)));
  body.append(...rows);
}

function select() {
  const one = form.elements.class?.value, part = form.elements.factor.value.toLowerCase();
  for (const row of rows)
    row.hidden = (one && text(row, 1) !== one) || !text(row, 0).toLowerCase().includes(part);
  form.querySelector("output").value = `${rows.filter(row => !row.hidden).length} of ${rows.length} rows`;
}

for (const button of table.querySelectorAll("th button"))
  button.addEventListener("click", () => sort(button.closest("th")));
form.addEventListener("input", select);
form.addEventListener("submit", event => event.preventDefault());
form.hidden = false;
select();
