// What all tabs share: the photograph, how maps are shown, what is being done, and the tabs themselves.
import { ask, numbers } from "./api.js";
import { element, show, shown } from "./view.js";
import * as classes from "./classes.js";
import * as locations from "./locations.js";
import * as faces from "./faces.js";
import * as detections from "./detections.js";

export const byId = (id) => document.getElementById(id);
export const state = { photograph: null, offers: null };
const TABS = { classes, locations, faces, detections };
const stale = new Set(); // Tabs whose maps have other steps or another blur than the controls.
const files = new Map(); // The files themselves, to send one again that the session has forgotten.
let running = null;
let under = Promise.resolve(); // What is being done.

export const busy = () => running !== null;

/** Asks, with what is done shown and to be cancelled; what was asked before in the page is cancelled first. */
export function work(words, job) {
  return (under = done(words, job));
}

/** The same once what is being done now has ended. */
export async function afterwards(words, job) {
  while (busy()) await under;
  return work(words, job);
}

async function done(words, job) {
  running?.abort();
  const mine = (running = new AbortController());
  const tell = (text, share) => {
    if (running !== mine) return;
    byId("status").className = "";
    if (byId("status").textContent !== text) byId("status").textContent = text;
    byId("progress").hidden = share === undefined;
    byId("progress").value = share ?? 0;
  };
  byId("cancel").hidden = false;
  tell(words);
  const began = performance.now();
  try {
    if (!state.offers) await load({ signal: mine.signal, tell });
    const said = await job({ signal: mine.signal, tell });
    tell(said ?? `Done in ${((performance.now() - began) / 1000).toFixed(1)} s.`);
  } catch (error) {
    if (error.name === "AbortError") tell("Cancelled.");
    else {
      tell(error.message);
      if (running === mine) byId("status").className = "error";
    }
  } finally {
    if (running === mine) {
      byId("cancel").hidden = byId("progress").hidden = true;
      running = null;
    }
  }
}

/** `ask`, with the place in the line told; a photograph that was forgotten is sent again. */
export async function inLine(name, content, { tell, signal, each = () => {} }) {
  const listen = (message) => {
    if (message.before) tell(`Waiting: ${message.before} before this.`);
    else each(message);
  };
  try {
    return await ask(name, content, { tell: listen, signal });
  } catch (error) {
    if (!files.has(error.forgotten)) throw error;
    await send(files.get(error.forgotten), signal);
    return await ask(name, content, { tell: listen, signal });
  }
}

/** Sends a file, or asks for a packaged one by its name; returns its hash. */
export async function send(file, signal) {
  const packaged = typeof file === "string";
  const most = state.offers.most;
  if (file.size > most) throw new Error(`${file.name} is above the limit of ${most >> 20} MiB for a photograph.`);
  const { photograph } = await ask(packaged ? "sample" : "photograph", packaged ? { name: file } : file, { signal });
  files.delete(photograph);
  files.set(photograph, file);
  if (files.size > 20) files.delete(files.keys().next().value);
  return photograph;
}

/** The steps of a walk; what cannot be walked is put right in its field. */
export function iterations() {
  const asked = byId("iterations").valueAsNumber;
  const found = Number.isNaN(asked) ? 25 : Math.min(2000, Math.max(1, Math.round(asked)));
  if (found !== asked) byId("iterations").value = found;
  return found;
}

export const steps = (number) => `${number} step${number === 1 ? "" : "s"}`;
export const sigma = () => byId("sigma").valueAsNumber || null;

function openTab(name) {
  for (const tab of Object.keys(TABS)) {
    byId(`tab-${tab}`).setAttribute("aria-selected", tab === name);
    byId(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
    byId(tab).hidden = tab !== name;
  }
  state.tab = name;
  if (!busy()) byId("status").textContent = "";
  const anew = TABS[name].opened();
  if (stale.delete(name) && !anew) TABS[name].changed();
}

/** Steps or blur are others: for the tab that is open now, for the others once they are opened. */
function changed() {
  for (const name of Object.keys(TABS)) if (name !== state.tab) stale.add(name);
  TABS[state.tab].changed();
}

async function arrived(file) {
  if (!file) return;
  if (!["classes", "faces"].includes(state.tab)) openTab("classes");
  await TABS[state.tab].arrived(file);
}

/** The colours of a map from 0 to 1. */
function legend() {
  const context = byId("legend").getContext("2d");
  const made = context.createImageData(256, 1);
  shown.tables[shown.colours].forEach((value, at) => { made.data[4 * Math.floor(at / 3) + (at % 3)] = 255 * value; });
  for (let level = 0; level < 256; level += 1) made.data[4 * level + 3] = 255;
  context.putImageData(made, 0, 0);
}

/** What a slider means, for all who read it. */
function told(id, words) {
  document.querySelector(`output[for=${id}]`).textContent = words;
  byId(id).setAttribute("aria-valuetext", words);
}

function wire() {
  const tabs = Object.keys(TABS);
  for (const name of tabs) byId(`tab-${name}`).addEventListener("click", () => openTab(name));
  byId("tabs").addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = tabs[(tabs.indexOf(state.tab) + by + tabs.length) % tabs.length];
    openTab(next);
    byId(`tab-${next}`).focus();
  });
  byId("opacity").addEventListener("input", () => {
    show({ opacity: byId("opacity").value / 100 });
    told("opacity", `${byId("opacity").value}%`);
  });
  byId("colours").addEventListener("change", () => {
    show({ colours: byId("colours").value });
    legend();
  });
  byId("sigma").addEventListener("input", () => {
    told("sigma", sigma() ? `${sigma()} pixels` : "the method's own");
  });
  for (const id of ["sigma", "iterations"]) byId(id).addEventListener("change", changed);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").addEventListener("reset", () => setTimeout(() => {
    for (const id of ["opacity", "sigma"]) byId(id).dispatchEvent(new Event("input"));
    byId("colours").dispatchEvent(new Event("change"));
    changed();
  }));
  byId("cancel").addEventListener("click", () => running?.abort());
  byId("theme").addEventListener("change", () => {
    if (byId("theme").value) document.documentElement.dataset.theme = byId("theme").value;
    else delete document.documentElement.dataset.theme;
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    byId("dropping").hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) byId("dropping").hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    byId("dropping").hidden = true;
    arrived(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => arrived(event.clipboardData.files[0]));
  addEventListener("pagehide", () => running?.abort());
}

/** The network, before whatever is asked first; where that was cancelled or failed, before what is asked next. */
async function load({ signal, tell }) {
  tell("Loading the network …");
  const offers = await inLine("offers", {}, { tell, signal });
  byId("network").textContent = offers.network;
  show({ tables: Object.fromEntries(Object.entries(offers.colours).map(([name, table]) => [name, numbers(table)])) });
  byId("colours").replaceChildren(...Object.keys(offers.colours).map((name) => element("option", {}, name)));
  shown.colours = byId("colours").value;
  legend();
  for (const tab of Object.values(TABS)) tab.ready(offers);
  state.offers = offers;
}

async function begin() {
  wire();
  for (const tab of Object.values(TABS)) tab.wire();
  state.tab = "classes";
  await work("Loading the network …", async () => "Ready: choose a photograph.");
}

begin();
