// SPDX-License-Identifier: GPL-2.0
// The page of `lkm-run watch --lab --open`: what the watcher does, and any two builds over each other.
"use strict";
(() => {
  const { draw, make, element } = lab;
  const now = element("now"), before = element("before"), follow = element("follow");
  const runs = new Map(); // by id, as they were fetched
  let known = []; // of the watcher: {id, name, saved, earlier}
  const fetched = async (id) => {
    if (!runs.has(id)) runs.set(id, await (await fetch(`run/${id}`)).json());
    return runs.get(id);
  };
  const name = (id) => known.find((run) => run.id === id)?.name ?? "";
  let asked = 0;
  const show = async () => {
    const turn = ++asked; // of two that are fetched at once, the later one counts
    const id = Number(now.value), other = Number(before.value);
    if (!id) return;
    const [run, old] = await Promise.all([fetched(id), other && other !== id ? fetched(other) : null]);
    if (turn !== asked) return;
    draw(run, old, name(other), name(id));
    document.body.dataset.shown = old ? `${name(id)} over ${name(other)}` : name(id);
  };
  const choices = (select, none) => {
    const chosen = select.value;
    select.replaceChildren();
    if (none) make("option", none, select).value = 0;
    for (const run of known.toReversed()) make("option", `${run.name}, ${run.saved}`, select).value = run.id;
    select.value = chosen || (none ? 0 : "");
  };
  const update = async () => {
    const state = await (await fetch("state")).json();
    const fresh = state.runs.length > 0 && state.runs.at(-1).id !== known.at(-1)?.id && !state.runs.at(-1).earlier;
    const first = known.every((run) => run.earlier);
    known = state.runs;
    element("status").textContent = state.status;
    element("status").className = state.kind;
    element("errors").textContent = state.errors;
    element("errors").hidden = !state.errors;
    choices(now, null);
    choices(before, "nothing");
    if (!fresh || !(follow.checked || first)) return;
    now.value = known.at(-1).id;
    before.value = known.at(-2)?.id ?? 0;
    await show();
  };
  for (const select of [now, before]) select.addEventListener("change", () => {
    follow.checked = false;
    show();
  });
  const events = new EventSource("events");
  events.onmessage = update;
  events.onerror = () => {
    element("status").textContent = "the watcher has ended";
    element("status").className = "failed";
  };
})();
