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
const files = new Map(); // The files themselves, to send one again that the session has forgotten.
let running = null;

export const busy = () => running !== null;

/** Asks, with what is done shown and to be cancelled; what was asked before in the page is cancelled first. */
export async function work(words, job) {
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
    const done = await job({ signal: mine.signal, tell });
    tell(done ?? `Done in ${((performance.now() - began) / 1000).toFixed(1)} s.`);
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

export const iterations = () => Math.min(2000, Math.max(1, Math.round(byId("iterations").valueAsNumber) || 25));
export const sigma = () => byId("sigma").valueAsNumber || null;

function openTab(name) {
  for (const tab of Object.keys(TABS)) {
    byId(`tab-${tab}`).setAttribute("aria-selected", tab === name);
    byId(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
    byId(tab).hidden = tab !== name;
  }
  state.tab = name;
  TABS[name].opened();
}

async function arrived(file) {
  if (!file) return;
  if (!["classes", "faces"].includes(state.tab)) openTab("classes");
  await TABS[state.tab].arrived(file);
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
    document.querySelector("output[for=opacity]").textContent = `${byId("opacity").value}%`;
  });
  byId("colours").addEventListener("input", () => show({ colours: byId("colours").value }));
  byId("sigma").addEventListener("input", () => {
    document.querySelector("output[for=sigma]").textContent = sigma() ? `${sigma()} pixels` : "the method's own";
  });
  for (const id of ["sigma", "iterations"]) byId(id).addEventListener("change", () => TABS[state.tab].changed());
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").addEventListener("reset", () => setTimeout(() => {
    for (const id of ["opacity", "colours", "sigma"]) byId(id).dispatchEvent(new Event("input"));
    TABS[state.tab].changed();
  }));
  byId("cancel").addEventListener("click", () => running?.abort());
  byId("theme").addEventListener("input", () => {
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

async function begin() {
  wire();
  for (const tab of Object.values(TABS)) tab.wire();
  state.tab = "classes";
  await work("Loading the network …", async ({ signal, tell }) => {
    const offers = (state.offers = await inLine("offers", {}, { tell, signal }));
    byId("network").textContent = offers.network;
    show({ tables: Object.fromEntries(Object.entries(offers.colours).map(([name, table]) => [name, numbers(table)])) });
    byId("colours").replaceChildren(...Object.keys(offers.colours).map((name) => element("option", {}, name)));
    shown.colours = byId("colours").value;
    for (const tab of Object.values(TABS)) tab.ready(offers);
    return "Ready: choose a photograph.";
  });
}

begin();
