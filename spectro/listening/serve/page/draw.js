// Spectrograms with axes, bars, events: elements only, no markup from text.

export const $ = (selector) => document.querySelector(selector);

export function element(name, about = {}, ...children) {
  const made = Object.assign(document.createElement(name), about);
  made.append(...children);
  return made;
}

export function percent(p) {
  const told = p > 0.9995 && p < 1 ? ">99.9" : p < 0.0005 && p > 0 ? "<0.1" : (100 * p).toFixed(1);
  return `${told}\u00a0%`;
}

export function clock(seconds, digits = 0) { // 75.2 -> 1:15
  const whole = Number(seconds.toFixed(digits));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = (whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400];

function times(start, end, room) { // round moments, as many as there is room for
  const step = STEPS.find((s) => (end - start) / s <= room) ?? 36000;
  const found = [];
  for (let t = Math.ceil(start / step - 1e-6) * step; t <= end + 1e-6; t += step) found.push(t);
  return { found, digits: step < 1 ? 1 : 0 };
}

const LINE = 15; // px of a line of text
const HALF = 28; // px of half a time, the longest
const watched = new WeakMap(); // a .plot -> who looks after its axes

// Draw a picture into a .plot; returns its field, into which events and a play head go.
export function plot(box, src, about) {
  const field = element("div", { className: "field" });
  field.append(element("img", { src, alt: about.told, draggable: false }));
  const frame = element("div", { className: "frame" }, field);
  box.replaceChildren(frame);
  label(frame, field, about);
  watched.get(box)?.disconnect();
  const observer = new ResizeObserver(() => label(frame, field, about)); // a phone is turned
  observer.observe(field);
  watched.set(box, observer);
  return field;
}

function label(frame, field, { start, end, frequencies }) { // axes, for the room that there is
  const { clientWidth: width, clientHeight: height } = field;
  if (!width) return; // not shown: the observer tells when it is
  for (const mark of frame.querySelectorAll(":scope > span")) mark.remove();
  frame.append(...heights(frequencies, height), ...moments(start, end, width));
}

function heights(frequencies, height) {
  let lowest = -Infinity;
  return frequencies.map(({ hz, at }) => {
    const textContent = hz >= 1000 ? `${hz / 1000} kHz` : `${hz} Hz`;
    const hidden = at * height - lowest < LINE; // lines of text must not lie on each other
    if (!hidden) lowest = at * height;
    const mark = element("span", { className: "hz", textContent, hidden, ariaHidden: "true" });
    mark.style.bottom = `${100 * at}%`;
    return mark;
  });
}

function moments(start, end, width) {
  const { found, digits } = times(start, end, Math.max(2, Math.floor(width / 90)));
  return found.map((t) => {
    const share = (t - start) / (end - start || 1);
    const edge = share < 0.02 ? " first" : (1 - share) * width < HALF ? " last" : "";
    const textContent = end - start < 60 && end < 60 ? `${t.toFixed(digits)} s` : clock(t, digits);
    const mark = element("span", { className: `time${edge}`, textContent, ariaHidden: "true" });
    mark.style.left = `${100 * share}%`;
    return mark;
  });
}

export function bars(list, probabilities, many) { // the likeliest first
  const rows = Object.entries(probabilities).sort((a, b) => b[1] - a[1]).slice(0, many);
  list.replaceChildren(...rows.map(([label, p]) => {
    const filled = element("b");
    filled.style.width = `${100 * p}%`;
    const bar = element("i", { ariaHidden: "true" }, filled);
    return element("li", {}, element("span", { textContent: label }),
      element("span", { className: "num", textContent: percent(p) }), bar);
  }));
}

export function pairs(list, rows) { // a description list
  list.replaceChildren(...rows.flatMap(([name, text]) => [
    element("dt", { textContent: name }), element("dd", { textContent: text }),
  ]));
}
