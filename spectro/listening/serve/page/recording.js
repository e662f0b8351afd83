// A long recording: the whole, the part around the play head, and the events on both.

import { ask, picture } from "./ask.js";
import { $, clock, element, percent, plot } from "./draw.js";

const AROUND = 20; // s shown of the part
const COLOURS = 8;

export class Recording {
  constructor(scan, labels) {
    this.scan = scan;
    this.labels = labels;
    this.at = 0;
    this.drawn = null; // the start of the part that is shown
    this.shown = new Map(); // addresses of images, to be given back
    $("#recording").hidden = false;
    $("#scrub").max = scan.seconds;
    $("#scrub").value = 0;
    $("#scanned").textContent = scan.name;
    $("#began").textContent = `${clock(scan.seconds)} long`;
    $("#events tbody").replaceChildren();
    $("#table").hidden = true;
    this.drawWhole();
    this.go(0);
  }

  colour(label) {
    return `var(--c${this.labels.indexOf(label) % COLOURS})`;
  }

  address(start, end, width) {
    return `scan/${this.scan.id}/picture?start=${start}&end=${end}&width=${width}`;
  }

  async image(place, start, end) {
    const width = Math.min(2048, Math.max(64, Math.round(place.clientWidth * devicePixelRatio)));
    const src = await picture(this.address(start, end, width));
    URL.revokeObjectURL(this.shown.get(place));
    this.shown.set(place, src);
    return src;
  }

  async drawWhole() {
    const src = await this.image($("#whole"), 0, this.scan.seconds);
    const told = `Spectrogram of the whole recording, ${clock(this.scan.seconds)} long`;
    this.whole = this.draw($("#whole"), src, 0, this.scan.seconds, told);
    this.whole.addEventListener("pointerdown", (event) => this.drag(event));
    this.whole.addEventListener("pointermove", (event) => event.buttons && this.drag(event));
    this.mark();
  }

  drag(event) {
    const box = this.whole.getBoundingClientRect();
    this.seek(((event.clientX - box.left) / box.width) * this.scan.seconds);
  }

  async drawPart() {
    const length = Math.min(AROUND, this.scan.seconds);
    const start = Math.max(0, Math.min(this.at - length / 3, this.scan.seconds - length));
    const end = start + length;
    if (this.drawn !== null && this.at >= this.drawn && this.at <= this.drawn + length * 0.9
      && Math.abs(start - this.drawn) < length / 3) return;
    this.drawn = start;
    const src = await this.image($("#part"), start, end);
    if (this.drawn !== start) return; // the head has gone on
    const told = `Spectrogram from ${clock(start, 1)} to ${clock(end, 1)}`;
    this.part = this.draw($("#part"), src, start, end, told);
    this.from = start;
    this.length = length;
    $("#around").textContent = `From ${clock(start, 1)} to ${clock(end, 1)}`;
    this.mark();
  }

  draw(box, src, start, end, told) {
    const field = plot(box, src, { start, end, frequencies: this.scan.frequencies, told });
    for (const event of this.scan.events) {
      if (event.end < start || event.start > end) continue;
      const name = `${event.label}, ${clock(event.start, 1)} to ${clock(event.end, 1)}`;
      const mark = element("div", { className: "event", title: name },
        element("span", { textContent: event.label }));
      mark.style.left = `${(100 * (event.start - start)) / (end - start)}%`;
      mark.style.width = `${(100 * (event.end - event.start)) / (end - start)}%`;
      mark.style.setProperty("--event", this.colour(event.label));
      field.append(mark);
    }
    field.append(element("div", { className: "head" }));
    return field;
  }

  mark() { // put the play heads where we are
    const places = [[this.whole, this.at / this.scan.seconds],
      [this.part, (this.at - this.from) / this.length]];
    for (const [field, share] of places) {
      const head = field?.querySelector(".head");
      if (!head) continue;
      head.hidden = !(share >= 0 && share <= 1);
      head.style.left = `${100 * share}%`;
    }
    for (const [i, event] of this.scan.events.entries()) {
      const row = $("#events tbody").children[i];
      if (!row) break;
      if (this.at >= event.start - 0.05 && this.at < event.end) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }

  go(seconds) { // show a moment
    this.at = Math.max(0, Math.min(seconds, this.scan.seconds));
    $("#scrub").value = this.at;
    $("#scrub").setAttribute("aria-valuetext", clock(this.at, 1));
    this.mark();
    this.drawPart();
  }

  seek(seconds) { // show it, and let the player go there
    const player = $("#player");
    if (!player.hidden && Number.isFinite(player.duration)) player.currentTime = seconds;
    this.go(seconds);
  }

  next(step) { // the event before or after this moment
    const starts = this.scan.events.map((event) => event.start);
    const found = step > 0 ? starts.find((s) => s > this.at + 0.06)
      : starts.findLast((s) => s < this.at - 0.06);
    if (found !== undefined) this.seek(found);
  }

  finish(scan) { // the events are there
    this.scan = scan;
    const count = scan.events.length;
    const classes = new Set(scan.events.map((event) => event.label)).size;
    $("#scanned").textContent = count
      ? `${scan.name}: ${count.toLocaleString("en")} ${count === 1 ? "event" : "events"}`
        + ` of ${classes} ${classes === 1 ? "class" : "classes"}`
      : `${scan.name}: no events`;
    $("#began").textContent = `${clock(scan.seconds)} long, ${[scan.began, ...scan.warnings].join("; ")}`;
    $("#events tbody").replaceChildren(...scan.events.map((event) => this.row(event)));
    for (const name of ["#before", "#after"]) $(name).disabled = !count;
    $("#events").hidden = !count;
    this.drawWhole();
    this.drawn = null;
    this.go(this.at);
    this.offerTable();
  }

  row(event) {
    const jump = element("button", { type: "button", textContent: event.label });
    jump.style.setProperty("--event", this.colour(event.label));
    jump.addEventListener("click", () => this.seek(event.start));
    const cells = [clock(event.start, 1), clock(event.end, 1), percent(event.peak)];
    return element("tr", {}, element("td", {}, jump),
      ...cells.map((text) => element("td", { className: "num", textContent: text })),
      element("td", { textContent: event.begin_time.replace("T", " ").slice(0, 19) || "not known" }));
  }

  async offerTable() {
    const blob = await (await ask(`scan/${this.scan.id}/events.csv`)).blob();
    URL.revokeObjectURL($("#table").href);
    $("#table").href = URL.createObjectURL(blob);
    $("#table").download = `${this.scan.name}.events.csv`;
    $("#table").hidden = false;
  }

  close() {
    for (const src of this.shown.values()) URL.revokeObjectURL(src);
    ask(`scan/${this.scan.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
  }
}
