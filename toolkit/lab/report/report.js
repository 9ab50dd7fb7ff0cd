// SPDX-License-Identifier: GPL-2.0
// The report draws the run that is in it.
"use strict";
lab.draw(JSON.parse(lab.element("run").textContent));
