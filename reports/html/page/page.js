"use strict";
// What the page can do beyond being read: hovering, sorting, single runs. It
// asks for nothing: the page's policy lets it reach nothing.
(() => {
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

// Elements: svg("rect", {x: 1}, child…), and html the same.
function build(node, attributes, children) {
  for (const [k, v] of Object.entries(attributes || {})) if (v !== undefined && v !== null) node.setAttribute(k, v);
  for (const c of children.flat()) if (c) node.append(c);
  return node;
}
const svg = (name, attributes, ...children) => build(document.createElementNS(SVG, name), attributes, children);
const html = (name, attributes, ...children) => build(document.createElement(name), attributes, children);

// A number with four digits and its unit's prefix.
function number(v, unit) {
  if (v === null || v === undefined || Number.isNaN(v)) return "–";
  let prefix = "";
  if (Math.abs(v) >= 1e5 && unit !== "%") for (const p of ["k", "M", "G", "T", "P"]) {
    if (Math.abs(v) < 1000) break;
    v /= 1000;
    prefix = p;
  }
  const text = v === 0 ? "0" : Math.abs(v) >= 1000 ? v.toFixed(0) : String(Number(v.toPrecision(4)));
  return unit || prefix ? text + " " + prefix + (unit || "") : text;
}

// A number of a table: four digits at least, and no prefix.
function plain(v) {
  if (v === null || v === undefined) return "–";
  return Math.abs(v) >= 1000 ? count(Math.round(v)) : String(Number(v.toPrecision(4)));
}

// A count, all of it.
function count(n) { return String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f"); }

// The tip beside what is pointed at or focused.
const tip = $("tip");
function showTip(text, x, y) {
  const [first, ...rest] = text.split("\n");
  tip.replaceChildren(html("strong", {}, first), rest.length ? "\n" + rest.join("\n") : "");
  tip.hidden = false;
  const box = tip.getBoundingClientRect(), gap = 14;
  const left = x + gap + box.width > innerWidth - 8 ? x - gap - box.width : x + gap;
  const top = y + gap + box.height > innerHeight - 8 ? y - gap - box.height : y + gap;
  tip.style.left = Math.max(8, left) + "px";
  tip.style.top = Math.max(8, top) + "px";
}
function hideTip() { tip.hidden = true; }
function tipAt(node, text) {
  node.scrollIntoView({block: "nearest"});
  const box = node.getBoundingClientRect();
  showTip(text, box.left + Math.min(box.width / 2, 160), box.bottom - 10);
}
addEventListener("scroll", hideTip, {passive: true});

// Bar charts: each panel is one stop of the Tab key, the arrows go from bar to
// bar, and Enter shows that cell's run.
for (const plot of document.querySelectorAll("[data-plot]")) {
  const slots = [...plot.querySelectorAll(".slot")];
  let at = -1;
  const mark = (i) => {
    if (at >= 0) slots[at].classList.remove("on");
    at = i;
    if (i >= 0) slots[i].classList.add("on");
  };
  plot.addEventListener("pointermove", (e) => {
    const slot = e.target.closest(".slot");
    if (slot) showTip(slot.dataset.tip, e.clientX, e.clientY); else hideTip();
  });
  plot.addEventListener("pointerleave", hideTip);
  plot.addEventListener("click", (e) => {
    const slot = e.target.closest(".slot");
    if (slot) openCell(Number(slot.dataset.cell));
  });
  plot.addEventListener("blur", () => { mark(-1); hideTip(); });
  plot.addEventListener("keydown", (e) => {
    if (!slots.length) return;
    const step = {ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1}[e.key];
    if (step) {
      mark(at < 0 ? (step > 0 ? 0 : slots.length - 1) : Math.min(slots.length - 1, Math.max(0, at + step)));
      tipAt(slots[at], slots[at].dataset.tip);
    } else if (e.key === "Enter" && at >= 0) {
      openCell(Number(slots[at].dataset.cell));
    } else if (e.key === "Escape") {
      mark(-1);
      hideTip();
      return;
    } else return;
    e.preventDefault();
  });
}

// Sorting by all digits; a third press gives the first order back.
for (const table of document.querySelectorAll("table[data-sort]")) {
  const body = table.tBodies[0], first = [...body.rows];
  const heads = [...table.tHead.querySelectorAll("[data-col]")];
  for (const head of heads) {
    const button = html("button", {type: "button", title: "Sort"}, head.textContent);
    head.replaceChildren(button);
    const figure = "figure" in head.dataset, column = Number(head.dataset.col);
    const value = (row) => {
      if (!figure) return row.cells[0].textContent;
      const cell = row.cells[column + 1];
      return cell && cell.dataset.mean !== undefined ? Number(cell.dataset.mean) : null;
    };
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort"), start = figure ? "descending" : "ascending";
      const other = figure ? "ascending" : "descending";
      const next = now === start ? other : now === other ? null : start;
      for (const h of heads) h.removeAttribute("aria-sort");
      let rows = first;
      if (next) {
        head.setAttribute("aria-sort", next);
        const sign = next === "ascending" ? 1 : -1;
        rows = first.map((row) => [value(row), row]).sort(([a], [b]) => {
          if (a === null || b === null) return (a === null) - (b === null); // not measured comes last
          return sign * (figure ? a - b : a.localeCompare(b, undefined, {numeric: true}));
        }).map(([, row]) => row);
      }
      body.append(...rows);
    });
  }
}

// A link to a place in what is closed opens it, and paper has everything open.
function reveal() {
  const target = location.hash.length > 1 && $(decodeURIComponent(location.hash.slice(1)));
  const closed = target && target.closest("details:not([open])");
  if (closed) closed.open = true;
  if (target) target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const d of opened) d.open = true;
});
addEventListener("afterprint", () => { for (const d of opened) d.open = false; });

// Single runs.
const data = $("runs") && JSON.parse($("runs").textContent);
function decode(column) {
  const out = [];
  let v = 0;
  for (const part of column.v.split(" ")) {
    const [step, times] = part.split("*");
    for (let i = 0; i < Number(times || 1); i++) {
      if (step === "x") out.push(null); else out.push((v += Number(step)) * column.k);
    }
  }
  return out;
}

// A chart over time. Each line is {name, unit, t, v, colour, dash}; stacked,
// they are areas one on the other.
function overTime(title, unit, lines, {stacked = false, wide = false, height = 150, small = false, note = ""} = {}) {
  const end = Math.max(...lines.map((l) => l.t[l.t.length - 1]));
  let base = null;
  const shapes = lines.map((l) => {
    const low = base || l.v.map(() => 0);
    const high = stacked ? l.v.map((v, i) => (v || 0) + (low[i] || 0)) : l.v;
    if (stacked) base = high;
    return {line: l, low, high};
  });
  let top = 0, bottom = 0;
  for (const s of shapes) for (const v of s.high) if (v !== null) { top = Math.max(top, v); bottom = Math.min(bottom, v); }
  if (!(top > bottom)) top = bottom + 1;
  const steps = small ? [] : ticks(top);
  const W = 1000, H = 1000;
  const x = (t) => (t / end) * W;
  const y = (v) => H - ((v - bottom) / (top - bottom)) * H;
  // Steps: each value is the mean from one time to the next.
  const corners = (l, values) => values.map((v, i) => v === null ? null : [[x(i ? l.t[i - 1] : 0), y(v)], [x(l.t[i]), y(v)]]);
  const path = (l, values) => {
    let d = "", pen = "M";
    for (const c of corners(l, values)) {
      if (!c) { pen = "M"; continue; }
      for (const [px, py] of c) { d += pen + px.toFixed(1) + " " + py.toFixed(1); pen = "L"; }
    }
    return d;
  };
  const inner = svg("svg", {viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", width: "100%", height});
  if (!stacked) shapes.reverse(); // dashes stay visible on a line that is the same
  for (const {line: l, low, high} of shapes) {
    if (stacked) {
      const back = corners(l, low.map((v) => v || 0)).flat().reverse().map(([px, py]) => `L${px.toFixed(1)} ${py.toFixed(1)}`).join("");
      inner.append(svg("path", {class: `area fill c${l.colour}`, d: path(l, high) + back + "Z"}));
      if (l.hatch) inner.append(svg("path", {class: "area", fill: `url(#${l.hatch})`, d: path(l, high) + back + "Z"}));
    } else inner.append(svg("path", {class: `line stroke c${l.colour}${l.dash ? " dash" : ""}`, d: path(l, high)}));
  }
  const cursor = svg("line", {class: "cursor", y1: 0, y2: height, visibility: "hidden"});
  const words = lines.map((l) => `${l.name}: ${range(l)}`).join("; ");
  const plot = svg("svg", {class: small ? "" : "time", height: small ? height : height + 24, tabindex: 0, role: "img", "aria-label": `${title}, ${unit}, over ${number(end, "s")}. ${words}`});
  for (const v of steps) {
    const py = (1 - (v - bottom) / (top - bottom)) * height;
    plot.append(svg("line", {class: v ? "grid" : "zero", x1: 0, x2: "100%", y1: py, y2: py}),
      svg("text", {class: "axis", x: 0, dx: -7, y: py + 4, "text-anchor": "end"}, number(v)));
  }
  if (!small) for (const v of ticks(end)) plot.append(svg("text", {class: "axis", x: (v / end) * 100 + "%", y: height + 18, "text-anchor": v > end * 0.97 ? "end" : v ? "middle" : "start"}, v >= ticks(end).at(-1) ? number(v, "s") : number(v)));
  plot.append(inner, cursor);

  let at = -1;
  const middle = (l, i) => (l.t[i] + (i ? l.t[i - 1] : 0)) / 2 / end;
  const show = (i, px, py) => {
    at = i;
    const l = lines[0], place = middle(l, i) * 100 + "%";
    cursor.setAttribute("x1", place);
    cursor.setAttribute("x2", place);
    cursor.setAttribute("visibility", "visible");
    const time = l.t[i], from = i ? l.t[i - 1] : 0;
    let text = `${number(from)} to ${number(time, "s")}`;
    for (const one of stacked ? [...lines].reverse() : lines) {
      // The other end's samples have times of their own.
      const k = one.t === l.t ? i : nearest(one.t, time);
      text += `\n${one.name}: ${number(one.v[k], one.unit)}`;
    }
    showTip(text, px, py);
  };
  plot.addEventListener("pointermove", (e) => {
    const box = inner.getBoundingClientRect(), t = ((e.clientX - box.left) / box.width) * end;
    const l = lines[0];
    let i = l.t.findIndex((v) => v >= t);
    if (i < 0) i = l.t.length - 1;
    show(i, e.clientX, e.clientY);
  });
  const leave = () => { cursor.setAttribute("visibility", "hidden"); hideTip(); at = -1; };
  plot.addEventListener("pointerleave", leave);
  plot.addEventListener("blur", leave);
  plot.addEventListener("keydown", (e) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[e.key];
    if (!step) { if (e.key === "Escape") leave(); return; }
    const n = lines[0].t.length, i = Math.min(n - 1, Math.max(0, at + step));
    const box = inner.getBoundingClientRect();
    show(i, box.left + middle(lines[0], i) * box.width, box.top + 20);
    e.preventDefault();
  });
  const caption = html("figcaption", {class: small ? "" : "small"}, html("b", {}, title), " ", html("span", {class: "soft"}, unit + (note ? ", " + note : "")));
  if (small) return html("figure", {}, caption, plot);
  const legend = html("ul", {class: "legend"}, (stacked ? [...lines].reverse() : lines).map((l) => html("li", {},
    stacked ? svg("svg", {width: 14, height: 12}, svg("rect", {class: `fill c${l.colour}`, width: 14, height: 12}), l.hatch && svg("rect", {fill: `url(#${l.hatch})`, width: 14, height: 12}))
      : svg("svg", {width: 22, height: 12}, svg("path", {class: `line stroke c${l.colour}${l.dash ? " dash" : ""}`, d: "M0 6H22"})),
    l.name)));
  return html("figure", {class: wide ? "wide" : ""}, caption, plot, legend);
}
function nearest(times, t) {
  let best = 0;
  times.forEach((v, i) => { if (Math.abs(v - t) < Math.abs(times[best] - t)) best = i; });
  return best;
}
function range(l) {
  const v = l.v.filter((x) => x !== null);
  return `${number(Math.min(...v))} to ${number(Math.max(...v), l.unit)}`;
}
function ticks(top) {
  if (!(top > 0)) return [0];
  const unit = 10 ** Math.floor(Math.log10(top));
  const step = [0.2, 0.5, 1, 2, 5].map((m) => m * unit).find((s) => top / s <= 5);
  const out = [];
  for (let i = 0; i * step <= top * (1 + 1e-9); i++) out.push(i * step);
  return out;
}

const roles = [["tx", "sender"], ["rx", "receiver"]];
const states = [["user", 7], ["nice", 8], ["system", 4], ["softirq", 2], ["irq", 6], ["steal", 5]];
function unitOf(name) {
  for (const [suffix, unit] of [["_per_second", "/s"], ["_percent", "%"], ["_us", "µs"], ["_ms", "ms"], ["_bytes_sec", "B/s"], ["_bytes", "B"], ["_seconds", "s"], ["_mhz", "MHz"], ["_celsius", "°C"], ["_watts", "W"]]) {
    if (name.endsWith(suffix)) return [name.slice(0, -suffix.length).replaceAll("_", " "), unit];
  }
  return [name.replaceAll("_", " "), ""];
}

function overview(run) {
  const list = html("div", {class: "lines"}), ends = {};
  for (const [role, name] of roles) {
    const e = run.ends[role];
    if (e && e.s) ends[role] = {name, t: decode({k: 0.001, v: e.t}), s: Object.fromEntries(Object.entries(e.s).map(([k, c]) => [k, decode(c)])), merged: e.merged};
  }
  const present = roles.map(([role]) => ends[role]).filter(Boolean);
  if (!present.length) return [html("p", {class: "soft"}, "This run has no samples.")];
  const note = present.some((e) => e.merged) ? `means of ${Math.max(...present.map((e) => e.merged || 1))} samples` : "";
  const pair = (key, unit) => present.filter((e) => e.s[key]).map((e) => ({name: e.name, unit, t: e.t, v: e.s[key], colour: e.name === "sender" ? 6 : 4, dash: e.name === "sender"}));
  const add = (title, unit, lines, options) => { if (lines.length) list.append(overTime(title, unit, lines, {note, ...options})); };
  const used = new Set(["gbps", "cpu_percent", "watts"]);
  const watts = pair("watts", "W");
  add("Throughput", "Gbit/s", pair("gbps", "Gbit/s"), {wide: !watts.length});
  add("Power", "W", watts);
  for (const e of present) {
    const stack = states.filter(([s]) => e.s[`cpu_${s}_percent`]).map(([s, colour]) => ({name: s, unit: "%", t: e.t, v: e.s[`cpu_${s}_percent`], colour}));
    if (stack.length && e.s.cpu_iowait_percent) stack.push({name: "iowait (idle)", unit: "%", t: e.t, v: e.s.cpu_iowait_percent, colour: 0, hatch: "p1"});
    for (const s of [...states.map(([s]) => s), "iowait"]) used.add(`cpu_${s}_percent`);
    if (stack.length) add(`CPU by state, ${e.name}`, "% of one CPU", stack, {stacked: true});
    else if (e.s.cpu_percent) add(`CPU, ${e.name}`, "% of one CPU", [{name: "busy", unit: "%", t: e.t, v: e.s.cpu_percent, colour: 4}]);
  }
  for (const e of present) {
    const keys = Object.keys(e.s).filter((k) => k.startsWith("cstate_")).sort((a, b) => depth(a) - depth(b));
    keys.forEach((k) => used.add(k));
    add(`C-states, ${e.name}`, "% of one CPU", keys.map((k, i) => ({name: k.slice(7).replace(/_percent$/, ""), unit: "%", t: e.t, v: e.s[k], colour: [6, 2, 7, 4, 3, 5, 8, 1][i % 8]})), {stacked: true});
  }
  for (const e of present) {
    const key = ["nic_pool_inflight_bytes", "page_pool_inflight_bytes"].find((k) => e.s[k]);
    if (!key) continue;
    used.add(key);
    add(`Page pool in flight, ${e.name}`, "MB", [{name: "in flight", unit: "MB", t: e.t, v: e.s[key].map((v) => v === null ? null : v / 1e6), colour: 3}]);
  }
  const sparks = html("div", {class: "sparks"});
  for (const e of present) {
    for (const k of Object.keys(e.s).filter((k) => !used.has(k)).sort()) {
      const [name, unit] = unitOf(k), l = {name, unit, t: e.t, v: e.s[k], colour: 4};
      sparks.append(overTime(`${name}, ${e.name}`, range(l), [l], {small: true, height: 34}));
    }
  }
  const more = sparks.children.length ? html("details", {}, html("summary", {}, `${sparks.children.length} more series`), sparks) : null;
  return [list, more];
}
function depth(state) {
  const n = /C(\d+)/.exec(state);
  return n ? Number(n[1]) + (/C\d+E/.test(state) ? 0.5 : 0) : -1;
}

function table(heads, rows) {
  return html("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": heads[0]}, html("table", {class: "numbers"},
    html("thead", {}, html("tr", {}, heads.map((h) => html("th", {scope: "col"}, h)))),
    html("tbody", {}, rows.map(([first, ...rest]) => html("tr", {}, html("th", {scope: "row"}, first), rest.map((v) => html("td", {}, v)))))));
}

function histogram(h) {
  const all = h.count.reduce((a, b) => a + b, 0), most = Math.max(...h.count);
  return html("figure", {}, html("figcaption", {class: "small"}, html("b", {}, h.title), h.note ? html("span", {class: "soft"}, " " + h.note) : null),
    html("table", {class: "numbers hist"}, html("tbody", {}, h.names.map((name, i) => html("tr", {}, html("th", {scope: "row"}, name),
      html("td", {class: "bars"}, svg("svg", {height: 14, "aria-hidden": "true"}, svg("rect", {class: "fill c4", width: (100 * h.count[i]) / most + "%", height: 14}))),
      html("td", {}, count(h.count[i])), html("td", {class: "soft"}, ((100 * h.count[i]) / all).toFixed(1) + " %"))))));
}

// Each CPU as one bar of its states.
function cpus(list, name) {
  const row = 20, shown = [...states, ["iowait", 0]];
  const plot = svg("svg", {class: "plot", "data-cpus": "", height: list.length * row, style: "padding-left:64px", role: "img", "aria-label": `CPUs of the ${name}`});
  list.forEach((c, i) => {
    let x = 0;
    const words = shown.filter(([s]) => c.states[s]).map(([s]) => `${s} ${number(c.states[s], "%")}`);
    const idle = Object.entries(c.idle || {}).map(([s, v]) => `${s} ${number(v, "%")}`);
    const group = svg("g", {class: "slot"}, svg("rect", {class: "hit", y: i * row, width: "100%", height: row}),
      svg("rect", {class: "track", y: i * row + 3, width: "100%", height: row - 6}), svg("text", {class: "series", x: 0, dx: -8, y: i * row + 14, "text-anchor": "end"}, "CPU " + c.cpu));
    for (const [s, colour] of shown) {
      const v = c.states[s];
      if (!v) continue;
      const at = {x: x + "%", width: v + "%", y: i * row + 3, height: row - 6};
      group.append(svg("rect", {class: `fill c${colour}`, ...at}));
      if (s === "iowait") group.append(svg("rect", {fill: "url(#p1)", ...at}));
      x += v;
    }
    const text = [`CPU ${c.cpu}, ${name}`, ...words, ...(idle.length ? ["C-states: " + idle.join(", ")] : []), ...(c.mhz ? [number(c.mhz) + " MHz"] : [])].join("\n");
    group.addEventListener("pointermove", (e) => showTip(text, e.clientX, e.clientY));
    plot.append(group);
  });
  plot.addEventListener("pointerleave", hideTip);
  const seen = shown.filter(([s]) => list.some((c) => c.states[s]));
  return html("figure", {}, html("figcaption", {class: "small"}, html("b", {}, `CPUs, ${name}`), " ", html("span", {class: "soft"}, "% of the window")), plot,
    html("ul", {class: "legend"}, seen.map(([s, colour]) => html("li", {}, svg("svg", {width: 14, height: 12}, svg("rect", {class: `fill c${colour}`, width: 14, height: 12}), s === "iowait" ? svg("rect", {fill: "url(#p1)", width: 14, height: 12}) : null), s === "iowait" ? "iowait (idle)" : s))));
}

// A flame graph with its root at the top.
function flame(profile, name) {
  const root = {name: "all", n: 0, kids: new Map(), depth: 0};
  for (const line of profile.stacks) {
    const cut = line.lastIndexOf(" "), n = Number(line.slice(cut + 1));
    if (!(n > 0)) continue;
    root.n += n;
    let at = root;
    for (const frame of line.slice(0, cut).split(";")) {
      if (!at.kids.has(frame)) at.kids.set(frame, {name: frame, n: 0, kids: new Map(), depth: at.depth + 1, up: at});
      at = at.kids.get(frame);
      at.n += n;
    }
  }
  const row = 19, plot = svg("svg", {class: "flame", "data-flame": "", tabindex: 0, role: "img", "aria-label": `Flame graph, ${name}: arrows move, Enter zooms, Escape zooms out`});
  let zoom = root, on = root, drawn = new Map();
  const tell = (f) => `${f.name}\n${number((100 * f.n) / root.n, "%")} of samples, ${count(f.n)}`;
  const draw = () => {
    drawn = new Map();
    plot.replaceChildren();
    let deepest = 0;
    const frame = (f, x, w) => {
      if (w < 0.15) return;
      deepest = Math.max(deepest, f.depth);
      const outside = f.depth < zoom.depth;
      let h = 0;
      for (const ch of f.name) h = (h * 31 + ch.codePointAt(0)) >>> 0;
      const g = svg("g", {class: f === on ? "on" : ""}, svg("rect", {x: x + "%", y: f.depth * row, width: w + "%", height: row - 1, fill: outside ? "#b8bfc6" : `hsl(${28 + (h % 24)} ${70 + ((h >> 5) % 20)}% ${64 + ((h >> 10) % 14)}%)`}));
      if (w > 3) g.append(svg("svg", {class: "clip", x: x + "%", y: f.depth * row, width: w + "%", height: row - 1}, svg("text", {x: 4, y: 13}, f.name)));
      g.addEventListener("pointermove", (e) => showTip(tell(f), e.clientX, e.clientY));
      g.addEventListener("click", () => { zoom = on = f; draw(); });
      drawn.set(f, g);
      plot.append(g);
    };
    const path = [];
    for (let f = zoom.up; f; f = f.up) path.unshift(f);
    for (const f of path) frame(f, 0, 100);
    const below = (f, x, w) => {
      frame(f, x, w);
      if (w < 0.15) return;
      let left = x;
      for (const kid of [...f.kids.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
        const part = (100 * kid.n) / zoom.n;
        below(kid, left, part);
        left += part;
      }
    };
    below(zoom, 0, 100);
    plot.setAttribute("height", (deepest + 1) * row);
  };
  const go = (f) => {
    if (!f || !drawn.has(f)) return;
    if (drawn.has(on)) drawn.get(on).classList.remove("on");
    on = f;
    drawn.get(f).classList.add("on");
    const box = drawn.get(f).getBoundingClientRect();
    showTip(tell(f), box.left + Math.min(box.width / 2, 120), box.bottom);
  };
  plot.addEventListener("keydown", (e) => {
    const kids = (f) => [...f.kids.values()].filter((k) => drawn.has(k)).sort((a, b) => (a.name < b.name ? -1 : 1));
    const siblings = on.up ? kids(on.up) : [on], i = siblings.indexOf(on);
    switch (e.key) {
    case "ArrowDown": go(kids(on).sort((a, b) => b.n - a.n)[0]); break;
    case "ArrowUp": go(on.up); break;
    case "ArrowLeft": go(siblings[i - 1]); break;
    case "ArrowRight": go(siblings[i + 1]); break;
    case "Enter": zoom = on; draw(); break;
    case "Escape": zoom = on = root; draw(); hideTip(); break;
    default: return;
    }
    e.preventDefault();
  });
  plot.addEventListener("pointerleave", hideTip);
  plot.addEventListener("blur", hideTip);
  draw();
  return html("figure", {class: "wide"}, html("figcaption", {class: "small"}, html("b", {}, `Where CPU time went, ${name}`), " ", html("span", {class: "soft"}, profile.about + "; click a frame to zoom")), plot);
}

function drawRun(run) {
  const parts = overview(run).filter(Boolean);
  const hist = html("div", {class: "lines"});
  for (const [role, name] of roles) if (run.ends[role] && run.ends[role].cpus) hist.append(cpus(run.ends[role].cpus, name));
  for (const [role, name] of roles) for (const h of (run.ends[role] && run.ends[role].frames) || []) hist.append(histogram({...h, title: `${h.title}, ${name}`}));
  if (hist.children.length) parts.push(hist);
  const calls = roles.flatMap(([role, name]) => ((run.ends[role] && run.ends[role].calls) || []).map((c) => [name, c]));
  if (calls.length) {
    const timed = calls.some(([, c]) => c.ms !== undefined);
    const heads = ["System calls", "", "calls", "per GB", ...(timed ? ["errors", "total ms", "min µs", "mean µs", "max µs"] : [])];
    parts.push(html("div", {class: "lines"}, html("div", {class: "wide"}, table(heads, calls.map(([name, c]) => [c.name, name, count(c.calls), plain(c.per_gb),
      ...(timed ? [count(c.errors || 0), plain(c.ms), plain(c.min), plain(c.mean), plain(c.max)] : [])])))));
  }
  for (const [role, name] of roles) {
    const p = run.ends[role] && run.ends[role].profile;
    if (!p) continue;
    const box = html("div", {class: "lines"});
    if (p.stacks && p.stacks.length) box.append(flame(p, name));
    if (p.symbols && p.symbols.length) box.append(html("details", {class: "wide"}, html("summary", {}, `Top functions, ${name}`), table(["function", "in", "%"], p.symbols.map((s) => [s.name, s.module, number(s.percent)]))));
    parts.push(box);
  }
  $("run-detail").replaceChildren(...parts);
}

let chooseCell = null;
if (data) {
  const cellBox = $("cell"), runBox = $("run");
  document.querySelector(".choose").hidden = false;
  const of = data.cells.map(() => []);
  data.runs.forEach((r) => of[r.cell].push(r));
  data.cells.forEach((c, i) => { if (of[i].length) cellBox.append(html("option", {value: i}, c.name)); });
  const chooseRun = () => { const r = data.runs[Number(runBox.value)]; if (r) drawRun(r); };
  chooseCell = (i) => {
    if (!of[i] || !of[i].length) return false;
    cellBox.value = i;
    runBox.replaceChildren(...of[i].toSorted((a, b) => Number(a.name) - Number(b.name)).map((r) => html("option", {value: data.runs.indexOf(r)}, `${r.name}: ${r.gbps} Gbit/s${r.dropped ? " (left out)" : ""}`)));
    runBox.value = data.cells[i].first;
    chooseRun();
    return true;
  };
  cellBox.addEventListener("change", () => chooseCell(Number(cellBox.value)));
  runBox.addEventListener("change", chooseRun);
  chooseCell(Number(cellBox.value));
}
function openCell(i) {
  if (!chooseCell || !chooseCell(i)) return;
  hideTip();
  $("detail-title").focus({preventScroll: true});
  $("detail").scrollIntoView();
}
})();
