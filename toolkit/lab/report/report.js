// SPDX-License-Identifier: GPL-2.0
// The report draws the run that is in it, and perhaps another one behind it.
"use strict";
(() => {
  const read = (id) => JSON.parse(lab.element(id).textContent);
  const before = read("before");
  lab.draw(read("run"), before.run, before.name);
})();
