// One map over its picture: colours, opacity, the number under the pointer.
import { numbers } from "./api.js";

export const shown = { opacity: 0.6, colours: "inferno", tables: {} };
const views = new Set();

export function show(changes) {
  Object.assign(shown, changes);
  for (const view of views) view.soon();
}

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export class View {
  /** `[height, width]` of the picture as the network sees it. */
  constructor(title, size) {
    [this.height, this.width] = size;
    this.frames = [];
    this.step = Infinity;
    this.title = title;
    this.canvas = element("canvas", { width: this.width, height: this.height, tabindex: 0, role: "img", "aria-label": title });
    this.at = element("span", { class: "at", hidden: true });
    this.picture = element("div", { class: "picture" }, this.canvas, this.at);
    this.value = element("output", { "aria-live": "polite" });
    this.words = element("span", { class: "line" });
    this.more = element("div");
    this.figure = element("figure", {}, this.picture,
      element("figcaption", {}, element("span", { class: "head" }, element("b", {}, title), this.value), this.words, this.more));
    this.figure.view = this;
    this.place = null;
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.look(null));
    this.canvas.addEventListener("blur", () => this.look(null));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    views.add(this);
    this.soon();
  }

  forget() {
    views.delete(this);
  }

  under(bitmap) {
    const flat = new OffscreenCanvas(this.width, this.height).getContext("2d", { willReadFrequently: true });
    flat.drawImage(bitmap, 0, 0, this.width, this.height);
    this.pixels = flat.getImageData(0, 0, this.width, this.height).data;
    this.soon();
  }

  /** A frame of the walk; null where the method has no such map. */
  add(frame) {
    if (frame.values === null) return;
    const kept = { ...frame, values: numbers(frame.values) };
    if (this.frames.at(-1)?.steps === kept.steps) this.frames.pop();
    this.frames.push(kept);
    this.soon();
  }

  /** Without a map; what stood below keeps its room, so that nothing moves under the pointer. */
  clear() {
    this.frames = [];
    this.more.style.visibility = "hidden";
    this.soon();
  }

  /** What stands below the map. */
  below(...parts) {
    this.more.style.visibility = "";
    this.more.replaceChildren(...parts);
  }

  /** The map at the chosen step: of a method without steps its only one. */
  get now() {
    let found = null;
    for (const frame of this.frames) if (frame.steps <= this.step || this.frames.length === 1) found = frame;
    return found;
  }

  soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    const made = context.createImageData(this.width, this.height);
    const values = this.now?.values;
    const table = shown.tables[shown.colours];
    const share = values && table ? shown.opacity : 0;
    for (let pixel = 0, at = 0; pixel < this.width * this.height; pixel += 1, at += 4) {
      const level = share ? 3 * Math.round(255 * Math.min(1, Math.max(0, values[pixel] || 0))) : 0;
      for (let channel = 0; channel < 3; channel += 1) {
        const below = this.pixels ? this.pixels[at + channel] : 128;
        made.data[at + channel] = share ? (1 - share) * below + share * 255 * table[level + channel] : below;
      }
      made.data[at + 3] = 255;
    }
    context.putImageData(made, 0, 0);
    this.canvas.setAttribute("aria-label", `${this.title} over the photograph. Arrow keys read single pixels.`);
    if (this.place) this.look(this.place);
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const limit = (value, size) => Math.min(size - 1, Math.max(0, Math.floor(value)));
    this.look([
      limit(((event.clientY - box.top) / box.height) * this.height, this.height),
      limit(((event.clientX - box.left) / box.width) * this.width, this.width),
    ]);
  }

  key(event) {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    const by = event.shiftKey ? 1 : 8;
    const [row, column] = this.place ?? [this.height >> 1, this.width >> 1];
    const limit = (value, size) => Math.min(size - 1, Math.max(0, value));
    this.look([limit(row + by * move[0], this.height), limit(column + by * move[1], this.width)]);
  }

  look(place) {
    this.place = place;
    this.at.hidden = place === null;
    if (place === null) {
      this.value.textContent = "";
      return;
    }
    const [row, column] = place;
    this.at.style.left = `${(100 * (column + 0.5)) / this.width}%`;
    this.at.style.top = `${(100 * (row + 0.5)) / this.height}%`;
    const value = this.now?.values[row * this.width + column];
    this.value.textContent = `row ${row}, column ${column}: ${value === undefined ? "no map yet" : value.toFixed(3)}`;
  }
}
