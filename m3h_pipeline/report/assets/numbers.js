"use strict";
// The table behind every chart, made when it is opened.
const between = (low, high, percent) => (low === null || low === undefined ? "" : `${number(low, percent)} to ${number(high, percent)}`);

const TABLES = {
  lines: (spec) => [[spec.x.name, "line", spec.y.name, "95 % interval"], spec.series.flatMap((one) => one.x.map((x, i) =>
    [number(x, spec.x.percent), named(one), number(one.y[i], spec.y.percent), one.low ? between(one.low[i], one.high[i], spec.y.percent) : ""]))],
  intervals: (spec) => [["", "of", spec.x.name, "95 % interval"], spec.rows.flatMap((row, i) => spec.series.map((one) =>
    [row, named(one), number(one.value[i], spec.x.percent), between(one.low[i], one.high[i], spec.x.percent)]))],
  bars: (spec) => [[spec.name || "", "of", spec.y.name, "95 % interval"], spec.categories.flatMap((name, i) => spec.series.map((one) =>
    [name, named(one), number(one.y[i], spec.y.percent), one.low ? between(one.low[i], one.high[i], spec.y.percent) : ""]))],
  heatmap: (spec) => [["row", "column", ...spec.measures], spec.cells.map(([column, row, ...values]) =>
    [spec.rows[row], spec.columns[column], ...values.map((value) => number(value))])],
  grid: (spec) => [[spec.x.name, spec.y.name, spec.measure], spec.cells.map(([x0, x1, y0, y1, n]) =>
    [between(x0, x1), between(y0, y1), number(n)])],
  tiles: (spec) => [["group", spec.x.name, spec.y.name, spec.measure], spec.series.flatMap((one) => one.points.map((point) =>
    [named(one), number(point[0]), number(point[1]), number(point[2])]))],
  network: (spec) => [["from", "to", ...spec.measures], spec.edges.map((edge) =>
    [spec.nodes[edge.from].name, spec.nodes[edge.to].name, ...edge.values.map((value) => number(value))])],
};

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}

function tableOf(header, rows) {
  const table = element("table"), head = element("tr"), body = element("tbody");
  header.forEach((name) => head.append(element("th", name, { scope: "col" })));
  rows.forEach((row) => {
    const line = element("tr");
    row.forEach((value, i) => line.append(i ? element("td", value) : element("th", value, { scope: "row" })));
    body.append(line);
  });
  table.append(element("thead"), body);
  table.tHead.append(head);
  return table;
}

document.querySelectorAll("details[data-numbers]").forEach((details) => {
  details.addEventListener("toggle", () => {
    const spec = REPORT.charts[details.dataset.numbers];
    if (!details.open || details.querySelector("table") || !spec) return;
    const box = element("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": "numbers of the chart" });
    box.append(tableOf(...TABLES[spec.kind](spec)));
    details.append(box);
  });
});
