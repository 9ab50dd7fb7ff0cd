// SPDX-License-Identifier: GPL-2.0
// Draws a run into a page: tables, and plots that share their time axis and their cursor. With another run to compare it
// with, changes are in the tables and its lines behind the run's.
"use strict";
const lab = (() => {
  const root = document.documentElement;
  const make = (tag, text, parent, name) => {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = text;
    if (name) node.className = name;
    if (parent) parent.append(node);
    return node;
  };
  const element = (id) => document.getElementById(id);
  // Colours that also those who see red and green alike can tell apart (Okabe and Ito 2008); on black the dark ones lighter.
  const colours = {
    light: ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a900", "#8a8f98"],
    dark: ["#4ba3e3", "#e69f00", "#2dbd8f", "#df8fbc", "#f0803c", "#8fd0f5", "#d6c83c", "#a6acb5"],
  };
  const colour = (i) => {
    const all = colours[root.dataset.theme];
    return all[i % all.length];
  };
  const most = 12; // series a plot shows at once; more can be switched on in its legend
  const number = (value, digits = 2) => value === null || value === undefined ? "–" : value.toFixed(digits);
  const percent = (share) => share > 0 ? `${number(share * 100, share < 0.001 ? 3 : 2)} %` : "0";
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // -- tables --
  // A column: its heading, its value, how that is shown; and, for a measure, what a change of it is multiplied by.
  const flowColumns = (timed, failed) => [
    ["goodput Mbit/s", (flow) => flow.goodput_bit_s / 1e6, number, 1],
    ["second half", (flow) => flow.steady_bit_s / 1e6, number, 1],
    ["retransmitted", (flow) => flow.lost ?? flow.retransmitted, percent, 100],
    ["median RTT ms", (flow) => flow.srtt_ms, (value) => number(value, 1), 1],
    ["mean cwnd", (flow) => flow.cwnd_segments, (value) => number(value, 1), 1],
  ].concat(timed ? [
    ["completed", (flow) => flow.completed, (value) => value ?? "–", 1],
    ["p50 ms", (flow) => flow.latency_ms?.p50, number, 1],
    ["p95 ms", (flow) => flow.latency_ms?.p95, number, 1],
    ["p99 ms", (flow) => flow.latency_ms?.p99, number, 1],
  ] : [], failed ? [["errors", (flow) => flow.failures ? `${flow.failures}: ${flow.error}` : "", (value) => value]] : []);
  const queueColumns = [
    ["utilisation", (queue) => queue.utilisation, percent, 100],
    ["delay p50 ms", (queue) => queue.delay_ms.p50, number, 1],
    ["p95 ms", (queue) => queue.delay_ms.p95, number, 1],
    ["p99 ms", (queue) => queue.delay_ms.p99, number, 1],
    ["dropped", (queue) => queue.dropped, (value) => value, 1],
    ["share", (queue) => queue.drop_share, percent],
    ["marked", (queue) => queue.marked, (value) => value, 1],
    ["share", (queue) => queue.mark_share, percent],
  ];
  const change = (now, before, factor, parent) => {
    if (factor === undefined || typeof now !== "number" || typeof before !== "number") return;
    const text = number((now - before) * factor, Number.isInteger(now) && Number.isInteger(before) ? 0 : 2);
    const same = !/[1-9]/.test(text); // what rounds to nothing is no change
    make("span", same ? " (=)" : ` (${now > before ? "+" : ""}${text})`, parent, same ? "same" : "changed");
  };
  const table = (heading, first, columns, rows, before, parent) => {
    make("h2", heading, parent);
    const node = make("table", null, make("div", null, parent, "wide"));
    const head = make("tr", null, make("thead", null, node));
    make("th", first, head);
    for (const [title] of columns) make("th", title, head);
    const body = make("tbody", null, node);
    rows.forEach((row, i) => {
      const line = make("tr", null, body);
      const name = make("td", null, line);
      make("span", null, name, "swatch").style.background = colour(i);
      name.append(row[first]);
      const was = before?.find((other) => other[first] === row[first]);
      for (const [, value, show, factor] of columns) {
        const cell = make("td", show(value(row)), line);
        if (was) change(value(row), value(was), factor, cell);
      }
    });
  };
  const tables = (run, before, beforeName) => {
    const summary = element("summary");
    summary.replaceChildren();
    const timed = run.summary.flows.some((flow) => flow.latency_ms);
    const failed = run.summary.flows.some((flow) => flow.failures);
    table("Flows", "flow", flowColumns(timed, failed), run.summary.flows, before?.summary.flows, summary);
    table("Queues", "queue", queueColumns, run.summary.queues, before?.summary.queues, summary);
    if (run.summary.fairness !== undefined) {
      const converged = run.summary.convergence_s === undefined ? "the flows did not converge"
        : `converged ${number(run.summary.convergence_s, 1)} s after the last one's start`;
      const line = make("p", `Jain's index of fairness ${number(run.summary.fairness, 3)}`, summary);
      if (before) change(run.summary.fairness, before.summary.fairness, 1, line);
      line.append(`; ${converged}.`);
    }
    if (before) comparison(run, before, beforeName);
    for (const event of run.about.events) {
      make("p", `${number(event.time_s, 1)} s: ${event.what}${event.error ? `: ${event.error}` : ""}`, summary, event.error ? "error" : "");
    }
  };

  // Every number of two summaries beside each other, by the names that `lkm-run lab bisect` and a sweep have for them.
  const measures = (summary) => {
    const all = new Map();
    const add = (name, value) => {
      if (typeof value === "number") all.set(name, value);
      else if (value && typeof value === "object") for (const [key, inner] of Object.entries(value)) add(`${name}.${key}`, inner);
    };
    for (const flow of summary.flows) add(flow.flow, flow);
    for (const queue of summary.queues) add(queue.queue, queue);
    for (const [key, value] of Object.entries(summary)) if (typeof value === "number") add(key, value);
    return all;
  };
  const digits = (value) => value === undefined ? "–" : Number.isInteger(value) ? `${value}` : `${Number(value.toPrecision(6))}`;
  let unfolded = false; // stays as it was when another pair is shown
  const comparison = (run, before, beforeName) => {
    const now = measures(run.summary), was = measures(before.summary);
    const fold = make("details", null, element("summary"));
    fold.open = unfolded;
    fold.addEventListener("toggle", () => { unfolded = fold.open; });
    make("summary", `All measures, against ${beforeName}`, fold);
    const node = make("table", null, make("div", null, fold, "wide"));
    const head = make("tr", null, make("thead", null, node));
    for (const title of ["measure", "this run", beforeName, "difference", "relative"]) make("th", title, head);
    const body = make("tbody", null, node);
    for (const name of new Set([...now.keys(), ...was.keys()])) {
      const [a, b] = [now.get(name), was.get(name)];
      const line = make("tr", null, body);
      make("td", name, line);
      make("td", digits(a), line);
      make("td", digits(b), line);
      const both = a !== undefined && b !== undefined;
      make("td", both ? (a === b ? "=" : `${a > b ? "+" : ""}${digits(a - b)}`) : "", line, both && a !== b ? "changed" : "same");
      make("td", both && a !== b && b !== 0 ? `${a > b ? "+" : ""}${number((a - b) / Math.abs(b) * 100, 1)} %` : "", line);
    }
  };

  // -- plots --
  const drawn = [];
  const sync = uPlot.sync("time");
  let zooming = false;
  let zoom = null; // the part of the time that is shown, when it is not all
  const marks = (run) => (plot) => {
    for (const event of run.about.events) {
      const x = Math.round(plot.valToPos(event.time_s, "x", true));
      if (x < plot.bbox.left || x > plot.bbox.left + plot.bbox.width) continue;
      plot.ctx.save();
      plot.ctx.strokeStyle = css("--dim");
      plot.ctx.setLineDash([4, 4]);
      plot.ctx.beginPath();
      plot.ctx.moveTo(x, plot.bbox.top);
      plot.ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
      plot.ctx.stroke();
      plot.ctx.restore();
    }
  };
  const zoomed = (last) => (plot, key) => {
    if (key !== "x" || zooming) return;
    zooming = true;
    const { min, max } = plot.scales.x;
    zoom = min > 0 || max < last ? { min, max } : null;
    for (const other of drawn) if (other !== plot) other.setScale("x", { min, max });
    zooming = false;
  };
  const width = () => Math.min(1180, element("plots").clientWidth);
  const plots = (run, before, beforeName, name) => {
    drawn.splice(0).forEach((plot) => plot.destroy());
    const keep = zoom;
    const axis = () => ({ stroke: css("--dim"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 } });
    for (const chart of run.plots) {
      const old = before?.plots.find((other) => other.title === chart.title)?.series ?? [];
      const lines = chart.series.map((series) => ({ ...series, label: old.length && name ? `${series.name} (${name})` : series.name }))
        .concat(old.map((series) => ({ ...series, label: `${series.name} (${beforeName})`, old: true })));
      const data = [run.time_s].concat(chart.series.map((series) => series.values));
      const options = {
        title: chart.title,
        width: width(),
        height: 240,
        cursor: { sync: { key: sync.key } },
        legend: { markers: { dash: (plot, i) => plot.series[i].dash ? "dashed" : "solid" } },
        scales: { x: { time: false } },
        axes: [{ ...axis(), label: "s", size: 34, labelSize: 16, labelGap: 0 }, { ...axis(), label: chart.unit, size: 64 }],
        series: [{ label: "s" }].concat(lines.map((line, i) => ({
          label: line.label, stroke: colour(line.colour) + (line.old ? "80" : ""), width: line.old ? 1 : 1.5,
          dash: line.dashed ? [5, 4] : undefined, spanGaps: false, show: line.old || i < most, points: { show: false },
          value: (_, value) => value === null || value === undefined ? "–" : number(value, 3),
        }))),
        hooks: { draw: [marks(run)], setScale: [zoomed(run.time_s.at(-1))] },
      };
      const joined = old.length ? uPlot.join([data, [before.time_s].concat(old.map((series) => series.values))]) : data;
      drawn.push(new uPlot(options, joined, element("plots")));
    }
    if (keep && drawn.length) drawn[0].setScale("x", keep);
  };

  // -- all --
  let shown = null;
  // `name` is the run's own, where it has one: a generation.
  const draw = (run, before = null, beforeName = "", name = "") => {
    shown = [run, before, beforeName, name];
    element("title").textContent = run.about.title;
    // In the run's own stack each build is the first; the page knows it by the watcher's number.
    const known = (module) => name && module.split("@")[0] === name.split("@")[0] ? `${name} ${module.split(" ")[1]}` : module;
    element("facts").textContent =
      `Linux ${run.about.kernel}, ${run.about.duration_s} s in ${run.about.clock} time, seed ${run.about.seed}, segments cross the links one by one` +
      (run.about.modules.length ? `, ${run.about.modules.map(known).join(", ")}` : "");
    tables(run, before, beforeName);
    plots(run, before, beforeName, name);
    const again = element("again");
    again.replaceChildren();
    make("h2", "Run it again", again);
    make("pre", run.command, again);
    if (run.about.clock === "virtual") make("p", "The same seed, kernel and modules give the same run, byte for byte.", again);
    make("p", "The scenario:", again);
    make("pre", run.scenario, again);
  };
  root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  element("theme").addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    if (shown) draw(...shown); // the colours are others
  });
  addEventListener("resize", () => drawn.forEach((plot) => plot.setSize({ width: width(), height: 240 })));
  return { draw, make, element };
})();
