// Classes: a photograph, what the network sees in it, and the maps of a class while they walk.
import { picture, save } from "./api.js";
import { element, shown, View } from "./view.js";
import { afterwards, byId, inLine, iterations, send, sigma, state, steps, work } from "./page.js";

let looked = null;
let target = null;
let views = new Map(); // By method.
let answered = new Map(); // By method, what was asked and answered last.

export function wire() {
  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", () => {
    arrived(byId("file").files[0]);
    byId("file").value = "";
  });
  byId("cat").addEventListener("click", () => arrived("cat"));
  byId("any").addEventListener("change", typed);
  byId("methods").addEventListener("change", () => target !== null && afterwards("", (how) => explained(target, how, true)));
  byId("step").addEventListener("input", stepped);
  byId("report").addEventListener("click", () => work("Writing the report …", async (how) => {
    const { done } = await inLine("report", {}, how);
    save(done, "fame-report.html", "text/html");
    return "The report is among your downloads.";
  }));
}

export function ready(offers) {
  byId("names").replaceChildren(...offers.names.map((name, index) => element("option", { value: `${name} (${index})` })));
  const box = (method) => element("label", {},
    element("input", { type: "checkbox", value: method.name, checked: method.name === "fame" }),
    element("span", {}, method.title, method.passes > 200 && !method.walks ? element("small", {}, " (slow)") : ""));
  byId("methods").append(...offers.methods.map(box));
}

export function opened() {}

export async function arrived(file) {
  await work("Reading the photograph …", async (how) => {
    const photograph = await send(file, how.signal);
    const found = await inLine("look", { photograph }, how);
    looked = { ...found, bitmap: await picture(found.image) };
    state.photograph = { photograph, ...looked };
    byId("photograph-name").textContent = looked.name;
    byId("top").replaceChildren(...looked.top.map(choice));
    byId("answer").hidden = byId("class-stage").hidden = false;
    byId("any").value = "";
    await explained(looked.top[0].index, how);
  });
}

/** A class to pick: with its probability, or with its logit by itself, whose bar is a share of those that are shown. */
function choice({ index, name, score }) {
  const logits = looked.top.map((one) => one.score).filter((one) => one !== null);
  const [low, high] = looked.score === "logit" ? [Math.min(...logits), Math.max(...logits)] : [0, 1];
  const share = element("i");
  share.style.width = `${100 * Math.min(1, Math.max(0, (score - low) / (high - low || 1)))}%`;
  const percent = score > 0.0005 ? `${(100 * score).toFixed(1)}%` : "< 0.1%";
  const words = score === null ? "?" : looked.score === "logit" ? score.toFixed(2) : percent;
  return element("li", {}, element("button", { type: "button", "data-index": index, "aria-pressed": "false", onclick: () => { byId("any").value = ""; explain(index); } },
    element("span", {}, name), element("span", {}, words), element("span", { class: "bar", "aria-hidden": "true" }, share)));
}

/** The class that is meant: what was picked from the list, else what the commands take a number or a name for. */
function typed() {
  const text = byId("any").value.trim();
  if (!text || !looked) return;
  work("Explaining …", async (how) => {
    byId("any").setAttribute("aria-invalid", true);
    const { index } = await inLine("class", { text: /\((\d+)\)$/.exec(text)?.[1] ?? text }, how);
    byId("any").removeAttribute("aria-invalid");
    byId("any").value = `${state.offers.names[index]} (${index})`;
    return explained(index, how);
  });
}

export function changed() {
  if (target !== null) explain(target);
}

const explain = (index) => work(`Explaining ${state.offers.names[index]} …`, (how) => explained(index, how));

const chosen = () => [...byId("methods").querySelectorAll("input:checked")].map((input) => input.value);
const about = (name) => state.offers.methods.find((method) => method.name === name);

/** The maps of a class; `kept` are those that are there already, where only the methods have changed. */
async function explained(index, how, kept = false) {
  target = index;
  const names = chosen();
  if (!names.length) return "Tick a method.";
  const before = kept ? views : new Map();
  for (const button of byId("top").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", Number(button.dataset.index) === index);
  }
  byId("class-title").textContent = `${state.offers.names[index]} (${index})`;
  const still = (name) => before.has(name) && answered.has(name);
  for (const [name, view] of views) if (!names.includes(name) || !still(name)) view.forget();
  views = new Map(names.map((name) => [name, still(name) ? before.get(name) : new View(about(name).title, looked.size)]));
  answered = new Map([...answered].filter(([name]) => names.includes(name) && still(name)));
  byId("class-views").replaceChildren(...[...views.values()].map((view) => view.figure));
  byId("class-views").classList.toggle("one", names.length < 2);
  byId("walk").hidden = !names.some((name) => about(name).walks);
  for (const view of views.values()) view.under(looked.bitmap);
  byId("step").max = iterations();
  if (!kept) byId("step").value = byId("step").max;
  stepped();
  if (matchMedia("(max-width: 48rem)").matches) byId("class-title").scrollIntoView({ block: "start" });
  let failed = null; // What one method says does not keep the next from its map.
  for (const name of names) {
    if (!answered.has(name)) await one(name, how).catch((error) => {
      if (error.name === "AbortError") throw error;
      failed ??= error;
    });
  }
  if (failed) throw failed;
}

async function one(name, how) {
  const view = views.get(name);
  const asked = { about: "class", sides: [{ photograph: state.photograph.photograph }], target, method: name, iterations: iterations(), sigma: about(name).blurs ? sigma() : null };
  const words = `${view.title} of ${state.offers.names[target]}`;
  how.tell(words);
  const each = ({ frame }) => {
    if (!frame) return;
    view.add(frame);
    drawCurve();
    how.tell(words, about(name).walks ? frame.steps / asked.iterations : undefined);
  };
  let done;
  try {
    ({ done } = await inLine("explain", asked, { ...how, each }));
  } catch (error) {
    const cancelled = `Cancelled after ${steps(view.frames.at(-1)?.steps ?? 0)}; choose the class again for the whole map.`;
    view.words.textContent = error.name === "AbortError" ? cancelled : error.message;
    throw error;
  }
  answered.set(name, { asked, done });
  drawCurve();
  tellDone(view, asked, done);
}

function tellDone(view, asked, done) {
  const { words, steps: walked, first_loss: first, last_loss: last } = done.maps.attribution;
  const number = (value) => (value === null ? "?" : value.toFixed(2));
  view.words.textContent = `${about(asked.method).lowers} ${number(first)}${walked ? ` → ${number(last)} in ${steps(walked)}` : ""}, ${done.seconds} s${words === "ok" ? "" : ", "}`;
  if (words !== "ok") view.words.append(element("span", { class: "remark" }, words));
  view.below(deeds(view, asked, done), again(done.again));
}

/** The buttons below a map. */
export function deeds(view, asked, done, { road = true } = {}) {
  const out = (kind, type) => () => afterwards(`Writing the ${kind} …`, async (how) => {
    if (view && !view.now) throw new Error("There is no map after so few steps; move the slider of the steps.");
    const walked = view?.now?.steps || asked.iterations; // A walk of so many steps is the one that is shown.
    const part = walked < asked.iterations && view.frames.at(-1).steps !== walked;
    const what = part ? { ...asked, iterations: walked } : asked;
    const found = await inLine("out", { asked: what, kind, colours: shown.colours, opacity: shown.opacity }, how);
    save(found.done, `${asked.about}.${asked.method ?? "fame"}${part ? `.${walked}-steps` : ""}.${kind}`, type);
    return part ? `After ${steps(walked)}, as shown: it is among your downloads.` : "It is among your downloads.";
  });
  const verdict = element("span", { class: "line road", role: "status" });
  const compare = () => afterwards("Removing pixels by ROAD, of this map and of a blob …", async (how) => {
    const found = (await inLine("road", asked, how)).done;
    const known = found.map !== null && found.blob !== null;
    const verdicts = [found.map > found.blob ? "Yes" : "No", "Not known"];
    const [map, blob] = [found.map, found.blob].map((drop) => drop?.toFixed(2) ?? "what is no finite number");
    verdict.textContent = `${verdicts[known ? 0 : 1]}: without its strongest pixels the logit falls by ${map}, without those of a centred blob ` +
      `by ${blob} (mean of 10, 30 and 50 % of the pixels).`;
  });
  const buttons = element("div", { class: "deeds" },
    element("button", { type: "button", onclick: out("png", "image/png") }, "Picture"),
    element("button", { type: "button", onclick: out("npz", "application/zip") }, "Arrays"));
  if (road) buttons.append(element("button", { type: "button", class: "ask-road", onclick: compare }, "Better than a centred blob?"));
  return element("div", {}, buttons, verdict);
}

export function again({ command, python }) {
  const parts = [element("summary", {}, "Make it again")];
  if (command) parts.push(element("span", { class: "quiet" }, "In a terminal:"), element("pre", { tabindex: 0, class: "command" }, command));
  parts.push(element("span", { class: "quiet" }, "In Python:"), element("pre", { tabindex: 0, class: "python" }, python));
  return element("details", {}, ...parts);
}

function stepped() {
  const step = byId("step").valueAsNumber;
  byId("step-value").textContent = `${step} of ${byId("step").max}`;
  byId("step").setAttribute("aria-valuetext", byId("step-value").textContent);
  for (const view of views.values()) {
    view.step = step;
    view.soon();
  }
  drawCurve();
}

/** The loss of the first method that walks; a frame knows that of the step before, the last one its own. */
function drawCurve() {
  const [name, view] = [...views].find(([name]) => about(name).walks) ?? [];
  const points = [];
  for (const frame of view?.frames ?? []) {
    if (!points.length) points.push([0, frame.first_loss]);
    if (frame.last_loss !== null) points.push([answered.has(name) && frame === view.frames.at(-1) ? frame.steps : Math.max(0, frame.steps - 1), frame.last_loss]);
  }
  const known = points.filter(([, loss]) => loss !== null);
  const losses = known.map(([, loss]) => loss);
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const across = (step) => (400 * step) / Number(byId("step").max);
  const down = (loss) => 84 - (78 * (loss - low)) / (high - low || 1);
  const svg = byId("curve");
  svg.querySelector(".line").setAttribute("d", known.map(([step, loss], i) => `${i ? "L" : "M"}${across(step)} ${down(loss)}`).join(""));
  const step = byId("step").valueAsNumber;
  for (const end of ["x1", "x2"]) svg.querySelector(".now").setAttribute(end, across(step));
  const here = known.reduce((best, point) => (!best || Math.abs(point[0] - step) <= Math.abs(best[0] - step) ? point : best), null);
  const words = here ? `${view.title}: ${about(name).lowers} ${here[1].toFixed(2)} after ${steps(here[0])}, from ${losses[0].toFixed(2)}` : "";
  byId("curve-words").textContent = words;
  svg.setAttribute("aria-label", `Loss curve. ${words}`);
}
