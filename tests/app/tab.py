"""The page in a browser, as its tests see it."""

import json
import pathlib
import time

import numpy as np

STEPS = 3
TIMEOUT = 120  # Seconds; programs may have to be compiled.

MAPS = """return [...document.querySelectorAll(arguments[0] + " figure")].map((figure) => {
    const frame = figure.view.frames.at(-1);
    return frame ? [frame.steps, Array.from(frame.values)] : null;
})"""


class Tab:
    """The page, opened anew, and what is done on it."""

    def __init__(self, chromium, server):
        self.chromium = chromium
        chromium.get_log("browser")
        chromium.get_log("performance")
        chromium.get(server.address)
        self.wait("status", "Ready")
        self.enter("iterations", STEPS)

    def run(self, script, *arguments):
        return self.chromium.execute_script(script, *arguments)

    def find(self, selector):
        return self.chromium.find_element("css selector", selector)

    def all(self, selector):
        return self.chromium.find_elements("css selector", selector)

    def click(self, selector):
        self.run("arguments[0].scrollIntoView({ block: 'center' })", self.find(selector))
        self.find(selector).click()

    def text(self, name):
        return self.find(f"#{name}").text

    def enter(self, name, value):
        """Sets a control as a hand would."""
        script = """const control = document.getElementById(arguments[0]);
            control.value = arguments[1];
            for (const kind of ["input", "change"]) control.dispatchEvent(new Event(kind, { bubbles: true }));"""
        self.run(script, name, value)

    def wait(self, name, *words):
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            if any(
                word in self.run("return document.getElementById(arguments[0]).textContent", name) for word in words
            ):
                return
            time.sleep(0.05)
        raise AssertionError(f"{name} says {self.text(name)!r}, not {words}; console: {self.complaints}")

    def done(self):
        self.wait("status", "Done in", "It is among", "All are known", "is among your downloads")

    def drop(self, path):
        """A file from disk, through the field behind the button."""
        self.find("#file").send_keys(str(path))
        self.wait("photograph-name", pathlib.Path(path).name)
        self.done()

    def maps(self, where):
        found = self.run(MAPS, where)
        return [one and (one[0], np.asarray(one[1], np.float32)) for one in found]

    @property
    def complaints(self):
        return [entry["message"] for entry in self.chromium.get_log("browser")]

    @property
    def hosts(self):
        """Every address that was asked for since the last time, but for those that are data."""
        told = [json.loads(entry["message"])["message"] for entry in self.chromium.get_log("performance")]
        sent = [one["params"]["request"]["url"] for one in told if one["method"] == "Network.requestWillBeSent"]
        return {url.split("/")[2] for url in sent if not url.startswith(("data:", "blob:", "chrome"))}


def downloaded(folder, name):
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if (folder / name).exists():
            return folder / name
        time.sleep(0.05)
    raise AssertionError(f"{name} is not among {[path.name for path in folder.iterdir()]}")
