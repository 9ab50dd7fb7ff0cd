# SPDX-License-Identifier: GPL-2.0
"""A page in a headless Chromium, by the DevTools protocol over a pipe: browser.py URL [OPTION]...

It fails when the page says anything on its console, throws, or does not come to what it waits for within 30 s. (Also a
module, for bench/save_to_plot.py.)"""
import argparse
import base64
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time

LIMIT_S = 30


def pipe():
    """With numbers above those that Chromium wants."""
    low = os.pipe()
    high = tuple(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in low)
    for fd in low:
        os.close(fd)
    return high


class Browser:
    def __init__(self, profile):
        to_it, self.out = pipe()
        self.incoming, from_it = pipe()
        # Chromium reads commands from descriptor 3 and answers on 4, each message with a zero byte behind it.
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
                   "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        script = f'exec 3<&{to_it} 4>&{from_it} {to_it}<&- {from_it}>&-; exec "$@"'
        self.process = subprocess.Popen(["bash", "-c", script, "bash", *command], pass_fds=(to_it, from_it),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={**os.environ, "HOME": profile})
        os.close(to_it)
        os.close(from_it)
        self.last, self.rest, self.session, self.said = 0, b"", None, []

    def message(self):
        while b"\0" not in self.rest:
            got = os.read(self.incoming, 1 << 16)
            if not got:
                sys.exit("chromium has ended")
            self.rest += got
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.last += 1
        request = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.out, json.dumps(request).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.last:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']}")
                return message["result"]
            if message.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                self.said.append(json.dumps(message["params"])[:400])

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            sys.exit(f"{expression}: {result['exceptionDetails']['exception'].get('description')}")
        return result["result"].get("value")

    def wait(self, expression):
        deadline = time.monotonic() + LIMIT_S
        while not self.value(expression):
            if time.monotonic() > deadline:
                sys.exit(f"not within {LIMIT_S} s: {expression}")
            self.value("new Promise((done) => requestAnimationFrame(done))")

    def open(self, url, size, scheme):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        width, height = map(int, size.split("x"))
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=url)
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")

    def drag(self, selector):
        """Over the element, from a quarter of its width to its half."""
        x, y, width, height = self.value(f"(() => {{ const box = document.querySelector('{selector}').getBoundingClientRect();"
                                         " return [box.x, box.y, box.width, box.height]; })()")
        for kind, part, buttons in (("mouseMoved", 0.25, 0), ("mousePressed", 0.25, 1), ("mouseMoved", 0.4, 1),
                                    ("mouseMoved", 0.5, 1), ("mouseReleased", 0.5, 0)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x + part * width, y=y + height / 2, buttons=buttons,
                      button="none" if kind == "mouseMoved" else "left", clickCount=1)

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--dark", action="store_const", const="dark", default="light", help="prefer a dark page")
    parser.add_argument("--size", default="1280x1800")
    # In the order in which they are given:
    steps = []
    for name, what in (("--until", "wait for this expression"), ("--do", "evaluate this"), ("--print", "and print it"),
                       ("--drag", "with the mouse, over the element of this selector"),
                       ("--screenshot", "into this file")):
        parser.add_argument(name, help=what, action=type("Step", (argparse.Action,), {
            "__call__": lambda self, _, __, value, option: steps.append((option, value))}))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        browser.open(arguments.url, arguments.size, arguments.dark)
        for option, value in steps:
            if option == "--until":
                browser.wait(value)
            elif option == "--do":
                browser.value(value)
            elif option == "--drag":
                browser.drag(value)
            elif option == "--print":
                print(browser.value(value))
            else:
                browser.screenshot(value)
        said = browser.said
        browser.session = None
        browser.call("Browser.close")
        browser.process.wait(LIMIT_S)
    if said:
        sys.exit("the page said: " + "\n".join(said))


if __name__ == "__main__":
    main()
