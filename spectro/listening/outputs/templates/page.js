"use strict";
(() => {
  const about = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const total = Math.max(about.seconds, 1e-3);
  const classes = about.classes.map((one, i) => ({ ...one, track: bytes(one.track), shown: true, colour: `--c${i % 8}` }));
  const byId = new Map(classes.map((one) => [one.id, one]));
  const [starts, ends] = about.windows.map(floats);
  const events = about.events.map(([start, end, id, mean, peak], number) => ({ start, end, id, mean, peak, number, media: about.media[number] }));
  const longest = events.reduce((most, event) => Math.max(most, event.end - event.start), 0);
  const image = new Image();
  const audio = $("audio");
  const line = $("line"), map = $("map");
  const state = { from: 0, to: total, at: 0, event: null, rows: 0, url: "", offset: 0, until: Infinity, source: "" };
  const LANE = 30, TICKS = 20, PICTURE = 168, PAGE = 300, LEAST = Math.min(2, total);

  const two = (n) => String(n).padStart(2, "0");
  const clock = (t) => {
    const tenths = Math.floor(t * 10 + 1e-6), s = Math.floor(tenths / 10);
    return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}.${tenths % 10}`;
  };
  // The recorder's own wall clock: its zone, if it has one, is not turned into the reader's.
  const begun = about.begin.match(/^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)(?:\.(\d+))?/);
  const wall = (t) => {
    if (!begun) return "";
    const [, y, mo, d, h, mi, s] = begun.map(Number);
    return new Date(Date.UTC(y, mo - 1, d, h, mi, s) + t * 1000).toISOString().slice(0, 19).replace("T", " ");
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const lanes = () => classes.filter((one) => one.shown && (one.count || $("all").checked));
  const visible = (event) => byId.has(event.id) && byId.get(event.id).shown;
  const label = (event) => (byId.has(event.id) ? byId.get(event.id).label : "?");

  // ------------------------------------------------------------------------------------- drawing
  let waiting = false;
  const draw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; drawLine(); drawMap(); });
  };
  const prepare = (canvas, height) => {
    const scale = window.devicePixelRatio || 1, width = canvas.clientWidth;
    if (height) canvas.style.height = `${height}px`;
    const tall = height || canvas.clientHeight;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(tall * scale);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.clearRect(0, 0, width, tall);
    return [context, width, tall];
  };
  const paintImage = (context, from, to, width, y, height) => {
    if (!image.complete || !image.naturalWidth) return;
    const each = about.column, most = about.columns;
    const a = Math.max(0, from / each), b = Math.min(most, to / each);
    if (b <= a) return;
    const x = (t) => ((t - from) / (to - from)) * width;
    context.imageSmoothingEnabled = (b - a) > width;
    context.drawImage(image, a, 0, b - a, image.naturalHeight, x(a * each), y, x(b * each) - x(a * each), height);
  };
  const step = (span, width) => {
    const steps = [0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
    return steps.find((s) => (s / span) * width >= 90) || 21600;
  };
  const firstAfter = (t) => { // of events, by start
    let low = 0, high = events.length;
    while (low < high) { const middle = (low + high) >> 1; if (events[middle].start < t) low = middle + 1; else high = middle; }
    return low;
  };
  const firstColumn = (t) => {
    let low = 0, high = starts.length;
    while (low < high) { const middle = (low + high) >> 1; if (ends[middle] < t) low = middle + 1; else high = middle; }
    return low;
  };
  function drawLine() {
    const rows = lanes();
    const [context, width, height] = prepare(line, PICTURE + TICKS + Math.max(1, rows.length) * LANE);
    const { from, to } = state, x = (t) => ((t - from) / (to - from)) * width;
    context.fillStyle = "#000003";
    context.fillRect(0, 0, width, PICTURE);
    paintImage(context, from, to, width, 0, PICTURE);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    const every = step(to - from, width);
    context.fillStyle = colour("--soft");
    context.strokeStyle = colour("--rule");
    for (let t = Math.ceil(from / every) * every; t <= to; t += every) {
      const at = x(t), text = begun ? wall(t).slice(every < 60 ? 11 : 11, every < 60 ? 19 : 16) : clock(t).slice(0, every < 1 ? 20 : -2);
      context.beginPath(); context.moveTo(at, PICTURE); context.lineTo(at, height); context.stroke();
      if (at + 3 + context.measureText(text).width <= width) context.fillText(text, at + 3, PICTURE + TICKS / 2);
    }
    rows.forEach((one, row) => drawLane(context, one, PICTURE + TICKS + row * LANE, width, x));
    context.strokeStyle = colour("--cursor");
    context.lineWidth = 2;
    context.beginPath(); context.moveTo(x(state.at), 0); context.lineTo(x(state.at), height); context.stroke();
    line.setAttribute("aria-valuemax", String(Math.round(total)));
    line.setAttribute("aria-valuenow", String(Math.round(state.at)));
    line.setAttribute("aria-valuetext", `${clock(state.at)} ${wall(state.at)}`);
  }
  function drawLane(context, one, top, width, x) {
    const { from, to } = state, tint = colour(one.colour), base = top + LANE - 3, high = LANE - 8;
    context.strokeStyle = colour("--rule");
    context.lineWidth = 1;
    context.beginPath(); context.moveTo(0, base + 0.5); context.lineTo(width, base + 0.5); context.stroke();
    // Probability: the highest of a pixel, so that no peak is lost.
    const peaks = new Float32Array(Math.ceil(width) + 1);
    for (let i = firstColumn(from); i < starts.length && starts[i] <= to; i++) {
      const p = one.track[i] / 255;
      const before = i ? (starts[i] + ends[i] + starts[i - 1] + ends[i - 1]) / 4 : starts[i];
      const after = i + 1 < starts.length ? (starts[i] + ends[i] + starts[i + 1] + ends[i + 1]) / 4 : ends[i];
      const a = Math.max(0, Math.floor(x(before))), b = Math.min(peaks.length - 1, Math.max(a, Math.ceil(x(after)) - 1));
      for (let k = a; k <= b; k++) if (p > peaks[k]) peaks[k] = p;
    }
    context.fillStyle = tint;
    context.globalAlpha = 0.35;
    context.beginPath(); context.moveTo(0, base);
    peaks.forEach((p, k) => { context.lineTo(k, base - p * high); context.lineTo(k + 1, base - p * high); });
    context.lineTo(width, base); context.fill();
    context.globalAlpha = 1;
    if (one.on !== null) {
      context.setLineDash([2, 4]); context.strokeStyle = tint;
      context.beginPath(); context.moveTo(0, base - one.on * high); context.lineTo(width, base - one.on * high); context.stroke();
      context.setLineDash([]);
    }
    for (let i = firstAfter(from - longest); i < events.length && events[i].start <= to; i++) {
      const event = events[i];
      if (event.id !== one.id || event.end < from) continue;
      const a = x(event.start), w = Math.max(2, x(event.end) - a);
      context.fillStyle = tint;
      context.fillRect(a, top + 1, w, 4);
      if (event === state.event) { context.strokeStyle = colour("--ink"); context.lineWidth = 1.5; context.strokeRect(a - 1, top, w + 2, LANE - 2); }
    }
    context.font = "600 12px system-ui, sans-serif";
    const text = one.label.length > 40 ? `${one.label.slice(0, 39)}…` : one.label, wide = context.measureText(text).width;
    context.globalAlpha = 0.85; context.fillStyle = colour("--sheet"); context.fillRect(2, top + 8, wide + 8, 15);
    context.globalAlpha = 1; context.fillStyle = tint; context.fillText(text, 6, top + 16);
  }
  function drawMap() {
    const [context, width, height] = prepare(map, 0);
    context.fillStyle = "#000003"; context.fillRect(0, 0, width, height);
    paintImage(context, 0, total, width, 0, height);
    const x = (t) => (t / total) * width;
    for (const event of events) {
      if (!visible(event)) continue;
      context.fillStyle = colour(byId.get(event.id).colour);
      context.fillRect(x(event.start), height - 5, Math.max(1.5, x(event.end) - x(event.start)), 5);
    }
    if (state.to - state.from < total) {
      context.fillStyle = "rgb(255 255 255 / .25)";
      context.fillRect(x(state.from), 0, Math.max(2, x(state.to) - x(state.from)), height);
    }
    context.fillStyle = colour("--cursor"); context.fillRect(x(state.at) - 1, 0, 2, height);
  }

  // -------------------------------------------------------------------------------------- moving
  const look = (from, to) => {
    const span = Math.min(total, Math.max(LEAST, to - from));
    state.from = Math.min(Math.max(0, from), total - span);
    state.to = state.from + span;
    draw();
  };
  const zoom = (factor, around) => {
    const span = (state.to - state.from) * factor, share = (around - state.from) / (state.to - state.from);
    look(around - span * share, around - span * share + span);
  };
  const show = (t) => {
    const span = state.to - state.from;
    if (t < state.from || t > state.to) look(t - span / 2, t + span / 2);
    draw();
  };
  const tell = (text) => { $("told").textContent = text; };
  const showClock = () => { $("clock").textContent = `${clock(state.at)}${begun ? `  ${wall(state.at).slice(11)}` : ""}`; };
  const move = (t, { sound = true } = {}) => {
    state.at = Math.min(total, Math.max(0, t));
    show(state.at);
    showClock();
    if (sound && !audio.paused) start();
  };
  const select = (event, { play = false } = {}) => {
    state.event = event;
    $("one").hidden = !event;
    document.querySelectorAll("tr.now").forEach((row) => row.classList.remove("now"));
    if (!event) return draw();
    const row = $(`e${event.number}`);
    if (row) { row.classList.add("now"); }
    $("what").textContent = `${label(event)}, ${(100 * event.peak).toFixed(1)} %`;
    $("when").textContent = `${clock(event.start)} to ${clock(event.end)}${begun ? `, ${wall(event.start)}` : ""}; mean ${(100 * event.mean).toFixed(1)} %`
      + (event.media ? "" : "; its sound is not in this page: choose the recording to hear it");
    $("picture").hidden = !event.media;
    if (event.media) $("picture").src = event.media.p;
    const margin = Math.max(4, 2 * (event.end - event.start));
    if (state.to - state.from > 40 * margin || event.start < state.from || event.end > state.to) look(event.start - 2 * margin, event.end + 2 * margin);
    if (!audio.paused) audio.pause();
    move(event.start, { sound: false });
    if (play) start();
  };
  const go = (forward) => {
    const list = events.filter(visible);
    if (!list.length) return;
    const here = state.event ? list.indexOf(state.event) : -1;
    let next = here + (forward ? 1 : -1);
    if (here < 0) {
      next = list.findIndex((event) => event.start > state.at);
      if (!forward) next = (next < 0 ? list.length : next) - 1;
      else if (next < 0) next = list.length - 1;
    }
    select(list[Math.min(list.length - 1, Math.max(0, next))]);
  };

  // -------------------------------------------------------------------------------------- playing
  const eventHere = () => {
    const near = (event) => event.media && state.at >= event.media.from - 1e-3 && state.at < event.media.to;
    return state.event && near(state.event) ? state.event : events.find((event) => visible(event) && near(event));
  };
  const load = (key, src, offset) => {
    if (state.source !== key) { audio.src = src; state.source = key; }
    state.offset = offset;
  };
  const start = () => {
    if (state.url) load("file", state.url, 0);
    else {
      const event = eventHere();
      if (!event) { tell("The recording is not in this page: choose it above to hear this place. Events can be heard at once."); return; }
      load(`e${event.number}`, event.media.s, event.media.from);
    }
    const at = state.at - state.offset;
    const begin = () => { audio.currentTime = at; audio.play().catch((error) => tell(`It cannot be played: ${error.message}`)); };
    if (audio.readyState >= 1) begin(); else audio.addEventListener("loadedmetadata", begin, { once: true });
  };
  const toggle = () => { if (audio.paused) start(); else audio.pause(); };
  const follow = () => {
    if (audio.paused) return;
    state.at = Math.min(total, state.offset + audio.currentTime);
    if (state.at > state.to) look(state.at, state.at + state.to - state.from);
    showClock(); draw();
    requestAnimationFrame(follow);
  };
  audio.addEventListener("play", () => { $("play").textContent = "Pause"; follow(); });
  audio.addEventListener("pause", () => { $("play").textContent = "Play"; });
  audio.addEventListener("error", () => { if (audio.src) tell("This browser cannot play that file; WAV, FLAC and MP3 it can."); });
  $("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (!file) return;
    if (state.url) URL.revokeObjectURL(state.url);
    audio.pause();
    state.url = URL.createObjectURL(file);
    state.source = "";
    tell(file.name === about.name ? `${file.name} is open: press anywhere to hear it.` : `${file.name} is open, but this page is of ${about.name}.`);
  });

  // ------------------------------------------------------------------------------------- pointing
  const timeAt = (canvas, event, from, to) => {
    const box = canvas.getBoundingClientRect();
    return from + ((event.clientX - box.left) / box.width) * (to - from);
  };
  let drag = null;
  line.addEventListener("pointerdown", (event) => { drag = { x: event.clientX, from: state.from, to: state.to, moved: false }; line.setPointerCapture(event.pointerId); });
  line.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const shift = ((event.clientX - drag.x) / line.clientWidth) * (drag.to - drag.from);
    if (Math.abs(event.clientX - drag.x) > 4) drag.moved = true;
    if (drag.moved) look(drag.from - shift, drag.to - shift);
  });
  line.addEventListener("pointerup", (event) => {
    if (drag && !drag.moved) {
      const t = timeAt(line, event, state.from, state.to);
      const row = Math.floor((event.clientY - line.getBoundingClientRect().top - PICTURE - TICKS) / LANE), one = lanes()[row];
      const slack = 3 * (state.to - state.from) / line.clientWidth;
      const hit = row >= 0 && one ? events.find((e) => e.id === one.id && t >= e.start - slack && t <= e.end + slack) : null;
      if (hit) select(hit, { play: true }); else move(t);
    }
    drag = null;
  });
  line.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) { const s = (event.deltaX / line.clientWidth) * (state.to - state.from); look(state.from + s, state.to + s); }
    else zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(line, event, state.from, state.to));
  }, { passive: false });
  let mapping = false;
  const jump = (event) => { const t = timeAt(map, event, 0, total), span = state.to - state.from; look(t - span / 2, t + span / 2); move(t); };
  map.addEventListener("pointerdown", (event) => { mapping = true; map.setPointerCapture(event.pointerId); jump(event); });
  map.addEventListener("pointermove", (event) => { if (mapping) jump(event); });
  map.addEventListener("pointerup", () => { mapping = false; });
  const keys = {
    " ": toggle,
    ArrowLeft: (e) => move(state.at - (e.shiftKey ? 60 : about.hop)),
    ArrowRight: (e) => move(state.at + (e.shiftKey ? 60 : about.hop)),
    Home: () => move(0), End: () => move(total),
    n: () => go(true), p: () => go(false),
    "+": () => zoom(0.5, state.at), "=": () => zoom(0.5, state.at), "-": () => zoom(2, state.at), 0: () => look(0, total),
    Enter: () => { if (state.event) select(state.event, { play: true }); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.target.tagName === "BUTTON" && (event.key === " " || event.key === "Enter")) return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act) { event.preventDefault(); act(event); }
  });
  $("play").addEventListener("click", toggle);
  $("next").addEventListener("click", () => go(true));
  $("previous").addEventListener("click", () => go(false));
  $("in").addEventListener("click", () => zoom(0.5, state.at));
  $("out").addEventListener("click", () => zoom(2, state.at));
  $("whole").addEventListener("click", () => look(0, total));
  $("all").addEventListener("change", draw);

  // --------------------------------------------------------------------------------------- words
  const cell = (row, text, name) => { const td = row.insertCell(); td.textContent = text; if (name) td.className = name; return td; };
  const addRows = () => {
    const list = events.filter(visible), body = $("rows");
    for (const event of list.slice(state.rows, state.rows + PAGE)) {
      const row = body.insertRow();
      row.id = `e${event.number}`;
      if (event === state.event) row.classList.add("now");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = begun ? `${clock(event.start)}  ${wall(event.start)}` : clock(event.start);
      button.addEventListener("click", () => { select(event, { play: Boolean(event.media || state.url) }); $("player").scrollIntoView({ block: "start" }); });
      row.insertCell().append(button);
      cell(row, label(event)).style.color = `var(${byId.get(event.id).colour})`;
      cell(row, `${(event.end - event.start).toFixed(1)} s`, "num");
      cell(row, `${(100 * event.peak).toFixed(1)} %`, "num");
      cell(row, `${(100 * event.mean).toFixed(1)} %`, "num");
      cell(row, event.media ? "here" : "in the recording");
    }
    state.rows += PAGE;
    $("more").hidden = state.rows >= list.length;
  };
  const refill = () => { $("rows").replaceChildren(); state.rows = 0; addRows(); draw(); };
  $("more").addEventListener("click", addRows);
  for (const one of classes.filter((each) => each.count)) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.style.setProperty("--dot", `var(${one.colour})`);
    chip.textContent = `${one.label} ${one.count.toLocaleString("en")}`;
    chip.setAttribute("aria-pressed", "true");
    chip.addEventListener("click", () => { one.shown = !one.shown; chip.setAttribute("aria-pressed", String(one.shown)); refill(); });
    $("chips").append(chip);
  }
  const heard = Object.keys(about.media).length;
  $("count").textContent = about.count === 0 ? "No events" : `${about.count.toLocaleString("en")} event${about.count > 1 ? "s" : ""}`
    + (about.shown < about.count ? `; the surest ${about.shown.toLocaleString("en")} are shown` : "") + (heard ? `; the sounds of ${heard.toLocaleString("en")} are in this page` : "");
  $("about").textContent = `${clock(total)}, ${about.sr.toLocaleString("en")} Hz; ${about.began}; windows of ${about.window} s every ${about.hop} s`
    + `${about.site ? `; thresholds of ${about.site}` : ""}; model ${about.model}; spectro ${about.version}`;
  if (!classes.some((one) => one.count)) $("all").checked = true;
  image.addEventListener("load", draw);
  if (about.overview) image.src = about.overview;
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  showClock();
  refill();
})();
