// SPDX-License-Identifier: GPL-2.0
// Draws the report from the JSON in it. The plots share their time axis and their cursor.
"use strict";
(() => {
  const run = JSON.parse(document.getElementById("run").textContent);
  const root = document.documentElement;
  const make = (tag, text, parent, name) => {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = text;
    if (name) node.className = name;
    if (parent) parent.append(node);
    return node;
  };
  // Colours that also those who see red and green alike can tell apart (Okabe and Ito 2008).
  const colours = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a900", "#8a8f98"];
  const colour = (i) => colours[i % colours.length];
  const most = 12; // series a plot shows at once; more can be switched on in its legend
  const number = (value, digits = 2) => value === null || value === undefined ? "–" : value.toFixed(digits);
  const percent = (share) => share > 0 ? `${number(share * 100, share < 0.001 ? 3 : 2)} %` : "0";

  document.getElementById("title").textContent = run.about.title;
  document.getElementById("facts").textContent =
    `Linux ${run.about.kernel}, ${run.about.duration_s} s in virtual time, seed ${run.about.seed}` +
    (run.about.modules.length ? `, ${run.about.modules.join(", ")}` : "");

  // -- tables --
  const summary = document.getElementById("summary");
  const table = (heading, columns, rows) => {
    make("h2", heading, summary);
    const node = make("table", null, make("div", null, summary, "wide"));
    const head = make("tr", null, make("thead", null, node));
    for (const column of columns) make("th", column, head);
    const body = make("tbody", null, node);
    rows.forEach((row, i) => {
      const line = make("tr", null, body);
      row.forEach((cell, at) => {
        const field = make("td", null, line);
        if (at === 0) make("span", null, field, "swatch").style.background = colour(i);
        field.append(cell);
      });
    });
  };
  const latencies = run.summary.flows.some((flow) => flow.latency_ms);
  table("Flows",
    ["flow", "goodput Mbit/s", "second half", "retransmitted", "median RTT ms", "mean cwnd"]
      .concat(latencies ? ["completed", "p50 ms", "p95 ms", "p99 ms"] : [], ["errors"]),
    run.summary.flows.map((flow) =>
      [flow.flow, number(flow.goodput_bit_s / 1e6), number(flow.steady_bit_s / 1e6), percent(flow.lost ?? flow.retransmitted),
        number(flow.srtt_ms, 1), number(flow.cwnd_segments, 1)]
        .concat(latencies ? [flow.completed ?? "–", number(flow.latency_ms?.p50), number(flow.latency_ms?.p95), number(flow.latency_ms?.p99)] : [],
          [flow.failures ? `${flow.failures}: ${flow.error}` : ""])));
  table("Queues",
    ["queue", "utilisation", "delay p50 ms", "p95 ms", "p99 ms", "dropped", "marked"],
    run.summary.queues.map((queue) =>
      [queue.queue, percent(queue.utilisation), number(queue.delay_ms.p50), number(queue.delay_ms.p95),
        number(queue.delay_ms.p99), `${queue.dropped} (${percent(queue.drop_share)})`,
        `${queue.marked} (${percent(queue.mark_share)})`]));
  if (run.summary.fairness !== undefined) {
    const converged = run.summary.convergence_s === undefined ? "the flows did not converge"
      : `converged ${number(run.summary.convergence_s, 1)} s after the last one's start`;
    make("p", `Jain's index of fairness ${number(run.summary.fairness, 3)}; ${converged}.`, summary);
  }
  for (const event of run.about.events) {
    make("p", `${number(event.time_s, 1)} s: ${event.what}${event.error ? `: ${event.error}` : ""}`, summary, event.error ? "error" : "");
  }

  // -- plots --
  const plots = [];
  let zooming = false;
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const sync = uPlot.sync("time");
  const marks = (plot) => {
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
  const draw = () => {
    plots.splice(0).forEach((plot) => plot.destroy());
    const parent = document.getElementById("plots");
    const axis = () => ({ stroke: css("--dim"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 } });
    for (const chart of run.plots) {
      const options = {
        title: chart.title,
        width: Math.min(1180, parent.clientWidth),
        height: 240,
        cursor: { sync: { key: sync.key } },
        scales: { x: { time: false } },
        axes: [{ ...axis(), label: "s", labelSize: 18 }, { ...axis(), label: chart.unit, size: 64 }],
        series: [{ label: "s" }].concat(chart.series.map((series, i) => ({
          label: series.name, stroke: colour(series.colour), width: 1.5, dash: series.dashed ? [5, 4] : undefined,
          show: i < most, points: { show: false }, value: (_, value) => value === null ? "–" : number(value, 3),
        }))),
        hooks: {
          draw: [marks],
          setScale: [(plot, key) => {
            if (key !== "x" || zooming) return;
            zooming = true;
            const { min, max } = plot.scales.x;
            for (const other of plots) if (other !== plot) other.setScale("x", { min, max });
            zooming = false;
          }],
        },
      };
      plots.push(new uPlot(options, [run.time_s].concat(chart.series.map((series) => series.values)), parent));
    }
  };
  root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    draw();
  });
  addEventListener("resize", () => plots.forEach((plot) =>
    plot.setSize({ width: Math.min(1180, document.getElementById("plots").clientWidth), height: 240 })));
  draw();

  // -- again --
  const again = document.getElementById("again");
  make("h2", "Run it again", again);
  make("pre", run.command, again);
  make("p", "The same seed, kernel and modules give the same run, byte for byte. The scenario:", again);
  make("pre", run.scenario, again);
})();
