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

// Draw a picture into a .plot; returns its field, into which events and a play head go.
export function plot(box, src, { start, end, frequencies, told }) {
  const field = element("div", { className: "field" });
  const image = element("img", { src, alt: told, draggable: false });
  field.append(image);
  const height = () => field.clientHeight;
  const marks = [];
  for (const { hz, at } of frequencies) {
    const text = hz >= 1000 ? `${hz / 1000} kHz` : `${hz} Hz`;
    marks.push([at, element("span", { className: "hz", textContent: text, ariaHidden: "true" })]);
  }
  const room = Math.max(2, Math.floor(box.clientWidth / 90));
  const { found, digits } = times(start, end, room);
  const along = found.map((t) => {
    const share = (t - start) / (end - start || 1);
    const edge = share < 0.02 ? " first" : share > 0.97 ? " last" : "";
    const text = end - start < 60 && end < 60 ? `${t.toFixed(digits)} s` : clock(t, digits);
    const mark = element("span", { className: `time${edge}`, textContent: text, ariaHidden: "true" });
    return [share, mark];
  });
  box.replaceChildren(field, ...marks.map(([, mark]) => mark), ...along.map(([, mark]) => mark));
  const left = field.offsetLeft;
  let lowest = -Infinity;
  for (const [at, mark] of marks) { // lines of text must not lie on each other
    const y = at * height();
    mark.hidden = y - lowest < 15;
    if (!mark.hidden) lowest = y;
    mark.style.bottom = `${box.clientHeight - field.offsetTop - height() + y}px`;
  }
  for (const [share, mark] of along) mark.style.left = `${left + share * field.clientWidth}px`;
  return field;
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
