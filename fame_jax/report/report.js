"use strict";
// One page: opacity and colours are two properties of the root; selection hides articles, sorting moves them.
(() => {
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const records = JSON.parse(byId("records").textContent);
  const articles = [...document.querySelectorAll("#photographs .item, #pairs .item")];
  const items = articles.map((article, index) => ({ article, index, home: article.parentElement, ...records[index] }));
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  function onInput(id, act) {
    const control = byId(id);
    if (!control) return;
    control.addEventListener("input", () => act(control.value));
    act(control.value);
  }

  // The photograph below a map is the one that the article shows anyway; it is set when the article comes near.
  function fill(article) {
    for (const under of article.querySelectorAll("img[data-under]:not([src])")) {
      const photo = article.querySelector(`img[data-face="${under.dataset.under}"]`);
      if (photo) under.src = photo.src;
    }
  }
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        fill(entry.target);
        near.unobserve(entry.target);
      }
    }
  }, { rootMargin: "800px 0px" });
  for (const article of document.querySelectorAll(".item")) near.observe(article);
  addEventListener("beforeprint", () => document.querySelectorAll(".item").forEach(fill));

  const value = (id) => (byId(id) ? byId(id).value : "");
  const measure = () => (value("sort").startsWith("=") ? value("sort").slice(1) : null);

  function matches(item) {
    const words = value("search").trim().toLowerCase();
    if (words && !item.name.includes(words)) return false;
    if (value("class") && !item.classes.includes(value("class"))) return false;
    if (value("status") && !item.statuses.includes(value("status"))) return false;
    const name = measure();
    const low = byId("low").valueAsNumber;
    const high = byId("high").valueAsNumber;
    if (name === null || (Number.isNaN(low) && Number.isNaN(high))) return true;
    const number = item.measures[name];
    return number !== undefined && !(number < low) && !(number > high);
  }

  function select() {
    let shown = 0;
    for (const item of items) {
      const visible = matches(item);
      item.article.hidden = !visible;
      shown += visible;
    }
    for (const id of ["photographs", "pairs"]) {
      const section = byId(id);
      if (section) section.classList.toggle("empty", !section.querySelector(".item:not([hidden])"));
    }
    byId("count").textContent = shown === items.length ? `${shown} shown` : `${shown} of ${items.length} shown`;
  }

  function key(item) {
    const name = measure();
    if (name !== null) return item.measures[name];
    return { name: item.name, class: item.classes[0], status: item.statuses.find((s) => s !== "ok") ?? "ok" }[value("sort")];
  }

  // Records without a value come last in either order; equal ones stay as they were.
  function compare(first, second) {
    const [a, b] = [key(first), key(second)];
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined) || first.index - second.index;
    const difference = typeof a === "number" ? a - b : collator.compare(a, b);
    return difference * Number(value("order")) || first.index - second.index;
  }

  function sort() {
    const order = value("sort") ? [...items].sort(compare) : Number(value("order")) < 0 ? [...items].reverse() : items;
    for (const home of new Set(items.map((item) => item.home))) {
      home.append(...order.filter((item) => item.home === home).map((item) => item.article));
    }
    byId("between").hidden = measure() === null;
    select();
  }

  const settle = (name, attribute) => (chosen) => {
    if (chosen) root.setAttribute(attribute, chosen);
    else root.removeAttribute(attribute);
  };
  const widest = document.querySelector("[data-panels]");
  if (widest) root.style.setProperty("--panels", widest.dataset.panels);
  onInput("theme", settle("theme", "data-theme"));
  onInput("colours", settle("colours", "data-colours"));
  onInput("size", (side) => root.style.setProperty("--side", `${side}px`));
  onInput("opacity", (percent) => {
    root.style.setProperty("--opacity", percent / 100);
    byId("opacity-value").textContent = `${percent}%`;
  });
  if (byId("sort")) {
    for (const id of ["search", "class", "status", "low", "high"]) byId(id)?.addEventListener("input", select);
    for (const id of ["sort", "order"]) byId(id).addEventListener("input", sort);
    sort();
  }
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").addEventListener("reset", () => requestAnimationFrame(() => {
    for (const id of ["opacity", "colours", "size", "sort"]) byId(id)?.dispatchEvent(new Event("input"));
  }));
})();
