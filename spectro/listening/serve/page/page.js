// What people do on the page: give a sound, see what the model makes of it, read its card.

import { Refusal, ask, json, show } from "./ask.js";
import { $, bars, clock, pairs, percent, plot } from "./draw.js";
import { record } from "./record.js";
import { Recording } from "./recording.js";

const FIRST = 8; // classes shown unasked
const MB = 1e6;

let model = null;
let recorder = null;
let recording = null;
let sound = null; // address of what the player plays
let turn = 0; // of the sounds given: what belongs to an earlier one is dropped

// ------------------------------------------------------------------------------- what is said

function say(text) {
  $("#status").textContent = text;
}

function complain(error) {
  say("");
  $("#wait").hidden = true;
  $("#problem").textContent = error.message;
  $("#problem").hidden = false;
}

function clear() {
  for (const part of ["#problem", "#result", "#recording", "#wait"]) $(part).hidden = true;
  if (recording) recording.close();
  recording = null;
  turn += 1;
}

// ------------------------------------------------------------------------------------ a sound

async function take(file) {
  clear();
  const mine = turn;
  play(file);
  try {
    const heard = file.size <= model.limits.max_mb * MB ? await predict(file) : null;
    if (mine !== turn) return;
    if (heard) showClip(heard);
    if (!heard || heard.seconds > heard.heard + 0.05) await scan(file, mine);
  } catch (error) {
    if (mine === turn) complain(error);
  }
}

async function predict(file) {
  say(`Listening to ${file.name}…`);
  const path = `predict?picture=true&name=${encodeURIComponent(file.name.slice(-255))}`;
  try {
    return await json(path, send(file));
  } catch (error) {
    if (error.status === 413) return null; // too long: that is a recording
    throw error;
  }
}

function send(file) {
  const headers = { "Content-Type": "application/octet-stream" };
  return { method: "POST", body: file, headers };
}

function play(file) {
  const player = $("#player");
  player.hidden = false;
  URL.revokeObjectURL(sound);
  sound = URL.createObjectURL(file);
  player.src = sound;
}

function showClip(heard) {
  $("#heard").textContent = `${heard.label}, ${percent(heard.probability)}`;
  const cut = heard.seconds > heard.heard + 0.05;
  const all = `${heard.name}, ${heard.seconds.toFixed(2)} s`;
  if (!heard.known) $("#heard").textContent = `none of its sounds (nearest: ${$("#heard").textContent})`;
  $("#extent").textContent = cut ? `${all}; this is about ${heard.heard.toFixed(2)} s of it` : all;
  $("#result").hidden = false;
  const { png, seconds, frequencies } = heard.picture;
  const told = `Spectrogram of ${heard.name}: ${seconds} s, mostly ${heard.label}`;
  plot($("#clip-picture"), `data:image/png;base64,${png}`, { start: 0, end: seconds, frequencies, told });
  const labels = Object.keys(heard.probabilities);
  bars($("#bars"), heard.probabilities, FIRST);
  const more = $("#more");
  more.hidden = labels.length <= FIRST;
  more.textContent = `Show all ${labels.length} classes`;
  more.onclick = () => {
    bars($("#bars"), heard.probabilities, labels.length);
    more.hidden = true;
  };
  say(`${heard.name}: ${$("#heard").textContent}`);
}

// -------------------------------------------------------------------------- a long recording

async function scan(file, mine) {
  if (file.size > model.limits.max_scan_mb * MB) {
    throw new Refusal(413, `${file.name} is larger than ${model.limits.max_scan_mb} MB; give a part`);
  }
  say(`Sending ${file.name}…`);
  const path = `scan?name=${encodeURIComponent(file.name.slice(-255))}`;
  let state = await json(path, send(file));
  const stopped = () => mine !== turn;
  $("#stop").onclick = () => {
    clear();
    ask(`scan/${state.id}`, { method: "DELETE" }).catch(() => {});
    say("Stopped.");
  };
  $("#wait").hidden = false;
  for (let wait = 100; state.state !== "done"; wait = Math.min(1000, wait * 1.3)) {
    if (stopped()) {
      ask(`scan/${state.id}`, { method: "DELETE" }).catch(() => {});
      return;
    }
    if (state.state === "failed") throw new Refusal(422, state.error);
    follow(state);
    await new Promise((resolve) => { setTimeout(resolve, wait); });
    state = await json(`scan/${state.id}`);
  }
  if (stopped()) return;
  $("#wait").hidden = true;
  recording ??= new Recording(state, model.labels);
  recording.finish(state);
  say(`Done: ${$("#scanned").textContent}`);
}

function follow(state) {
  $("#progress").value = state.progress;
  const verb = { waiting: "Waiting for other scans", drawing: "Drawing", listening: "Listening" };
  const share = state.state === "waiting" ? "" : ` ${Math.round(100 * state.progress)} %`;
  const text = `${verb[state.state]}: ${state.name}${share}`;
  if ($("#status").textContent !== text) say(text);
  if (state.state === "listening" && !recording) recording = new Recording(state, model.labels);
}

// -------------------------------------------------------------------------------- microphone

async function toggle() {
  const button = $("#record");
  if (recorder) {
    const file = await recorder.stop();
    recorder = null;
    settle();
    take(file);
    return;
  }
  button.disabled = true;
  try {
    recorder = await record(level);
    button.textContent = "Stop and listen";
    button.setAttribute("aria-pressed", "true");
    $("#meter").hidden = false;
    $("#problem").hidden = true;
    say("Recording.");
  } catch (error) {
    complain(error);
  }
  button.disabled = false;
}

function settle() {
  $("#record").textContent = "Record";
  $("#record").setAttribute("aria-pressed", "false");
  $("#meter").hidden = true;
}

function level(seconds, loudest, over) {
  $("#clock").textContent = `${seconds.toFixed(1)} s`;
  const db = 20 * Math.log10(loudest + 1e-6);
  $("#meter b").style.width = `${Math.max(0, Math.min(100, 100 + (db * 100) / 60))}%`;
  if (over && recorder) toggle();
}

// --------------------------------------------------------------------------------- the model

function showModel() {
  const { arch, members, labels, seconds, hop, limits } = model;
  const networks = members > 1 ? `${members} networks (${arch})` : arch;
  $("#about").textContent = `${model.name}: ${networks}, ${labels.length} classes, `
    + `heard in windows of ${seconds} s.`;
  $("#formats").textContent = "WAV, FLAC, MP3, Ogg and what else the service reads; a longer one is "
    + `searched for events, up to ${limits.max_scan_hours} h and ${limits.max_scan_mb} MB.`;
  pairs($("#card"), [
    ["Model", `${model.name} (${model.hash || "no hash"})`],
    ["Network", `${networks}, run by ${model.backend}`],
    ["Classes", labels.join(", ")],
    ["Windows", `${seconds} s long, one every ${hop} s in a scan`],
    ["Events", `raised at ${model.events.on}, ended below ${model.events.off}`
      + `${Object.keys(model.events.classes).length ? ", some classes by thresholds of their own" : ""}`
      + `${model.site ? `, at ${model.site}` : ""}`],
    ["Licence of the sounds", model.licence || "not stated"],
    ["Version", `spectro ${model.version}`],
  ]);
  const settings = Object.entries(model.spectrogram);
  pairs($("#picture-card"), settings.map(([name, value]) => [name, String(value ?? "not set")]));
  for (const name of ["training", "scores"]) {
    const text = JSON.stringify(model[name], null, 2);
    $(`#${name}-card`).textContent = text === "{}" ? "not stated" : text;
  }
  $("#give").hidden = false;
  $("#card-part").hidden = false;
}

async function enter() {
  try {
    model = await json("model");
  } catch (error) {
    if (error.status !== 401) return complain(error);
    $("#door").hidden = false;
    $("#about").textContent = "This service is not open to all.";
    return $("#token").focus();
  }
  $("#door").hidden = true;
  return showModel();
}

// ------------------------------------------------------------------------------------- hands

$("#door").addEventListener("submit", (event) => {
  event.preventDefault();
  show($("#token").value);
  $("#token").value = "";
  enter();
});
$("#file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = ""; // the same file may be given again
  if (file) take(file);
});
$("#record").addEventListener("click", toggle);

for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    $("#drop").classList.add("over");
  });
}
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("#drop").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("#drop").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file && model) take(file);
});

const player = $("#player");
player.addEventListener("timeupdate", () => {
  if (recording && !player.paused) recording.go(player.currentTime);
});
player.addEventListener("error", () => { // seen and judged all the same
  if (player.src) player.hidden = true;
});
$("#scrub").addEventListener("input", () => recording?.seek(Number($("#scrub").value)));
$("#scrub").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 }[event.key];
  if (!step || !recording) return;
  event.preventDefault(); // a second is a step, whatever the length
  recording.seek(recording.at + step);
});
$("#before").addEventListener("click", () => recording?.next(-1));
$("#after").addEventListener("click", () => recording?.next(1));
addEventListener("keydown", (event) => {
  if (!recording || event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && event.target.type !== "range") return;
  if (event.key === "n") recording.next(1);
  if (event.key === "p") recording.next(-1);
});
addEventListener("pagehide", () => recording?.close());

enter();
