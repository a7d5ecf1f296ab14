// The grid: a table of the shown cards by two of the settings that differ between them.
const MOST_CELLS = 20000;
const WIDEST = 24; // more columns than this are not chosen unasked
const NONE = "-";

function variedAxes(runs) {
  return data.axes.map((axis, index) => ({ ...axis, index }))
    .filter(({ index }) => runs.some((run) => run.at[index] !== runs[0].at[index]));
}

function valueOf(run, axis) {
  return run.at[axis.index] < 0 ? "not set" : axis.values[run.at[axis.index]];
}

function defaultAxes(axes) {
  const swept = axes.filter((axis) => axis.swept);
  const columns = swept.find((axis) => axis.key !== "prompt" && axis.values.length <= WIDEST);
  const rows = swept.find((axis) => axis !== columns);
  return { rows: rows?.key ?? NONE, columns: columns?.key ?? NONE };
}

function offerAxes(select, axes, chosen) {
  const groups = [["set", axes.filter((axis) => axis.swept)], ["follows", axes.filter((axis) => !axis.swept)]];
  select.replaceChildren(new Option("nothing", NONE));
  for (const [label, members] of groups) {
    if (!members.length) continue;
    const group = document.createElement("optgroup");
    group.label = label;
    group.append(...members.map((axis) => new Option(axis.key, axis.key)));
    select.append(group);
  }
  select.value = chosen;
  if (select.selectedIndex < 0) select.value = NONE;
}

// Values in the axis' own order; a place for runs without one comes last.
function lines(runs, axis) {
  if (!axis) return [{ position: null, text: "" }];
  const positions = [...new Set(runs.map((run) => run.at[axis.index]))].sort((a, b) => (a < 0) - (b < 0) || a - b);
  return positions.map((position) => ({ position, text: position < 0 ? "not set" : axis.values[position] }));
}

function fillGrid(place, runs, axes, chosen) {
  const [rowAxis, columnAxis] = [chosen.rows, chosen.columns].map((key) => axes.find((axis) => axis.key === key));
  const [rows, columns] = [lines(runs, rowAxis), lines(runs, columnAxis)];
  if (rows.length * columns.length > MOST_CELLS) {
    const note = document.createElement("p");
    note.textContent = `${rows.length} rows and ${columns.length} columns are too many: filter, or choose others.`;
    return place.replaceChildren(note);
  }
  const others = axes.filter((axis) => axis.swept && axis !== rowAxis && axis !== columnAxis);
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  const corner = head.appendChild(document.createElement("td"));
  for (const name of [rowAxis && `↓ ${rowAxis.key}`, columnAxis && `→ ${columnAxis.key}`].filter(Boolean)) {
    corner.appendChild(document.createElement("div")).textContent = name;
  }
  head.append(...columns.map((column) => headCell(column.text, "col")));
  const body = table.createTBody();
  const cells = new Map();
  for (const row of rows) {
    const line = body.insertRow();
    line.append(headCell(row.text, "row"));
    for (const column of columns) cells.set(`${row.position} ${column.position}`, line.insertCell());
  }
  for (const run of runs) {
    run.card.querySelector(".rest").textContent = others.map((axis) => `${shortKey(axis)} ${valueOf(run, axis)}`).join(" · ");
    const at = (axis) => (axis ? run.at[axis.index] : null);
    cells.get(`${at(rowAxis)} ${at(columnAxis)}`).append(run.card);
  }
  return place.replaceChildren(table);
}

function shortKey(axis) {
  return axis.key.split(".").at(-1);
}

function headCell(text, scope) {
  const cell = document.createElement("th");
  cell.scope = scope;
  const inner = cell.appendChild(document.createElement("div"));
  inner.dir = "auto";
  inner.textContent = text;
  inner.title = text;
  return cell;
}
