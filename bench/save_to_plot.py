# SPDX-License-Identifier: GPL-2.0
"""From a saved line to the new plot in a browser: save_to_plot.py LKM_RUN SAVES

`lkm-run watch --lab --open` on a new congestion control, a dumbbell of 60 s at 50 Mbit/s, and its page in a headless
Chromium. The time is from before the write of the source until the page has drawn the new run over the one before. Prints
{"save_to_plot_ms": [...]}."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "cli"))
from browser import Browser  # noqa: E402

REST_S = 4  # between two saves: Kbuild judges the last one meanwhile, as it does while a person reads


def main():
    program, saves = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache"}
        subprocess.run([program, "new", "cc", "mycc"], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        source = pathlib.Path(folder, "mycc", "mycc.c")
        watch = subprocess.Popen([program, "watch", "mycc", "--lab", "dumbbell --cc mycc,cubic --rate 50mbit --for 60s",
                                  "--open", "--json"], cwd=folder, env=environment, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, text=True)
        try:
            url = json.loads(watch.stdout.readline())["page"]
            browser = Browser(f"{folder}/profile")
            browser.open(url, "1280x1800", "light")
            browser.wait("document.body.dataset.shown === 'mycc@1'")
            took = []
            for number in range(1, saves + 1):
                time.sleep(REST_S)
                text = source.read_text() + f'MODULE_INFO(bench_edit, "{number}");\n'
                began = time.monotonic()
                source.write_text(text)
                browser.wait(f"document.body.dataset.shown === 'mycc@{number + 1} over mycc@{number}'")
                browser.value("new Promise((done) => requestAnimationFrame(done))")
                took.append((time.monotonic() - began) * 1e3)
            browser.process.kill()
        finally:
            watch.terminate()
            watch.wait()
    print(json.dumps({"save_to_plot_ms": took}))


main()
