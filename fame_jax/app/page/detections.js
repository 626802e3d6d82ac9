// Detections: boxes over the photograph; click one and see why it is there.
import { picture } from "./api.js";
import { element, View } from "./view.js";
import { again, deeds } from "./classes.js";
import { boxes } from "./faces.js";
import { byId, inLine, iterations, sigma, state, work } from "./page.js";

let photograph = null;
let found = null;
let chosen = null;
let view = null;

export function wire() {}

export function ready(offers) {
  byId("tab-detections").hidden = !offers.subjects.includes("detection");
}

/** Whether the photograph is another one. */
export function opened() {
  const current = state.photograph;
  if (!current || current.photograph === photograph) return false;
  work("Looking for what is there …", async (how) => {
    found = await inLine("detections", { photograph: current.photograph }, how);
    photograph = current.photograph;
    found.bitmap = await picture(found.image);
    chosen = null;
    byId("detection-lead").hidden = true;
    byId("detection-stage").hidden = false;
    byId("detection-view").replaceChildren();
    draw();
    byId("detection-ask").hidden = !found.detections.length;
    return found.detections.length
      ? `${found.detections.length} found; choose one.`
      : `${found.detector} finds nothing here${found.finds ? `; it looks for: ${found.finds}` : ""}. Take another photograph under Classes.`;
  });
  return true;
}

function draw() {
  const [height, width] = found.size;
  const canvas = element("canvas", { width, height, role: "img", "aria-label": `${found.name} with ${found.detections.length} detections` });
  canvas.getContext("2d").drawImage(found.bitmap, 0, 0, width, height);
  byId("detection-whole").replaceChildren(element("div", { class: "picture" }, canvas, boxes(found.detections.map(({ name, box }, index) => ({
    box, words: name, label: name, pressed: chosen === index, choose: () => choose(index),
  })), width, height)));
}

export function changed() {
  if (chosen !== null) choose(chosen);
}

function choose(index) {
  chosen = index;
  draw();
  view?.forget();
  view = new View(found.detections[index].name, found.size);
  view.under(found.bitmap);
  byId("detection-view").replaceChildren(view.figure);
  return work(`Explaining ${found.detections[index].name} …`, async (how) => {
    const asked = { about: "detection", sides: [{ photograph }], target: index, iterations: iterations(), sigma: sigma() };
    const { done } = await inLine("explain", asked, { ...how, each: ({ frame }) => {
      if (!frame) return;
      view.add(frame);
      how.tell(`Explaining ${found.detections[index].name}`, frame.steps / asked.iterations);
    } });
    const { first_loss: first, last_loss: last, words } = done.maps.attribution;
    view.words.textContent = `likeness of what is found to this box ${first?.toFixed(2)} → ${last?.toFixed(2)}${words === "ok" ? "" : `, ${words}`}`;
    view.below(deeds(view, asked, done, { road: false }), again(done.again));
  });
}
