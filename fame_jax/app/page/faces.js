// Faces: two photographs, the faces in them, how similar they are, and why; rectangles drawn over a face.
import { picture } from "./api.js";
import { element, View } from "./view.js";
import { again, deeds } from "./classes.js";
import { byId, inLine, iterations, send, sigma, steps, work } from "./page.js";

const NAMES = { probe: "Probe", gallery: "Gallery" };
const SUNGLASSES = [22, 42, 90, 62];
const MAPS = { similar: "similar (e+)", dissimilar: "dissimilar (e−)" };
let slots = { probe: null, gallery: null }; // What was chosen: photograph, found faces, number, rectangles.
let views = {};
let next = "probe";

export function wire() {
  byId("swap").addEventListener("click", () => {
    slots = { probe: slots.gallery, gallery: slots.probe };
    for (const name of Object.keys(slots)) draw(name);
    compare();
  });
  byId("portrait").addEventListener("click", () => work("Finding the face …", async (how) => {
    await fill("probe", "portrait", how);
    await fill("gallery", "portrait", how);
    slots.probe.covered = [SUNGLASSES];
    await compared(how);
  }));
  for (const name of Object.keys(slots)) draw(name);
}

export function ready() {}
export function opened() {}
export const changed = () => compare();

/** A dropped or pasted photograph goes to the side that is empty, or was not filled last. */
export async function arrived(file, name = slots.probe && !slots.gallery ? "gallery" : slots.gallery && !slots.probe ? "probe" : next) {
  await work("Looking for faces …", async (how) => {
    await fill(name, file, how);
    next = name === "probe" ? "gallery" : "probe";
    return compared(how);
  });
}

async function fill(name, file, how) {
  const photograph = await send(file, how.signal);
  const found = await inLine("faces", { photograph }, how);
  if (!found.aligned && !found.faces.length) throw new Error(`${found.name}: no face was found; take another photograph.`);
  slots[name] = { photograph, ...found, bitmap: await picture(found.image), face: null, covered: [] };
  draw(name);
}

function draw(name) {
  const slot = slots[name];
  const file = element("input", { type: "file", accept: "image/*,.tif,.tiff", hidden: true, onchange: () => arrived(file.files[0], name) });
  const choose = element("button", { type: "button", class: slot ? "" : "first", onclick: () => file.click() }, `Choose the ${NAMES[name].toLowerCase()}`);
  const parts = [element("h2", {}, NAMES[name]), element("p", {}, choose, " ", element("span", { class: "quiet" }, slot?.name ?? "or drop or paste one"), file)];
  for (const view of Object.values(views[name] ?? {})) view.forget();
  views[name] = {};
  parts.push(element("div", { class: "maps" }, ...(slot?.faces.length ? [whole(name, slot)] : [])), element("p", { class: "quiet note" }));
  byId(name).replaceChildren(...parts);
}

/** The photograph with its faces as buttons. */
function whole(name, slot) {
  const [height, width] = slot.size;
  const canvas = element("canvas", { width: slot.bitmap.width, height: slot.bitmap.height, role: "img", "aria-label": `${slot.name} with ${slot.faces.length} ${slot.faces.length === 1 ? "face" : "faces"}` });
  canvas.getContext("2d").drawImage(slot.bitmap, 0, 0);
  return element("div", { class: "picture whole" }, canvas, boxes(slot.faces.map(({ box, score }, index) => ({
    box, words: slot.faces.length > 1 ? `${index + 1}` : "", label: `face ${index + 1}, score ${score}`, pressed: (slot.face ?? 1) === index + 1,
    choose: () => {
      slot.face = index + 1;
      slot.covered = [];
      draw(name);
      compare();
    },
  })), width, height));
}

/** Buttons over a picture, one a box in its pixels. */
export function boxes(all, width, height) {
  return element("div", { class: "over boxes", role: "group", "aria-label": "What was found" }, ...all.map(({ box, words, label, pressed, choose }) => {
    const [left, top, right, bottom] = box;
    const button = element("button", { type: "button", "aria-label": label, "aria-pressed": Boolean(pressed), onclick: choose }, element("span", { "aria-hidden": "true" }, words));
    const percent = (value) => `${100 * Math.min(1, Math.max(0, value))}%`;
    Object.assign(button.style, { left: percent(left / width), top: percent(top / height), width: percent((right - Math.max(0, left)) / width), height: percent((bottom - Math.max(0, top)) / height) });
    return button;
  }));
}

const side = ({ photograph, face, covered }) => ({ photograph, face, covered });

const compare = () => slots.probe && slots.gallery && work("Comparing …", compared);

async function compared(how) {
  const { probe, gallery } = slots;
  if (!probe || !gallery) return "Now the other face.";
  const found = await inLine("compare", { probe: side(probe), gallery: side(gallery) }, how);
  const similarity = found.similarity === null ? "not known" : found.similarity.toFixed(3);
  byId("verdict").textContent = found.threshold === null
    ? `Similarity ${similarity}; there is no threshold (${found.source}).`
    : `Similarity ${similarity}, threshold ${found.threshold.toFixed(3)} (${found.source}): ${found.decision}.`;
  const bitmaps = await Promise.all(found.images.map(picture));
  for (const [index, name] of Object.keys(slots).entries()) {
    prepare(name, found.size, bitmaps[index]);
    byId(name).querySelector(".note").textContent = found.notes[index];
  }
  return explained(how);
}

function prepare(name, size, bitmap) {
  for (const view of Object.values(views[name])) view.forget();
  const face = new View("The aligned face", size);
  views[name] = { face, ...Object.fromEntries(Object.entries(MAPS).map(([kind, words]) => [kind, new View(words, size)])) };
  for (const view of Object.values(views[name])) view.under(bitmap);
  drawing(name, face);
  const slot = slots[name];
  const wear = element("button", { type: "button", onclick: () => { slot.covered = [...slot.covered, SUNGLASSES]; compare(); } }, "Sunglasses");
  const bare = element("button", { type: "button", disabled: !slot.covered.length, onclick: () => { slot.covered = []; compare(); } }, "Take off");
  face.more.replaceChildren(element("span", { class: "line" }, "Draw a black rectangle over it with the mouse."), element("div", { class: "deeds" }, wear, bare));
  const maps = byId(name).querySelector(".maps");
  maps.replaceChildren(...maps.querySelectorAll(".whole"), ...Object.values(views[name]).map((view) => view.figure));
}

/** A rectangle drawn over the face with the pointer. */
function drawing(name, view) {
  view.picture.classList.add("draw");
  const rubber = element("div", { class: "rubber", hidden: true });
  view.picture.append(rubber);
  let from = null;
  const rectangle = (to) => [Math.min(from[1], to[1]), Math.min(from[0], to[0]), Math.max(from[1], to[1]) + 1, Math.max(from[0], to[0]) + 1];
  view.canvas.addEventListener("pointerdown", (event) => {
    view.canvas.setPointerCapture(event.pointerId);
    from = view.place;
  });
  view.canvas.addEventListener("pointermove", () => {
    if (!from) return;
    const [left, top, right, bottom] = rectangle(view.place);
    rubber.hidden = false;
    const percent = (value, size) => `${(100 * value) / size}%`;
    Object.assign(rubber.style, { left: percent(left, view.width), top: percent(top, view.height), width: percent(right - left, view.width), height: percent(bottom - top, view.height) });
  });
  const end = (keep) => {
    const drawn = from && view.place && rectangle(view.place);
    from = null;
    rubber.hidden = true;
    if (!keep || !drawn || (drawn[2] - drawn[0]) * (drawn[3] - drawn[1]) < 9) return;
    slots[name].covered = [...slots[name].covered, drawn].slice(-16);
    compare();
  };
  view.canvas.addEventListener("pointerup", () => end(true));
  view.canvas.addEventListener("pointercancel", () => end(false));
}

async function explained(how) {
  const asked = { about: "pair", sides: [side(slots.probe), side(slots.gallery)], iterations: iterations(), sigma: sigma() };
  const order = ["probe_similar", "probe_dissimilar", "gallery_similar", "gallery_dissimilar"];
  const { done } = await inLine("explain", asked, { ...how, each: ({ frame }) => {
    if (!frame) return;
    const [name, kind] = frame.map.split("_");
    views[name][kind].add(frame);
    how.tell("Walking: what makes them similar, what dissimilar", (order.indexOf(frame.map) + frame.steps / asked.iterations) / order.length);
  } });
  for (const [map, said] of Object.entries(done.maps)) {
    const [name, kind] = map.split("_");
    const similarity = (loss) => (kind === "similar" ? loss : 1 - loss)?.toFixed(3);
    const walked = said.steps ? `similarity ${similarity(said.first_loss)} → ${similarity(said.last_loss)} in ${steps(said.steps)}` : "";
    views[name][kind].words.textContent = [walked, said.words === "ok" ? "" : said.words].filter(Boolean).join(", ");
  }
  byId("pair-out").replaceChildren(deeds(null, asked, done, { road: false }), again(done.again));
}
