// Videos in cards play while they are in view, or under the pointer or the focus. A card has a video element only then:
// browsers allow some dozens of players a page, and a page with a thousand of them opens slowly.
"use strict";

const MOST_PLAYING = 24;
const SETTLED = 100; // milliseconds without cards coming or going: nothing begins to play while the page scrolls by
const inView = new Set();
const players = new Map();
let pointedAt = null;
let mayPlay = () => false;
let settling = 0;

function preparePlayback(cards, allowed) {
  mayPlay = allowed;
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const card = target.closest(".card");
      if (isIntersecting) inView.add(card);
      else letGo(card);
    }
    clearTimeout(settling);
    settling = setTimeout(updatePlayback, SETTLED);
  }, { threshold: 0.2 });
  for (const card of cards) {
    if (!addressOf(card)) continue;
    watcher.observe(card.querySelector(".picture"));
    for (const come of ["pointerenter", "focusin"]) card.addEventListener(come, () => pointAt(card));
    for (const go of ["pointerleave", "focusout"]) card.addEventListener(go, () => pointAt(null));
  }
}

function addressOf(card) {
  return card.querySelector(".open")?.getAttribute("href") ?? null;
}

function pointAt(card) {
  pointedAt = card;
  updatePlayback();
}

function updatePlayback() {
  const wanted = new Set();
  if (!document.querySelector("dialog[open]")) {
    if (pointedAt) wanted.add(pointedAt);
    if (mayPlay()) for (const card of inView) if (wanted.size < MOST_PLAYING) wanted.add(card);
  }
  for (const [card, video] of players) if (!wanted.has(card)) rest(card, video);
  for (const card of wanted) {
    const video = players.get(card) ?? newPlayer(card);
    if (video.paused) video.play().catch(() => {}); // let go before it began, or not playable: told below
  }
}

// GIF, APNG and WebP are pictures to a browser: they move while they are there, and cannot be paused.
function isPicture(card) {
  return card.querySelector(".open").classList.contains("moves");
}

function rest(card, video) {
  if (isPicture(card)) remove(card, video);
  else video.pause();
}

function newPlayer(card) {
  const player = isPicture(card) ? newPicture(card) : newVideo(card);
  player.setAttribute("aria-hidden", "true"); // the link above it says what it is
  player.addEventListener("error", () => player.isConnected && tellUnplayable(card));
  card.querySelector(".open").before(player);
  players.set(card, player);
  return player;
}

function newPicture(card) {
  return Object.assign(document.createElement("img"), { className: "result", alt: "", src: addressOf(card) });
}

function newVideo(card) {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, loop: true, playsInline: true, src: addressOf(card) });
  // As if all had begun with the page: neighbours in a grid show the same moment.
  const join = () => { video.currentTime = (performance.now() / 1000) % video.duration; };
  video.addEventListener("loadedmetadata", join, { once: true });
  return video;
}

function letGo(card) {
  inView.delete(card);
  const video = players.get(card);
  if (video) remove(card, video);
}

function remove(card, video) {
  players.delete(card);
  video.remove();
  video.removeAttribute("src");
  video.load?.(); // else a video keeps its player until it is collected
}

function tellUnplayable(card) {
  letGo(card);
  const note = document.createElement("span");
  note.className = "only";
  note.textContent = "this browser cannot play it";
  card.querySelector(".open").before(note);
}
