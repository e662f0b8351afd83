// Filters, and the clips behind a cell of the matrix. The page says everything else without this.
(() => {
  "use strict";
  const $ = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const read = (id) => JSON.parse($("#" + id).textContent);
  const element = (tag, values = {}) => Object.assign(document.createElement(tag), values);

  const clips = read("clips-data");
  const media = read("media-data");
  const form = $("#clip-filters");
  const body = $("#clip-table tbody");
  const wish = form.elements;
  const FIRST = 10, STEP = 40; // rows shown
  let rows = [];
  let source = null; // position of the recording asked for

  document.documentElement.classList.add("js-on");
  all(".js").forEach((part) => { part.hidden = false; });

  // ------------------------------------------------------------------------------- the clips

  const percent = (p) => {
    const told = p >= 0.9995 ? ">99.9" : p < 0.0005 ? "<0.1" : (Math.round(1000 * p + 1e-6) / 10).toFixed(1);
    return told + "\u00a0%";
  };

  const cardOf = new Map(all(".card").map((card) => [Number(card.dataset.id), card]));

  function show(id) { // picture and sound of a clip: its own, or those of its card
    const card = cardOf.get(id);
    if (card) {
      return { p: $("img", card)?.src, s: $("audio", card)?.src };
    }
    return media[id] ?? {};
  }

  const hasSound = clips.id.map((id) => Boolean(show(id).s));

  const isWrong = (i) => clips.truth[i] !== clips.predicted[i];

  const ORDERS = {
    seen: (a, b) => hasSound[b] - hasSound[a] || isWrong(b) - isWrong(a) || clips.p[b] - clips.p[a],
    sure: (a, b) => clips.p[b] - clips.p[a],
    unsure: (a, b) => clips.p[a] - clips.p[b],
    name: (a, b) => (clips.name[a] < clips.name[b] ? -1 : 1),
  };

  function chosen() {
    const text = wish.text.value.trim().toLowerCase();
    const same = (select, value) => select.value === "" || Number(select.value) === value;
    return clips.id.map((_, i) => i).filter((i) => {
      const right = !isWrong(i);
      return same(wish.truth, clips.truth[i])
        && same(wish.predicted, clips.predicted[i])
        && same(wish.fold, clips.fold[i])
        && (wish.outcome.value === "" || (wish.outcome.value === "right") === right)
        && (source === null || clips.source[i] === source)
        && (text === "" || clips.name[i].toLowerCase().includes(text)
          || clips.sources[clips.source[i]].toLowerCase().includes(text));
    }).sort(ORDERS[wish.sort.value]);
  }

  function row(i) {
    const line = element("tr");
    const { p, s } = show(clips.id[i]);
    const seen = element("td", { className: "seen" });
    const both = element("div");
    if (p) both.append(element("img", { src: p, alt: "" }));
    // Not loaded unasked: browsers allow a page some dozens of players at once.
    if (s) both.append(element("audio", { src: s, controls: true, preload: "none" }));
    seen.append(both);
    line.append(seen);
    const right = !isWrong(i);
    line.className = right ? "right" : "wrong";
    const cells = [
      ["Clip", clips.name[i], "name"],
      ["Truth", clips.labels[clips.truth[i]], ""],
      ["Heard as", clips.labels[clips.predicted[i]], "heard"],
      ["p(heard)", percent(clips.p[i]), "num"],
      ["p(truth)", percent(clips.p_truth[i]), "num"],
      ["Fold", clips.fold[i], "num"],
      ["Recording", clips.sources[clips.source[i]], ""],
    ];
    for (const [title, text, kind] of cells) {
      const cell = element("td", { textContent: text, className: kind });
      cell.dataset.title = title;
      line.append(cell);
    }
    return line;
  }

  function more() {
    const from = body.children.length;
    body.append(...rows.slice(from, from + (from ? STEP : FIRST)).map(row));
    $("#more-clips").hidden = body.children.length >= rows.length;
  }

  function list() {
    rows = chosen();
    const wrong = rows.filter((i) => clips.truth[i] !== clips.predicted[i]).length;
    const of = source === null ? "" : ` of recording ${clips.sources[source]}`;
    $("output", form).textContent = `${rows.length.toLocaleString("en")} clips${of}, `
      + `${wrong.toLocaleString("en")} wrong`;
    for (const cell of all("#matrix button")) {
      const [truth, predicted] = cell.dataset.cell.split(",");
      cell.setAttribute("aria-pressed",
        String(wish.truth.value === truth && wish.predicted.value === predicted));
    }
    body.replaceChildren();
    more();
  }

  function ask(values, recording = null) { // set the filters, and go there
    form.reset();
    source = recording;
    for (const [name, value] of Object.entries(values)) wish[name].value = value;
    list();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    $("#clips").scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
  }

  const option = (value, text) => element("option", { value, textContent: text });
  clips.labels.forEach((label, i) => {
    wish.truth.append(option(i, label));
    wish.predicted.append(option(i, label));
  });
  [...new Set(clips.fold)].sort((a, b) => a - b).forEach((k) => wish.fold.append(option(k, k)));
  form.addEventListener("input", list);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => { source = null; setTimeout(list); });
  $("#more-clips").addEventListener("click", more);
  $("#matrix").addEventListener("click", (event) => {
    const cell = event.target.closest("button");
    if (!cell) return;
    const [truth, predicted] = cell.dataset.cell.split(",");
    ask({ truth, predicted });
  });
  $("#source-table").addEventListener("click", (event) => {
    const name = event.target.closest("button")?.dataset.source;
    const place = clips.sources.indexOf(name);
    if (place >= 0) ask({}, place);
  });
  list();

  // ------------------------------------------------------------------------ cards, recordings

  for (const filters of all("form[data-cards]")) {
    const list_ = document.getElementById(filters.dataset.cards);
    const cards = all(".card", list_);
    const apply = () => {
      const asked = ["fold", "truth", "predicted"].filter((name) => filters.elements[name]?.value);
      for (const card of cards) {
        card.hidden = !asked.every((name) => card.dataset[name] === filters.elements[name].value);
      }
      const key = filters.elements.sort.value;
      const order = [...cards];
      if (key) {
        order.sort((a, b) => a.dataset[key].localeCompare(b.dataset[key], "en", { numeric: true }));
      }
      list_.append(...order);
      const seen = cards.filter((card) => !card.hidden).length;
      $("output", filters).textContent = `${seen} of ${cards.length}`;
    };
    filters.addEventListener("input", apply);
    filters.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }

  const sources = $("#source-table");
  const unfold = $("#more-sources");
  if (all(".later", sources).length) {
    sources.classList.add("short");
    unfold.addEventListener("click", () => {
      sources.classList.remove("short");
      unfold.hidden = true;
    });
  } else {
    unfold.hidden = true;
  }

  // One sound at a time.
  document.addEventListener("play", (event) => {
    for (const player of all("audio")) if (player !== event.target) player.pause();
  }, true);

  let closed = []; // on paper nothing can be unfolded
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    closed.forEach((part) => { part.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((part) => { part.open = false; }));
})();
