// One or two runs side by side: one clock for both, frame by frame, structure or result, and what differs.
const dialog = document.getElementById("compare");
const player = Object.fromEntries(
  ["sides", "play", "back", "frame", "forward", "time", "stage", "differences"].map((id) => [id, document.getElementById(id)]),
);
const UNKNOWN_RATE = 8;
const SMALL = 128; // pixels: so few are shown as they are, not smoothed
let sides = [];
let running = 0; // the pending animation frame while it plays

function openCompare(runs) {
  sides = runs.map(side);
  player.sides.replaceChildren(...sides.map(({ figure }) => figure));
  document.getElementById("compare-title").textContent = runs.length > 1 ? "Two runs" : "One run";
  player.stage.setAttribute("aria-pressed", "false");
  listDifferences(runs);
  chooseStage();
  if (!dialog.open) dialog.showModal();
  updatePlayback();
  show(0);
  if (mayPlay()) play();
}

function side(run) {
  const figure = document.createElement("figure");
  const video = figure.appendChild(document.createElement("video"));
  Object.assign(video, { muted: true, playsInline: true, preload: "auto" });
  video.className = run.shape;
  const picture = figure.appendChild(document.createElement("img"));
  Object.assign(picture, { className: run.shape, alt: "", hidden: true });
  video.addEventListener("resize", () => video.classList.toggle("pixels", video.videoWidth <= SMALL));
  const caption = figure.appendChild(document.createElement("figcaption"));
  const [stage, prompt, cost] = ["b", "p", "p"].map((tag) => caption.appendChild(document.createElement(tag)));
  prompt.textContent = run.prompt;
  prompt.dir = "auto";
  cost.textContent = run.cost;
  const one = { run, figure, video, picture, stage, next: null };
  video.addEventListener("loadedmetadata", () => show(Number(player.frame.value)));
  video.addEventListener("seeked", () => one.next !== null && seek(one, one.next));
  return one;
}

// Frames a second and length are the record's; where it has none, the file's.
const rate = ({ run }) => run.fps ?? UNKNOWN_RATE;
const count = (one) => one.run.frames ?? Math.max(1, Math.round((one.video.duration || 0) * rate(one)));
const length = (one) => count(one) / rate(one);
const finest = () => Math.max(...sides.map(rate));
const clocked = () => (sides.some(({ video }) => !video.hidden) ? sides.filter(({ video }) => !video.hidden) : sides);
const longest = () => clocked().reduce((a, b) => (length(b) > length(a) ? b : a));
const last = () => Math.max(0, Math.round(length(longest()) * finest()) - 1);

// The middle of a frame: at its borders, rounding decides which one is shown. A shorter video waits at its end.
function moment(one, time) {
  return (Math.min(Math.floor(time * rate(one) + 1e-6), count(one) - 1) + 0.5) / rate(one);
}

// One seek at a time, then the last one asked for: Chromium now and then never ends one that another overtook.
function seek(one, time) {
  one.next = one.video.seeking ? time : null;
  if (!one.video.seeking) one.video.currentTime = time;
}

function show(frame) {
  const shown = Math.min(Math.max(0, frame), last());
  for (const one of sides) seek(one, moment(one, shown / finest()));
  tell(shown);
}

function tell(frame) {
  player.frame.max = last();
  player.frame.value = frame;
  player.time.textContent = `frame ${frame + 1} of ${last() + 1}, ${(frame / finest()).toFixed(2)} s`;
  if (!running) player.frame.setAttribute("aria-valuetext", player.time.textContent);
}

function step(by) {
  pause();
  show(Number(player.frame.value) + by);
}

function pause() {
  cancelAnimationFrame(running);
  running = 0;
  for (const { video } of sides) video.pause();
  player.play.textContent = "Play";
}

function play() {
  if (Number(player.frame.value) >= last()) show(0);
  player.play.textContent = "Pause";
  for (const { video } of sides) video.play().catch(() => {});
  running = requestAnimationFrame(follow);
}

// The longest video is the clock. Another one that strays from it by more than a frame is put back.
function follow() {
  const clock = longest();
  const time = clock.video.currentTime;
  if (clock.video.ended || time >= length(clock) - 0.01) {
    show(0);
    for (const { video } of sides) video.play().catch(() => {});
  } else {
    for (const one of sides) {
      const waits = time >= length(one);
      if (waits) one.video.pause();
      else if (one !== clock && Math.abs(one.video.currentTime - time) > 1 / rate(one)) seek(one, time);
    }
    tell(Math.min(last(), Math.floor(time * finest())));
  }
  running = requestAnimationFrame(follow);
}

function chooseStage() {
  const structure = player.stage.getAttribute("aria-pressed") === "true";
  const wasPlaying = running;
  pause();
  const frame = Number(player.frame.value);
  for (const one of sides) {
    const address = structure ? one.run.structure : one.run.video;
    const other = structure ? one.run.video : one.run.structure;
    one.stage.textContent = (structure ? address : !address) ? "structure" : "result";
    if (!address) one.stage.textContent += structure ? ", no structure" : ", no result";
    if (address ?? other) display(one, address ?? other);
  }
  show(frame);
  if (wasPlaying) play();
}

// A picture that moves plays by itself: it has no clock, and no frame of it can be asked for.
function display(one, address) {
  const moves = one.run.picture && address === one.run.video;
  [one.video.hidden, one.picture.hidden] = [moves, !moves];
  const [shown, other] = moves ? [one.picture, one.video] : [one.video, one.picture];
  other.removeAttribute("src");
  other.load?.(); // else a video plays on unseen
  shown.src = address;
  if (moves) one.stage.textContent += ", plays by itself";
}

function listDifferences(runs) {
  const axes = runs.length > 1 ? variedAxes(runs) : data.axes.map((axis, index) => ({ ...axis, index }));
  const none = runs.length > 1 ? "Their settings are the same." : "";
  dialog.querySelector("caption").textContent = axes.length ? (runs.length > 1 ? "What differs" : "What differs from other runs") : none;
  player.differences.replaceChildren(...axes.map((axis) => {
    const row = document.createElement("tr");
    const head = row.appendChild(document.createElement("th"));
    head.scope = "row";
    head.textContent = axis.key;
    for (const run of runs) {
      const cell = row.insertCell();
      cell.dir = "auto";
      cell.textContent = valueOf(run, axis);
    }
    return row;
  }));
}

const KEYS = {
  ArrowLeft: () => step(-1), ",": () => step(-1), ArrowRight: () => step(1), ".": () => step(1),
  Home: () => step(-Infinity), End: () => step(Infinity),
  " ": () => player.play.click(), s: () => player.stage.click(),
};

function prepareCompare() {
  player.play.addEventListener("click", () => (running ? pause() : play()));
  player.back.addEventListener("click", () => step(-1));
  player.forward.addEventListener("click", () => step(1));
  player.frame.addEventListener("input", () => step(0));
  player.stage.addEventListener("click", () => {
    player.stage.setAttribute("aria-pressed", String(player.stage.getAttribute("aria-pressed") !== "true"));
    chooseStage();
  });
  document.getElementById("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    const presses = event.key === " " && event.target.matches("button"); // the button's own
    if (!plain || presses || !Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  dialog.addEventListener("close", () => {
    pause();
    player.sides.replaceChildren(); // their players go with them
    updatePlayback();
  });
}
