// The list: what is filtered, sorted, ticked; the address says it, so a view can be linked to.
const data = JSON.parse(document.getElementById("data").textContent);
const [controls, list, grid, tray] = ["controls", "cards", "grid", "tray"].map((id) => document.getElementById(id));
const axisOf = (key) => data.axes.findIndex((axis) => axis.key === key);
const runs = [...list.children].map((card, index) => runOf(card, index));
const ticked = new Set();
let defaults = {};

function runOf(card, index) {
  const address = addressOf(card);
  const fact = data.runs[index];
  return {
    ...fact, card, index,
    tick: card.querySelector(".tick input"),
    prompt: card.querySelector(".prompt").textContent,
    cost: [...card.querySelectorAll(".cost span")].map((span) => span.textContent).join(", "),
    video: address === fact.structure ? null : address,
    shape: card.querySelector(".picture").classList[1],
    group: fact.folder.split("/").slice(0, -1).join("/") || ".",
  };
}

// What the filter looks through: what the card says without its details, and every setting that differs, as key=value.
function wordsOf(run) {
  run.words ??= [
    ...[...run.card.querySelectorAll(".prompt, .cost, .error, .overrides, .status, .only")].map((part) => part.textContent),
    run.folder, run.card.classList.contains("done") ? "done" : "",
    ...data.axes.map((axis, index) => `${axis.key}=${axis.values[run.at[index]] ?? ""}`),
  ].join("\n").toLowerCase();
  return run.words;
}

function chosenRuns() {
  const wanted = controls.q.value.toLowerCase().split(/\s+/).filter(Boolean);
  const folder = controls.folder.value;
  return runs.filter((run) => (!folder || run.group === folder) && wanted.every((word) => wordsOf(run).includes(word)));
}

// Runs that lack what is sorted by come last, either way round.
function sorted(chosen) {
  const key = controls.sort.value;
  const axis = axisOf(key);
  const value = (run) => (["", "prompt", "seed"].includes(key) ? (key ? run.at[axis] ?? 0 : run.index) : run[key]);
  const missing = (found) => found === null || found === "" || found < 0;
  const sign = controls.reverse.checked ? -1 : 1;
  const rank = key === "prompt" && axis >= 0 ? alphabetically(data.axes[axis].values) : (found) => found;
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  return chosen.map((run) => ({ run, found: value(run) })).sort((a, b) =>
    missing(a.found) - missing(b.found) || sign * compare(rank(a.found), rank(b.found)) || a.run.index - b.run.index
  ).map(({ run }) => run);
}

function alphabetically(values) {
  const order = values.map((_, index) => index).sort((a, b) => values[a].localeCompare(values[b]));
  const places = new Map(order.map((index, place) => [index, place]));
  return (index) => places.get(index) ?? -1;
}

function update() {
  const shown = sorted(chosenRuns());
  const asGrid = controls.grid.checked && shown.length > 0;
  document.getElementById("count").textContent = `${shown.length} of ${runs.length} runs`;
  document.getElementById("nothing").hidden = shown.length > 0;
  document.getElementById("axes").hidden = !asGrid;
  [list.hidden, grid.hidden] = [asGrid, !asGrid];
  if (asGrid) showGrid(shown);
  else arrange(list, shown);
  updatePlayback();
  remember();
}

// Nodes that are moved lose their videos' state, so they stay where the order is right already.
function arrange(place, shown) {
  const there = [...place.children];
  const wanted = shown.map((run) => run.card);
  if (there.length !== wanted.length || there.some((card, index) => card !== wanted[index])) place.replaceChildren(...wanted);
}

function showGrid(shown) {
  const axes = variedAxes(shown);
  const usual = defaultAxes(axes);
  const chosen = Object.fromEntries(["rows", "columns"].map((name) => {
    offerAxes(controls[name], axes, asked[name] ?? usual[name]);
    return [name, controls[name].value];
  }));
  fillGrid(grid, shown, axes, chosen);
}

// Rows and columns that somebody has chosen, as long as the runs differ in them.
const asked = {};

function tick(run, on) {
  ticked.delete(run);
  if (on) ticked.add(run);
  while (ticked.size > 2) ticked.delete(ticked.values().next().value); // the one ticked longest ago
  for (const other of runs) other.tick.checked = ticked.has(other);
  const names = [...ticked].map((one) => `${one.prompt.slice(0, 60)} (${one.cost})`);
  document.getElementById("ticked").textContent = names.length === 1 ? `${names[0]}; tick another run to compare` : names.join("  ⇄  ");
  document.getElementById("open-compare").disabled = ticked.size < 2;
  tray.hidden = ticked.size === 0;
}

// The address after the # says what differs from the page as it opens.
function remember() {
  const view = new URLSearchParams();
  for (const [name, value] of Object.entries(values())) if (value !== defaults[name]) view.set(name, value);
  for (const [name, value] of Object.entries(asked)) view.set(name, value);
  for (const run of ticked) view.append("compare", run.folder);
  const hash = `#${view}`;
  if (hash !== (location.hash || "#")) history.replaceState(null, "", hash);
}

function values() {
  return Object.fromEntries(["q", "folder", "sort", "reverse", "grid", "play"].map((name) => {
    const control = controls[name];
    return [name, control.type === "checkbox" ? (control.checked ? "1" : "0") : control.value];
  }));
}

function recall() {
  const view = new URLSearchParams(location.hash.slice(1));
  for (const [name, usual] of Object.entries(defaults)) {
    const control = controls[name];
    const value = view.get(name) ?? usual;
    if (control.type === "checkbox") control.checked = value === "1";
    else control.value = value;
  }
  if (controls.folder.selectedIndex < 0) controls.folder.value = "";
  if (controls.sort.selectedIndex < 0) controls.sort.value = "";
  for (const name of ["rows", "columns"]) {
    delete asked[name];
    if (view.has(name)) asked[name] = view.get(name);
  }
  const linked = view.getAll("compare").map((folder) => runs.find((run) => run.folder === folder)).filter(Boolean);
  for (const run of [...ticked]) tick(run, false);
  for (const run of linked) tick(run, true);
  update();
  if (ticked.size === 2) openCompare([...ticked]);
}

function offerFolders() {
  const groups = [...new Set(runs.map((run) => run.group))];
  document.getElementById("folders").hidden = groups.length < 2;
  controls.folder.append(...groups.map((group) => new Option(group === "." ? "here" : group, group)));
}

function openTicked() {
  if (ticked.size === 2) openCompare([...ticked]);
}

function prepareCards() {
  for (const run of runs) {
    run.tick.addEventListener("change", () => { tick(run, run.tick.checked); remember(); });
    run.card.querySelector(".open")?.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // the link, in a tab of its own
      event.preventDefault();
      openCompare([run]);
    });
  }
}

function prepareControls() {
  controls.play.checked = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  defaults = values();
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", ({ target }) => {
    if (["rows", "columns"].includes(target.name)) asked[target.name] = target.value;
    update();
  });
  document.getElementById("clear-filter").addEventListener("click", () => {
    [controls.q.value, controls.folder.value] = ["", ""];
    update();
    controls.q.focus();
  });
  document.getElementById("open-compare").addEventListener("click", openTicked);
  document.getElementById("clear-compare").addEventListener("click", () => {
    for (const run of [...ticked]) tick(run, false);
    remember();
  });
  document.addEventListener("keydown", (event) => {
    const writing = event.target.matches("input:not([type=checkbox]), select, textarea");
    if (event.key === "c" && !writing && !dialog.open && !event.ctrlKey && !event.metaKey && !event.altKey) openTicked();
  });
}

offerFolders();
prepareCompare();
prepareControls();
prepareCards();
preparePlayback(list.children, () => controls.play.checked);
addEventListener("hashchange", recall);
recall();
