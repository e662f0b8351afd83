// One event after the other: seen and heard at once, a key a verdict, the next ones loaded before.

import { $, clock, element, percent, plot } from "./draw.js";

let state = null;
let busy = false;
let shown = null;
let began = 0; // of this sitting, in ms
let judged = 0;
const kept = new Map(); // number of an event -> promise of its picture and sound

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The review does not answer any more; start it again, nothing is lost.");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.detail ?? `the review answered ${answer.status}`);
}

function complain(error) {
  $("#problem").textContent = error.message;
  $("#problem").hidden = false;
}

// --------------------------------------------------------------------------- loading ahead

function load(number) {
  if (!kept.has(number)) {
    const parts = ["picture", "sound"].map(async (part) => {
      const blob = await (await ask(`events/${number}/${part}`)).blob();
      return URL.createObjectURL(blob);
    });
    const both = Promise.all(parts);
    both.catch(() => {}); // told when it is shown
    kept.set(number, both);
  }
  return kept.get(number);
}

async function drop(number) {
  const both = kept.get(number);
  kept.delete(number);
  for (const src of await both.catch(() => [])) URL.revokeObjectURL(src);
}

function loadAhead() {
  const wanted = new Set(state.next.filter((item) => !item.error).map((item) => item.number));
  for (const number of wanted) load(number);
  for (const number of [...kept.keys()]) if (!wanted.has(number)) drop(number);
}

// ----------------------------------------------------------------------------- showing it

function count() {
  const done = state.yes + state.no + state.other;
  const all = done + state.left;
  $("#progress").value = all ? done / all : 1;
  const minutes = (performance.now() - began) / 60000;
  const rate = began && judged > 4 ? `, ${Math.round((60 * judged) / minutes).toLocaleString("en")} an hour` : "";
  $("#counts").textContent = `${state.left.toLocaleString("en")} left; ${state.yes} yes, ${state.no} no, `
    + `${state.other} another class${rate}`;
}

async function show() {
  count();
  const [item] = state.next;
  $("#item").hidden = !item;
  $("#end").hidden = Boolean(item);
  $("#which").hidden = true;
  if (!item) return finish();
  loadAhead();
  shown = item.number;
  const { event } = item;
  $("#label").textContent = event.label;
  const when = event.begin_time ? `, ${event.begin_time.replace("T", " ").slice(0, 19)}` : "";
  const where = event.site ? `, ${event.site}` : "";
  $("#about").textContent = `${percent(event.peak)} at its peak; ${event.recording}, `
    + `${clock(event.start, 1)} to ${clock(event.end, 1)}${when}${where}`;
  const others = state.labels.filter((label) => label !== event.label && label !== state.negative);
  $("#classes").replaceChildren(...others.slice(0, 9).flatMap((label, i) => [
    element("kbd", { textContent: i + 1 }), ` ${label} `,
  ]));
  $("#labels").replaceChildren(...state.labels.map((value) => element("option", { value })));
  if (item.error) {
    $("#plot").replaceChildren();
    return complain(new Error(`${item.error}; skip it`));
  }
  try {
    const [src, sound] = await load(item.number);
    if (shown !== item.number) return;
    draw(item, src);
    $("#player").src = sound;
    $("#player").play().catch(() => {}); // where the browser wants a click first
  } catch (error) {
    complain(error);
  }
}

function draw(item, src) {
  const { start, end, frequencies, event } = item;
  const told = `Spectrogram from ${clock(start, 1)} to ${clock(end, 1)}`;
  const field = plot($("#plot"), src, { start, end, frequencies, told });
  const mark = element("div", { className: "event" });
  const until = Math.min(event.end, end);
  mark.style.left = `${(100 * (event.start - start)) / (end - start)}%`;
  mark.style.width = `${(100 * (until - event.start)) / (end - start)}%`;
  field.append(mark, element("div", { className: "head" }));
}

function follow() {
  const head = $("#plot .head");
  const player = $("#player");
  if (head && player.duration) head.style.left = `${(100 * player.currentTime) / player.duration}%`;
  requestAnimationFrame(follow);
}

function finish() {
  shown = null;
  $("#player").pause();
  const done = state.yes + state.no + state.other;
  $("#summary").textContent = `${done.toLocaleString("en")} verdicts are in ${state.out}: `
    + `${state.yes} yes, ${state.no} no (as ${state.negative}), ${state.other} another class. `
    + "spectro render reads it as clips. Skipped events come again the next time. Ctrl-C in the terminal ends the review.";
}

// ------------------------------------------------------------------------------- verdicts

async function change(path, body) {
  if (busy) return;
  wait(true);
  $("#problem").hidden = true;
  try {
    state = await (await ask(path, body)).json();
    await show();
  } catch (error) {
    complain(error);
  }
  wait(false);
}

function wait(on) { // no verdict on what is not shown yet
  busy = on;
  $("#item").setAttribute("aria-busy", String(on));
}

function give(verdict, label = "") {
  if (shown === null || busy) return;
  judged += 1;
  const word = { yes: `yes, ${$("#label").textContent}`, no: "no", skip: "skipped", other: label };
  $("#status").textContent = `Before: ${word[verdict]}`;
  change("verdict", { number: shown, verdict, label });
}

function undo() {
  judged = Math.max(0, judged - 1);
  $("#status").textContent = "Taken back";
  change("undo", {});
}

function again() {
  $("#player").currentTime = 0;
  $("#player").play();
}

function choose(open) {
  $("#which").hidden = !open;
  $("#other").setAttribute("aria-expanded", String(open));
  if (open) $("#name").focus();
  else $("#name").blur();
}

function begin() {
  if ($("#begin").hidden) return;
  $("#begin").hidden = true;
  began = performance.now();
  show();
}

const KEYS = {
  y: () => give("yes"),
  n: () => give("no"),
  s: () => give("skip"),
  o: () => choose(true),
  u: undo,
  Backspace: undo,
  " ": again,
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || state === null) return;
  if (event.target.id === "name") {
    if (event.key === "Escape") choose(false);
    return;
  }
  if (!$("#begin").hidden) {
    if (event.key === "Enter" && event.target.id !== "start") begin();
    return;
  }
  if (event.key === " " && event.target.tagName === "BUTTON") return; // that button's own
  const label = $("#classes").querySelectorAll("kbd")[Number(event.key) - 1];
  const act = KEYS[event.key] ?? (label && (() => give("other", label.nextSibling.textContent.trim())));
  if (!act) return;
  event.preventDefault();
  act();
});
$("#start").addEventListener("click", begin);
for (const verdict of ["yes", "no", "skip"]) $(`#${verdict}`).addEventListener("click", () => give(verdict));
$("#other").addEventListener("click", () => choose($("#which").hidden));
$("#undo").addEventListener("click", undo);
$("#undo-last").addEventListener("click", undo);
$("#again").addEventListener("click", again);
$("#which").addEventListener("submit", (event) => {
  event.preventDefault();
  const label = $("#name").value.trim();
  $("#name").value = "";
  choose(false);
  if (label) give("other", label);
});

try {
  state = await (await ask("state")).json();
  count();
  $("#intro").textContent = `${state.left.toLocaleString("en")} of ${state.total.toLocaleString("en")} events wait, `
    + `the most uncertain first. Each is seen and heard at once; verdicts go to ${state.out} as you give them.`;
  $("#start").hidden = false;
  $("#start").focus();
  if (state.next.length) loadAhead();
  follow();
} catch (error) {
  complain(error);
}
