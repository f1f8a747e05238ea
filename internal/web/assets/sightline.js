// Sightline's pages work without this. It keeps them fresh: what is marked
// data-fresh is fetched again and merged node by node, so that scroll, focus
// and pictures stay; the live picture and its marks are drawn frame by frame.
"use strict";

const byId = (id) => document.getElementById(id);
const hidden = () => document.visibilityState === "hidden";

// Merging: an element is kept if its tag and data-key fit, and gets the new attributes and children.
const keyOf = (n) => n.nodeType === 1 ? n.tagName + (n.dataset.key ?? "") : n.nodeType;

function merge(now, next) {
  if (now.nodeType !== 1) { if (now.nodeValue !== next.nodeValue) now.nodeValue = next.nodeValue; return; }
  if (now.dataset.keep !== undefined) return;
  for (const a of [...now.attributes]) if (!next.hasAttribute(a.name)) now.removeAttribute(a.name);
  for (const a of next.attributes) if (now.getAttribute(a.name) !== a.value) now.setAttribute(a.name, a.value);
  mergeChildren(now, next);
}

function mergeChildren(now, next) {
  const old = [...now.childNodes];
  let at = now.firstChild;
  for (const want of [...next.childNodes]) {
    const i = old.findIndex((n) => keyOf(n) === keyOf(want));
    const have = i < 0 ? want : old.splice(i, 1)[0];
    if (have === at) at = at.nextSibling; else now.insertBefore(have, at);
    if (have !== want) merge(have, want);
  }
  for (const n of old) n.remove();
}

// Fetching: at once when something happened, but at most twice a second, and every two seconds for ages.
let timer = 0, busy = false, again = false, lastGood = Date.now();

async function refresh() {
  if (hidden() || !document.querySelector("[data-fresh]")) return;
  if (busy) { again = true; return; }
  busy = true;
  clearTimeout(timer);
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.statusText);
    if (answer.redirected) { location.href = answer.url; return; } // to the login
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-fresh]")) {
      const next = page.getElementById(part.id);
      if (next) merge(part, document.importNode(next, true));
    }
    document.title = page.title;
    lastGood = Date.now();
    told(false);
  } catch { told(true); }
  busy = false;
  timer = setTimeout(refresh, again ? 500 : 2000);
  again = false;
}

// Disconnected: what was known last stays, and says how old it is.
function told(gone) {
  const banner = document.querySelector(".gone");
  banner.hidden = !gone;
  if (gone) {
    const s = Math.round((Date.now() - lastGood) / 1000);
    const text = `${document.body.dataset.who ?? "The device"} doesn't answer. This is what it said ${s < 120 ? s + " s" : Math.round(s / 60) + " min"} ago; trying again.`;
    if (banner.firstChild.textContent !== text) banner.firstChild.textContent = text;
  }
}

// Events: each verdict wakes the refresh.
let events = null;

function listen() {
  if (events || hidden() || !document.querySelector("[data-fresh]")) return;
  events = new EventSource(document.body.dataset.events ?? "/v1/events");
  for (const kind of ["result", "health", "wake"]) events.addEventListener(kind, () => {
    if (busy) { again = true; return; }
    clearTimeout(timer);
    timer = setTimeout(refresh, Math.max(50, 500 - (Date.now() - lastGood)));
  });
}

// The live picture: a stream of JPEGs, each with its marks in a header, so that both are of the same frame.
class Live {
  constructor(stage) {
    this.stage = stage;
    this.canvas = stage.querySelector("canvas");
    this.marks = stage.querySelector(".marks");
    this.note = stage.querySelector(".note");
    this.zoom = 1; this.x = 0; this.y = 0;
    this.lastFrame = 0;
    this.pointers = new Map();
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) stage.addEventListener(kind, (e) => this.drag(e));
    stage.addEventListener("wheel", (e) => {
      if (!e.ctrlKey) return;
      e.preventDefault();
      this.scale(Math.exp(-e.deltaY / 300), e.clientX, e.clientY);
    }, { passive: false });
    new ResizeObserver(() => this.draw()).observe(stage);
    setInterval(() => this.age(), 500);
  }

  async run() {
    if (this.stop || hidden()) return;
    this.stop = new AbortController();
    try {
      const answer = await fetch(this.stage.dataset.live, { signal: this.stop.signal });
      if (answer.ok) await this.read(answer.body.getReader());
    } catch { /* tried again below */ }
    this.stop = null;
    if (!hidden()) setTimeout(() => this.run(), 1000);
  }

  end() { this.stop?.abort(); }

  async read(reader) {
    let data = new Uint8Array(0);
    const text = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const more = new Uint8Array(data.length + value.length);
      more.set(data); more.set(value, data.length);
      data = more;
      for (;;) {
        const head = text.decode(data.subarray(0, 65536)), end = head.indexOf("\r\n\r\n");
        if (end < 0) break;
        const length = Number(/content-length: *(\d+)/i.exec(head.slice(0, end))?.[1] ?? 0);
        if (data.length < end + 4 + length) break;
        const overlay = JSON.parse(/sightline-overlay: *(.*)/i.exec(head.slice(0, end))?.[1] ?? "null");
        const jpeg = data.slice(end + 4, end + 4 + length);
        data = data.slice(end + 4 + length);
        await this.show(jpeg, overlay);
      }
    }
  }

  async show(jpeg, overlay) {
    const picture = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    if (this.canvas.width !== picture.width || this.canvas.height !== picture.height) {
      this.canvas.width = picture.width; this.canvas.height = picture.height;
    }
    this.canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
    this.overlay = overlay;
    this.lastFrame = Date.now();
    this.draw(); this.age();
  }

  draw() {
    this.canvas.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
    const o = this.overlay;
    if (!o) return;
    const scale = this.stage.clientWidth / o.width * this.zoom;
    const narrow = this.stage.clientWidth < 500, rows = [];
    for (const p of o.parts) rows.push([p.suspect ? "suspect" : "open", p.box, short(p.id) + (narrow ? "" : ` · ${p.label} ${p.score.toFixed(2)}`)]);
    for (const d of o.defects) rows.push(["defect", d.box, d.label + (narrow ? "" : ` ${d.score.toFixed(2)}`), d.outlines]);
    const point = ([x, y]) => `${(x * scale + this.x).toFixed(1)},${(y * scale + this.y).toFixed(1)}`;
    this.marks.replaceChildren(...rows.map(([kind, box, label, outlines]) => {
      const [x, y, w, h] = [box[0] * scale + this.x, box[1] * scale + this.y, box[2] * scale, box[3] * scale];
      const g = svg("g", { class: kind });
      if (outlines) g.append(...outlines.map((o) => svg("polygon", { points: o.map(point).join(" ") })));
      else g.append(svg("rect", { x, y, width: w, height: h }));
      g.append(svg("text", { x: Math.max(4, x + 3), y: kind === "defect" ? y + h + 15 : y < 20 ? y + 16 : y - 7 }, label));
      return g;
    }));
  }

  age() {
    const quiet = Date.now() - this.lastFrame;
    const stale = this.lastFrame > 0 && quiet > 2500;
    this.stage.classList.toggle("stale", stale);
    const text = this.lastFrame === 0 ? "Waiting for the first picture" : stale ? `No picture for ${Math.round(quiet / 1000)} s` : "";
    this.note.hidden = text === "";
    if (this.note.textContent !== text) this.note.textContent = text;
  }

  scale(factor, clientX, clientY) {
    const r = this.stage.getBoundingClientRect(), zoom = Math.min(12, Math.max(1, this.zoom * factor));
    const px = (clientX ?? r.left + r.width / 2) - r.left, py = (clientY ?? r.top + r.height / 2) - r.top;
    this.x = px - (px - this.x) * zoom / this.zoom;
    this.y = py - (py - this.y) * zoom / this.zoom;
    this.zoom = zoom;
    this.move(0, 0);
  }

  move(dx, dy) {
    this.x = Math.min(0, Math.max(this.stage.clientWidth * (1 - this.zoom), this.x + dx));
    this.y = Math.min(0, Math.max(this.stage.clientHeight * (1 - this.zoom), this.y + dy));
    this.stage.style.touchAction = this.zoom > 1 ? "none" : "";
    this.draw();
  }

  drag(e) {
    const before = this.pointers.get(e.pointerId);
    if (e.type === "pointerup" || e.type === "pointercancel") { this.pointers.delete(e.pointerId); return; }
    if (e.type === "pointerdown") { this.pointers.set(e.pointerId, e); return; }
    if (!before) return;
    const other = [...this.pointers.values()].find((p) => p.pointerId !== e.pointerId);
    if (other) {
      const far = (p) => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY);
      this.scale(far(e) / Math.max(1, far(before)), (e.clientX + other.clientX) / 2, (e.clientY + other.clientY) / 2);
    } else this.move(e.clientX - before.clientX, e.clientY - before.clientY);
    this.pointers.set(e.pointerId, e);
  }
}

// A part's own number, without what all parts of the station have in front.
const short = (id) => (id.split(/[-_:/.]/).pop() || id).slice(-12);

function svg(name, attributes, text) {
  const n = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attributes)) n.setAttribute(k, typeof v === "number" ? v.toFixed(1) : v);
  if (text) n.textContent = text;
  return n;
}

// Keys.
function step(by) {
  const parts = [...document.querySelectorAll(".part > a, a[data-step]")];
  if (parts.length === 0) return;
  const at = parts.indexOf(document.activeElement);
  parts[at < 0 ? 0 : Math.min(parts.length - 1, Math.max(0, at + by))].focus();
}

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
  const act = {
    j: () => step(1), k: () => step(-1),
    m: () => stages.forEach((s) => { s.marks.toggleAttribute("hidden"); }),
    0: () => stages.forEach((s) => s.scale(1 / 12)),
    "+": () => stages.forEach((s) => s.scale(1.5)), "-": () => stages.forEach((s) => s.scale(1 / 1.5)),
    "/": () => document.querySelector("input[type=search]")?.focus(),
    "?": () => byId("keys").showModal(),
  }[e.key];
  if (act) { e.preventDefault(); act(); }
});

const keys = document.querySelector(".keys");
if (keys) keys.hidden = false;
keys?.addEventListener("click", () => byId("keys").showModal());

const stages = [...document.querySelectorAll("[data-live]")].map((s) => new Live(s));

function wake() {
  if (hidden()) {
    events?.close(); events = null;
    clearTimeout(timer);
    stages.forEach((s) => s.end());
    return;
  }
  listen();
  stages.forEach((s) => s.run());
  refresh();
}
document.addEventListener("visibilitychange", wake);
wake();
