"use strict";
// What moves: which page is shown, when charts are drawn, how tables are sorted and filtered.
document.documentElement.classList.add("js");
const INSTANCES = new Map();

// The order of a heatmap's rows and columns, where several are offered.
function order(figure) {
  const spec = REPORT.charts[figure.dataset.chart], chosen = figure.querySelector("select[data-order]");
  return spec.orders && spec.orders[chosen ? chosen.selectedIndex : 0];
}

function offerOrders(figure, spec) {
  const label = element("label", "Order ", { class: "search" }), select = element("select", undefined, { "data-order": figure.id });
  spec.orders.forEach((one) => select.append(element("option", one.name)));
  select.addEventListener("change", () => redraw(figure));
  label.append(select);
  figure.querySelector(".title").after(label);
}

function redraw(figure) {
  const spec = REPORT.charts[figure.dataset.chart], place = figure.querySelector(".canvas");
  INSTANCES.get(figure).setOption(DRAWN[spec.kind](spec, place.clientWidth, order(figure)), true);
}

function draw(figure) {
  const spec = REPORT.charts[figure.dataset.chart], place = figure.querySelector(".canvas");
  if (!spec || INSTANCES.has(figure) || !place.clientWidth) return;
  place.style.minWidth = `${leastWidthOf(spec)}px`;
  place.style.height = `${heightOf(spec, place.clientWidth)}px`;
  const stage = place.parentElement;
  if (stage.scrollWidth > stage.clientWidth) stage.setAttribute("tabindex", "0");
  if (spec.orders && spec.orders.length > 1) offerOrders(figure, spec);
  const chart = echarts.init(place, null, { renderer: "svg" });
  chart.setOption(DRAWN[spec.kind](spec, place.clientWidth, order(figure)));
  chart.on("click", (event) => {
    if (event.data && event.data.to) location.hash = event.data.to;
  });
  INSTANCES.set(figure, chart);
}

const FIGURES = [...document.querySelectorAll("figure[data-chart]")];
const SEEN = new IntersectionObserver((entries) => {
  entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target));
}, { rootMargin: "300px" });
FIGURES.forEach((figure) => SEEN.observe(figure));

// A chart as wide as its place has become.
function fit(place) {
  const figure = place.closest("figure"), chart = INSTANCES.get(figure), spec = REPORT.charts[figure.dataset.chart];
  if (!chart || !place.clientWidth || chart.getWidth() === place.clientWidth) return;
  place.style.height = `${heightOf(spec, place.clientWidth)}px`;
  chart.resize();
  redraw(figure);
}
const RESIZED = new ResizeObserver((entries) => entries.forEach(({ target }) => fit(target)));
FIGURES.forEach((figure) => RESIZED.observe(figure.querySelector(".canvas")));

// Where one is, in the navigation.
function mark(chapter) {
  document.querySelectorAll("header nav a").forEach((link) => {
    if (link.hash === `#${chapter}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
}
const PASSED = new IntersectionObserver((entries) => {
  entries.filter((entry) => entry.isIntersecting).forEach((entry) => mark(entry.target.id));
}, { rootMargin: "-20% 0px -75% 0px" });
document.querySelectorAll("section.chapter").forEach((chapter) => PASSED.observe(chapter));

// An address may say anything, also what decodes to nothing.
function targeted(hash) {
  try {
    return decodeURIComponent(hash);
  } catch {
    return "";
  }
}

// An outcome's page is shown alone, the chapters together.
function show() {
  const id = targeted(location.hash.slice(1));
  const target = id && document.getElementById(id);
  const page = target && target.closest("section.outcome");
  document.documentElement.classList.toggle("one", Boolean(page));
  document.querySelectorAll("section.outcome").forEach((section) => section.classList.toggle("shown", section === page));
  const chapter = target && target.closest("section.chapter");
  mark(page ? "outcomes" : chapter ? chapter.id : "answer");
  if (page && target === page) window.scrollTo(0, 0);
  else if (target) target.scrollIntoView();
  if (page) page.focus({ preventScroll: true });
}
window.addEventListener("hashchange", show);

window.addEventListener("beforeprint", () => {
  document.documentElement.classList.add("printing");
  document.querySelectorAll(".list details:not([open])").forEach((one) => {
    one.open = true;
    one.dataset.printed = "true";
  });
  // As wide as a page; what was drawn for a wider screen is drawn anew.
  FIGURES.forEach((figure) => {
    fit(figure.querySelector(".canvas"));
    draw(figure);
  });
});
window.addEventListener("afterprint", () => {
  document.documentElement.classList.remove("printing");
  document.querySelectorAll("details[data-printed]").forEach((one) => {
    one.open = false;
    delete one.dataset.printed;
  });
});

// Rows by the value of a column: its number where there is one (data-value), else its text.
function sort(table, column, button) {
  const head = button.closest("th"), falling = head.getAttribute("aria-sort") === "descending";
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", falling ? "ascending" : "descending");
  const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const rows = [...table.tBodies[0].rows].map((row, place) => ({ row, place, key: key(row) }));
  rows.sort((a, b) => {
    const [x, y] = [a, b].map((one) => (one.key === "" ? NaN : Number(one.key)));
    if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1;
    const order = isNaN(x) ? b.key.localeCompare(a.key, "en") : y - x;
    return (falling ? -order : order) || a.place - b.place;
  });
  table.tBodies[0].append(...rows.map((one) => one.row));
}
document.querySelectorAll("table[data-sortable] th button").forEach((button) => {
  const head = button.closest("th");
  button.addEventListener("click", () => sort(button.closest("table"), head.cellIndex, button));
});

// The text of a row, in which a search looks again at every letter.
const TEXTS = new WeakMap();
function textOf(row) {
  if (!TEXTS.has(row)) TEXTS.set(row, row.textContent.toLowerCase());
  return TEXTS.get(row);
}

function filter(table) {
  const words = document.querySelector(`[data-search="${table.id}"]`)?.value.trim().toLowerCase() ?? "";
  const chosen = document.querySelector(`[data-filter="${table.id}"]`)?.value ?? "";
  let left = 0;
  [...table.tBodies[0].rows].forEach((row) => {
    row.hidden = !textOf(row).includes(words) || (chosen !== "" && row.dataset.group !== chosen);
    left += row.hidden ? 0 : 1;
  });
  const told = document.querySelector(`[data-left="${table.id}"]`);
  if (told) told.textContent = `${left} of ${table.tBodies[0].rows.length}`;
}
document.querySelectorAll("[data-search], [data-filter]").forEach((field) => {
  field.addEventListener("input", () => filter(document.getElementById(field.dataset.search || field.dataset.filter)));
});

show();
document.documentElement.dataset.ready = "true";
