// Locations: the feature map's places over the photograph; click one and see what it looks at.
import { element, View } from "./view.js";
import { again, deeds } from "./classes.js";
import { busy, byId, inLine, iterations, sigma, state, work } from "./page.js";

const REST = 150; // Milliseconds that the pointer stays on a cell before it is walked for.
let view = null;
let photograph = null;
let cells = [];
let known = new Map(); // By cell: frames, what was asked and what was said.
let at = null;
let over = null; // The cell under the pointer, and where that was moved to last.
let pointer = "";
let resting = null; // The timer of a pointer that just came to a cell.
let hovered = null; // The walk that a resting pointer began, which the next one may end.

export function wire() {
  byId("play").addEventListener("click", play);
}

export function ready() {}

/** Whether the sheet was made anew. */
export function opened() {
  const current = state.photograph;
  if (!current || current.photograph === photograph) return false;
  if (!current.grid) {
    byId("location-lead").textContent = "This network does not tell its feature map, so its locations cannot be explained.";
    return false;
  }
  photograph = current.photograph;
  known = new Map();
  at = null;
  view?.forget();
  view = new View(`FAME of one location of ${current.name}`, current.size);
  view.under(current.bitmap);
  const [rows, columns] = current.grid;
  cells = [];
  const grid = element("div", { class: "over", role: "group", "aria-label": "Locations of the feature map" });
  grid.style.gridTemplate = `repeat(${rows}, minmax(0, 1fr)) / repeat(${columns}, minmax(0, 1fr))`;
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const cell = element("button", { type: "button", "aria-label": `row ${row}, column ${column}`, "aria-pressed": "false", tabindex: cells.length ? -1 : 0 });
      cell.addEventListener("click", () => choose(row, column));
      cell.addEventListener("pointermove", (event) => {
        view.point(event);
        moved(event, row, column);
      });
      cells.push(cell);
      grid.append(cell);
    }
  }
  grid.addEventListener("pointerleave", () => {
    clearTimeout(resting);
    over = null;
  });
  grid.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    const next = cells[cells.indexOf(document.activeElement) + by];
    if (!next) return;
    event.preventDefault();
    for (const cell of cells) cell.tabIndex = cell === next ? 0 : -1;
    next.focus();
  });
  view.picture.append(grid);
  byId("location-view").replaceChildren(view.figure);
  byId("location-lead").hidden = true;
  byId("location-stage").hidden = false;
  byId("location-words").textContent = "";
  count();
  return true;
}

const key = (row, column) => `${row},${column}`;

function count() {
  byId("location-count").textContent = `${known.size} of ${cells.length} known. Rest the pointer on a cell, or choose one by the arrow keys and Enter.`;
}

export function changed() {
  known = new Map();
  for (const cell of cells) cell.classList.remove("known");
  count();
  if (at) choose(...at);
}

const choose = (row, column) => (known.has(key(row, column))
  ? reveal(row, column)
  : work(`Walking for row ${row}, column ${column} …`, (how) => one(row, column, how)));

/** Of a mouse that comes to a cell; where the page scrolls under it, it has not moved. */
function moved(event, row, column) {
  const here = `${event.clientX},${event.clientY}`;
  const came = event.pointerType === "mouse" && here !== pointer && over !== key(row, column);
  pointer = here;
  if (!came) return;
  over = key(row, column);
  hover(row, column);
}

/** Shows what is known of a cell, else walks for it once the pointer rests there; nothing else is ended for that. */
function hover(row, column) {
  clearTimeout(resting);
  if (known.has(key(row, column))) reveal(row, column);
  else resting = setTimeout(async () => {
    if (busy() && !hovered) return;
    const mine = (hovered = choose(row, column));
    await mine;
    if (hovered === mine) hovered = null;
  }, REST);
}

async function one(row, column, how) {
  point(row, column);
  view.clear();
  const asked = { about: "location", sides: [{ photograph }], target: [row, column], iterations: iterations(), sigma: sigma() };
  const { done } = await inLine("explain", asked, { ...how, each: ({ frame }) => {
    if (!frame) return;
    view.add(frame);
    how.tell(`Row ${row}, column ${column}`, frame.steps / asked.iterations);
  } });
  known.set(key(row, column), { frames: view.frames.slice(-1), asked, done });
  cells[row * state.photograph.grid[1] + column].classList.add("known");
  count();
  reveal(row, column);
}

function point(row, column) {
  at = [row, column];
  const index = row * state.photograph.grid[1] + column;
  cells.forEach((cell, other) => cell.setAttribute("aria-pressed", other === index));
}

function reveal(row, column) {
  point(row, column);
  const { frames, asked, done } = known.get(key(row, column));
  view.frames = frames;
  view.soon();
  const { outside, shift } = done.locality;
  byId("location-words").textContent = outside === null
    ? `Row ${row}, column ${column}: ${done.maps.attribution.words}.`
    : `Row ${row}, column ${column}: ${Math.round(100 * outside)} % of the map lies outside the cell, which is ${Math.round(100 / cells.length)} % of the picture; the map's centre is ${shift.toFixed(0)} pixels from the cell's. ${done.maps.attribution.words}.`;
  view.below(deeds(view, asked, done, { road: false }), again(done.again));
}

/** All cells, those first that are not known yet; then a round over all of them. */
function play() {
  return work("Playing …", async (how) => {
    const [rows, columns] = state.photograph.grid;
    const places = [...Array(rows * columns).keys()].map((index) => [Math.floor(index / columns), index % columns]);
    for (const [row, column] of places) if (!known.has(key(row, column))) await one(row, column, how);
    for (const [row, column] of places) {
      if (how.signal.aborted) return "Cancelled.";
      reveal(row, column);
      await new Promise((later) => setTimeout(later, 120));
    }
    return "All are known; move over them.";
  });
}
