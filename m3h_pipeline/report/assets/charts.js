"use strict";
// Specs of report/charts.py as options of the chart library. Style stands here and nowhere else.
const REPORT = JSON.parse(document.getElementById("data").textContent);
const INK = "#1a1a1a", MUTED = "#595959", RULE = "#dadada", FAINT = "#f0f0f0";
// Okabe and Ito's colours, which readers with any colour vision can tell apart.
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#1A1A1A", "#8A6D3B"];
const DIVERGING = ["#7F1D1D", "#B8402F", "#E08A6E", "#F6CDBD", "#FFFFFF", "#C5DCEC", "#78B0D3", "#2C7AB4", "#0B3C6B"];
const SEQUENTIAL = ["#DCE9F3", "#8FBBD9", "#2C7AB4", "#0B3C6B"];
const DASHES = ["solid", "dashed", "dotted"];
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

// A number as it is shown: three decimals at most for small ones, thousands with commas.
function number(value, percent) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (percent) return `${(100 * value).toLocaleString("en", { maximumFractionDigits: 1 })} %`;
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 0.0005 || value === 0 ? 3 : 6;
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}
const signed = (value) => (value > 0 ? "+" : "") + number(value);

function colour(look, place) {
  if (look && REPORT.looks[look]) return REPORT.looks[look][1];
  return look && look.startsWith("#") ? look : COLOURS[place % COLOURS.length];
}
const named = (one) => (one.look && REPORT.looks[one.look] && !one.name ? REPORT.looks[one.look][0] : one.name);

const BASE = () => ({
  animation: false,
  textStyle: { fontFamily: FONT, fontSize: 12, color: INK },
  tooltip: {
    confine: true, transitionDuration: 0, backgroundColor: "#fff", borderColor: RULE,
    textStyle: { color: INK, fontSize: 12, fontFamily: FONT }, extraCssText: "max-width:22em;white-space:normal",
  },
});

function valueAxis(axis, place) {
  const narrow = place === "y";
  return {
    type: axis.log ? "log" : "value", name: axis.name, nameLocation: "middle", nameGap: narrow ? 44 : 28,
    min: axis.min, max: axis.max, scale: axis.min === undefined, minInterval: axis.whole ? 1 : undefined,
    nameTextStyle: { color: INK, fontSize: 12 },
    axisLine: { show: true, onZero: false, lineStyle: { color: MUTED } }, axisTick: { show: true },
    axisLabel: { color: INK, hideOverlap: true, formatter: (value) => number(value, axis.percent) },
    splitLine: { lineStyle: { color: FAINT } },
  };
}

// Lines that a legend takes where it is not to be leafed through: marks, names and gaps, by the letter.
function legendLines(names, width) {
  let lines = 1, used = 0;
  names.forEach((name) => {
    const takes = 42 + 6.4 * Math.min(60, name.length);
    if (used && used + takes > width) [lines, used] = [lines + 1, 0];
    used += takes;
  });
  return lines;
}

function legend(names, width) {
  return names.length < 2 ? undefined : {
    type: legendLines(names, width) > MOST_LINES ? "scroll" : "plain", top: 0, left: 0, itemWidth: 22, itemHeight: 9, data: names,
    formatter: (name) => (name.length > 60 ? `${name.slice(0, 58)}…` : name), textStyle: { fontSize: 12, color: INK },
  };
}
const MOST_LINES = 4;
const GRID = (names, width) => {
  const lines = legendLines(names, width);
  return { left: 62, right: 18, top: names.length < 2 ? 14 : 34 + (lines > MOST_LINES ? 0 : 19 * (lines - 1)), bottom: 46 };
};

// A straight line across, of which a legend knows nothing.
function ruler(spec) {
  const data = (spec.rules || []).map((rule) => ({
    ...("x" in rule ? { xAxis: rule.x } : { yAxis: rule.y }),
    label: { formatter: rule.name || "", color: MUTED, position: "insideEndTop" },
  }));
  const style = { symbol: "none", silent: true, animation: false, lineStyle: { color: MUTED, type: "dashed", width: 1 } };
  return data.length ? { ...style, data } : undefined;
}

// The line y = x within both axes, by their ends or by what is drawn.
function diagonal(spec, xs, ys) {
  if (!spec.diagonal || !xs.length) return [];
  const ends = (axis, values) => [axis.min ?? Math.min(...values), axis.max ?? Math.max(...values)];
  const [x, y] = [ends(spec.x, xs), ends(spec.y, ys)], from = Math.max(x[0], y[0]), to = Math.min(x[1], y[1]);
  return [{ type: "line", data: [[from, from], [to, to]], symbol: "none", silent: true, z: 4,
    lineStyle: { color: MUTED, type: "dashed", width: 1 } }];
}

function drawLines(spec, width) {
  const made = [], names = [];
  spec.series.forEach((one, place) => {
    const tint = colour(one.look, place), name = named(one);
    names.push(name);
    if (one.low && !one.dots) {
      const points = one.x.map((x, i) => [x, one.low[i], one.high[i]]).filter((p) => p[1] !== null && p[2] !== null);
      made.push({
        type: "custom", name, silent: true, z: 1, data: points, encode: { x: 0, y: [1, 2] }, itemStyle: { color: tint },
        renderItem: (params, api) => params.dataIndex ? undefined : ({
          type: "polygon", shape: { points: [
            ...points.map((p) => api.coord([p[0], p[1]])), ...[...points].reverse().map((p) => api.coord([p[0], p[2]]))] },
          style: { fill: tint, opacity: 0.15 },
        }), clip: true,
      });
    }
    if (one.low && one.dots) made.push(whiskers(name, tint, one.x.map((x, i) => [x, one.low[i], one.high[i]]), "y"));
    made.push({
      type: "line", name, data: one.x.map((x, i) => [x, one.y[i]]), step: one.step ? "end" : false, z: 3,
      showSymbol: Boolean(one.dots), symbolSize: 7, symbol: ["circle", "rect", "triangle", "diamond"][place % 4],
      lineStyle: { color: tint, width: one.bare ? 0 : 2, type: one.dash ? "dashed" : DASHES[one.look ? 0 : Math.floor(place / 8) % 3] },
      itemStyle: { color: tint }, connectNulls: false, clip: true,
    });
  });
  if (made.length) made[made.length - 1].markLine = ruler(spec);
  const known = (key) => spec.series.flatMap((one) => one[key]).filter((value) => value !== null);
  made.push(...diagonal(spec, known("x"), known("y")));
  return {
    ...BASE(), legend: legend(names, width), grid: GRID(names, width), xAxis: valueAxis(spec.x, "x"), yAxis: valueAxis(spec.y, "y"), series: made,
    tooltip: {
      ...BASE().tooltip, trigger: "axis", axisPointer: { type: "line", lineStyle: { color: MUTED } },
      formatter: (items) => {
        const at = items.filter((item) => item.seriesType === "line" && names.includes(item.seriesName));
        if (!at.length) return "";
        const said = at.map((item) => {
          const one = spec.series.find((s) => named(s) === item.seriesName), i = item.dataIndex;
          const between = one.low && one.low[i] !== null ? ` (${number(one.low[i], spec.y.percent)} to ${number(one.high[i], spec.y.percent)})` : "";
          return `${item.marker} ${escaped(item.seriesName)}: ${number(item.value[1], spec.y.percent)}${between}`;
        });
        return [`${escaped(spec.x.name)} ${number(at[0].value[0], spec.x.percent)}`, ...said].join("<br>");
      },
    },
  };
}

// Bars from low to high at a place; ``along``: the axis they lie along.
function whiskers(name, tint, data, along, width = 1.5) {
  return {
    type: "custom", name, data, z: 2, silent: true, itemStyle: { color: tint }, clip: true,
    encode: along === "x" ? { x: [1, 2], y: 0 } : { x: 0, y: [1, 2] },
    renderItem: (params, api) => {
      const [at, low, high] = [api.value(0), api.value(1), api.value(2)];
      if (!isFinite(low) || !isFinite(high)) return undefined;
      const ends = [low, high].map((v) => api.coord(along === "x" ? [v, at] : [at, v]));
      return { type: "line", style: { stroke: tint, lineWidth: width },
        shape: { x1: ends[0][0], y1: ends[0][1], x2: ends[1][0], y2: ends[1][1] } };
    },
  };
}

function drawIntervals(spec, width) {
  const made = [], names = [], many = spec.series.length;
  spec.series.forEach((one, place) => {
    const tint = colour(one.look, place), name = named(one), shift = (place - (many - 1) / 2) * Math.min(10, 26 / many);
    names.push(name);
    made.push({
      type: "custom", name, itemStyle: { color: tint }, encode: { x: [1, 2, 3], y: 0 }, clip: true,
      data: spec.rows.map((row, i) => [i, one.value[i], one.low[i], one.high[i]]),
      renderItem: (params, api) => {
        const [row, value, low, high] = [0, 1, 2, 3].map((i) => api.value(i));
        if (!isFinite(value)) return undefined;
        const at = api.coord([value, row]), y = at[1] + shift, parts = [];
        if (isFinite(low) && isFinite(high)) {
          const [a, b] = [api.coord([low, row])[0], api.coord([high, row])[0]];
          parts.push({ type: "line", shape: { x1: a, y1: y, x2: b, y2: y }, style: { stroke: tint, lineWidth: 2 } });
        }
        parts.push(place % 2
          ? { type: "rect", shape: { x: at[0] - 4, y: y - 4, width: 8, height: 8 }, style: { fill: tint } }
          : { type: "circle", shape: { cx: at[0], cy: y, r: 4.5 }, style: { fill: tint } });
        return { type: "group", children: parts };
      },
    });
  });
  if (made.length && spec.zero !== undefined) made[0].markLine = ruler({ rules: [{ x: spec.zero }] });
  return {
    ...BASE(), legend: legend(names, width), grid: { ...GRID(names, width), left: 10, containLabel: true }, series: made,
    xAxis: valueAxis(spec.x, "x"),
    yAxis: { type: "category", data: spec.rows, inverse: true, axisLabel: { color: INK, width: 150, overflow: "truncate", interval: 0 },
      axisTick: { show: false }, axisLine: { show: false }, splitLine: { show: true, lineStyle: { color: FAINT } } },
    tooltip: { ...BASE().tooltip, trigger: "item", formatter: (item) => {
      const [row, value, low, high] = item.value;
      const between = isFinite(low) && low !== null ? ` (${number(low, spec.x.percent)} to ${number(high, spec.x.percent)})` : "";
      return `${escaped(spec.rows[row])}<br>${item.marker} ${escaped(item.seriesName)}: ${number(value, spec.x.percent)}${between}`;
    } },
  };
}

function drawBars(spec, width) {
  const made = [], names = spec.series.map(named);
  spec.series.forEach((one, place) => {
    const tint = colour(one.look, place);
    made.push({ type: "bar", name: named(one), data: one.y, stack: spec.stacked ? "all" : undefined, barMaxWidth: 34,
      itemStyle: { color: tint }, barGap: "10%" });
    if (one.low && spec.series.length === 1) {
      made.push(whiskers(named(one), INK, one.y.map((_, i) => [i, one.low[i], one.high[i]]), spec.lying ? "x" : "y"));
    }
  });
  const categories = {
    type: "category", data: spec.categories, name: spec.name, nameLocation: "middle", nameGap: 28, inverse: Boolean(spec.lying),
    axisLabel: { color: INK, interval: spec.lying ? 0 : "auto", width: spec.lying ? 150 : undefined, overflow: "truncate" },
    axisTick: { show: false }, axisLine: { lineStyle: { color: MUTED } }, nameTextStyle: { color: INK },
  };
  const values = valueAxis(spec.y, spec.lying ? "x" : "y");
  return {
    ...BASE(), legend: legend(names, width), grid: spec.lying ? { ...GRID(names, width), left: 10, containLabel: true } : GRID(names, width),
    xAxis: spec.lying ? values : categories, yAxis: spec.lying ? categories : values, series: made,
    tooltip: { ...BASE().tooltip, trigger: "axis", axisPointer: { type: "shadow" }, formatter: (items) => {
      const at = items.filter((item) => item.seriesType === "bar");
      const said = at.map((item) => {
        const one = spec.series[names.indexOf(item.seriesName)], i = item.dataIndex;
        const between = one.low && one.low[i] !== null ? ` (${number(one.low[i], spec.y.percent)} to ${number(one.high[i], spec.y.percent)})` : "";
        return `${item.marker} ${escaped(item.seriesName)}: ${number(item.value, spec.y.percent)}${between}`;
      });
      return at.length ? [escaped(at[0].name), ...said].join("<br>") : "";
    } },
  };
}

// A heatmap's rows and columns in another order.
function ordered(spec, order) {
  if (!order) return spec;
  const [column, row] = [order.columns, order.rows].map((places) => new Map(places.map((from, to) => [from, to])));
  return {
    ...spec, columns: order.columns.map((i) => spec.columns[i]), rows: order.rows.map((i) => spec.rows[i]),
    cells: spec.cells.map(([x, y, ...values]) => [column.get(x), row.get(y), ...values]),
  };
}

function drawHeatmap(given, width, order) {
  const spec = ordered(given, order), narrow = width < 560, small = spec.rows.length > 24;
  const side = narrow ? 92 : small ? 150 : 190;
  const label = { color: INK, width: side, overflow: "truncate", interval: 0, fontSize: small ? 10 : 12 };
  const last = spec.measures.length + 1;
  const marked = spec.cells.filter((cell) => cell[last] && spec.measures[last - 2] === "").map((cell) => [cell[0], cell[1]]);
  const dot = { type: "scatter", data: marked, silent: true, symbolSize: small ? 4 : 6, itemStyle: { color: INK, borderColor: "#fff", borderWidth: 1 }, z: 4 };
  return {
    ...BASE(), grid: { left: side + 8, right: 12, top: 12, bottom: side + 52 },
    xAxis: { type: "category", data: spec.columns, position: "bottom", axisLabel: { ...label, rotate: 90 },
      axisTick: { show: false }, axisLine: { show: false } },
    yAxis: { type: "category", data: spec.rows, inverse: true, axisLabel: label, axisTick: { show: false }, axisLine: { show: false } },
    visualMap: { type: "continuous", min: spec.diverging ? -spec.limit : spec.least, max: spec.limit, dimension: 2, calculable: false,
      seriesIndex: 0, orient: "horizontal", left: width < 560 ? 8 : side + 8, bottom: 0, itemWidth: 12, itemHeight: 140, precision: 3,
      inRange: { color: spec.diverging ? DIVERGING : SEQUENTIAL }, textStyle: { color: INK },
      text: [number(spec.limit), number(spec.diverging ? -spec.limit : spec.least)] },
    series: [{ type: "heatmap", data: spec.cells, label: { show: !spec.diverging && spec.columns.length <= 12, color: INK,
      textBorderColor: "#fff", textBorderWidth: 2, formatter: (item) => number(item.value[2]) }, itemStyle: { borderColor: "#fff", borderWidth: 1 }, progressive: 0,
      emphasis: { itemStyle: { borderColor: INK, borderWidth: 2 } } }, dot],
    tooltip: { ...BASE().tooltip, trigger: "item", formatter: (item) => {
      const [column, row, ...values] = item.value;
      const said = spec.measures.map((name, i) => (values[i] === null || values[i] === "" || values[i] === undefined ? ""
        : `${name ? `${escaped(name)}: ` : ""}${escaped(number(values[i]))}`));
      return [`<b>${escaped(spec.rows[row])}</b> ← ${escaped(spec.columns[column])}`, ...said.filter(Boolean)].join("<br>");
    } },
  };
}

function drawGrid(spec) {
  const most = Math.max(1, ...spec.cells.map((cell) => cell[4]));
  const ends = (a, b) => [Math.min(...spec.cells.map((c) => c[a])), Math.max(...spec.cells.map((c) => c[b]))];
  const within = (axis, range) => ({ min: range[0], max: range[1], ...axis });
  return {
    ...BASE(), grid: { ...GRID([], 0), bottom: 46 }, xAxis: valueAxis(within(spec.x, ends(0, 1)), "x"), yAxis: valueAxis(within(spec.y, ends(2, 3)), "y"),
    visualMap: { show: false, min: 1, max: most, dimension: 4, seriesIndex: 0, inRange: { color: SEQUENTIAL } },
    series: [{
      type: "custom", data: spec.cells, encode: { x: [0, 1], y: [2, 3] }, clip: true, markLine: ruler(spec),
      renderItem: (params, api) => {
        const a = api.coord([api.value(0), api.value(2)]), b = api.coord([api.value(1), api.value(3)]);
        return { type: "rect", shape: { x: a[0], y: b[1], width: Math.max(1, b[0] - a[0]), height: Math.max(1, a[1] - b[1]) },
          style: { fill: api.visual("color") } };
      },
    }, ...diagonal(spec, spec.cells.flatMap((c) => [c[0], c[1]]), spec.cells.flatMap((c) => [c[2], c[3]]))],
    tooltip: { ...BASE().tooltip, trigger: "item", formatter: (item) => {
      const [x0, x1, y0, y1, n] = item.value;
      return `${escaped(spec.x.name)} ${number(x0)} to ${number(x1)}<br>${escaped(spec.y.name)} ${number(y0)} to ${number(y1)}<br>${escaped(spec.measure)}: ${number(n)}`;
    } },
  };
}

function drawTiles(spec, width) {
  const points = spec.series.flatMap((one) => one.points), most = Math.max(1, ...points.map((point) => point[2]));
  const names = spec.series.map(named), [wide, high] = spec.side.map((side) => side / 2);
  const around = (place, half) => ({ min: Math.min(...points.map((p) => p[place])) - 2 * half, max: Math.max(...points.map((p) => p[place])) + 2 * half });
  const bare = (axis, at, place, half) => ({ ...valueAxis({ ...axis, ...around(place, half) }, at), axisLabel: { show: false }, axisTick: { show: false }, nameGap: 12 });
  return {
    ...BASE(), legend: legend(names, width), grid: { ...GRID(names, width), left: 30, bottom: 30 }, xAxis: bare(spec.x, "x", 0, wide), yAxis: bare(spec.y, "y", 1, high),
    series: spec.series.map((one, place) => ({
      type: "custom", name: named(one), data: one.points, encode: { x: 0, y: 1 }, clip: true, itemStyle: { color: colour(one.look, place) },
      renderItem: (params, api) => {
        const [x, y, n] = [0, 1, 2].map((i) => api.value(i)), a = api.coord([x - wide, y + high]), b = api.coord([x + wide, y - high]);
        const [w, h] = [b[0] - a[0], b[1] - a[1]], children = [{ type: "rect", shape: { x: a[0], y: a[1], width: w, height: h },
          style: { fill: colour(one.look, place), opacity: 0.2 + 0.6 * n / most, stroke: colour(one.look, place), lineWidth: 1 } }];
        // A number too: colours come again, and not everybody tells them apart.
        if (w > 12 && h > 9) children.push({ type: "text", style: { text: named(one).split(" ").pop(), x: a[0] + w / 2, y: a[1] + h / 2,
          align: "center", verticalAlign: "middle", fontSize: 10, fill: INK, stroke: "#fff", lineWidth: 2 } });
        return { type: "group", children };
      },
    })),
    tooltip: { ...BASE().tooltip, trigger: "item", formatter: (item) =>
      `${item.marker} ${escaped(item.seriesName)}<br>${escaped(spec.measure)}: ${number(item.value[2])}` },
  };
}

function drawNetwork(spec, width) {
  const most = Math.max(1e-9, ...spec.edges.map((edge) => Math.abs(edge.values[0]))), room = width < 560 ? 84 : 140;
  return {
    ...BASE(),
    series: [{
      type: "graph", layout: "circular", circular: { rotateLabel: true }, left: room, right: room, top: room, bottom: room, roam: false,
      nodes: spec.nodes.map((node, i) => ({ id: String(i), name: node.name, to: node.to, symbolSize: 11, itemStyle: { color: "#4d4d4d" } })),
      label: { show: true, color: INK, fontSize: 12, position: "right", width: room - 16, overflow: "truncate" },
      edgeSymbol: ["none", "arrow"], edgeSymbolSize: 8,
      links: spec.edges.map((edge) => ({ source: String(edge.from), target: String(edge.to), values: edge.values,
        lineStyle: { width: 1 + 4 * Math.abs(edge.values[0]) / most, color: edge.values[0] > 0 ? "#0072B2" : "#D55E00",
          type: edge.values[0] > 0 ? "solid" : "dashed", curveness: 0.15, opacity: 0.8 } })),
      emphasis: { focus: "adjacency", lineStyle: { opacity: 1 } },
    }],
    tooltip: { ...BASE().tooltip, trigger: "item", formatter: (item) => {
      if (item.dataType !== "edge") return [escaped(item.name), escaped(spec.nodes[item.dataIndex].group)].join("<br>");
      const edge = spec.edges[item.dataIndex];
      const said = spec.measures.map((name, i) => `${escaped(name)}: ${number(edge.values[i])}`);
      return [`${escaped(spec.nodes[edge.from].name)} → ${escaped(spec.nodes[edge.to].name)}`, ...said].join("<br>");
    } },
  };
}

const DRAWN = { lines: drawLines, intervals: drawIntervals, bars: drawBars, heatmap: drawHeatmap, grid: drawGrid, tiles: drawTiles, network: drawNetwork };

// The least width in pixels: what needs more than there is scrolls in its own box.
const leastWidthOf = (spec) => (spec.kind === "heatmap" ? 104 + 13 * spec.columns.length : 0);

// Height in pixels, by what is to be shown in it.
function heightOf(spec, width) {
  if (spec.kind === "heatmap") return Math.min(spec.rows.length * 24, Math.max(spec.rows.length * 13, width - 210)) + (width < 560 ? 170 : 260);
  if (spec.kind === "intervals") return 90 + spec.rows.length * Math.max(26, 12 * spec.series.length);
  if (spec.kind === "bars" && spec.lying) return 90 + spec.categories.length * Math.max(22, 12 * spec.series.length);
  if (spec.kind === "network") return Math.min(720, Math.max(360, width));
  const lines = spec.series ? Math.min(MOST_LINES, legendLines(spec.series.map(named), width)) : 1;
  return (document.documentElement.classList.contains("printing") ? 180 : 320) + 19 * (lines - 1);
}
