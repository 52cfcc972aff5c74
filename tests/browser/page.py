"""Runs a script in a page of some origin, in headless Chromium, and gives what it reports.

Names below gate.test are this machine: pages and APIs of different names are different origins of one site.
"""

import http.server
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading

BROWSER = "chromium-headless-shell"
REPORT_S = 60

PAGE = """<!doctype html><meta charset="utf-8"><title>test</title><script type="module">
const tried = async (url, options) => {
    try {
        const answer = await fetch(url, options);
        return {status: answer.status, headers: Object.fromEntries(answer.headers), body: await answer.text()};
    } catch (error) {
        return {error: error.name};
    }
};
const report = (what) => fetch("/report", {method: "POST", body: JSON.stringify(what)});
try {
    await report(await (async () => { %s })());
} catch (error) {
    await report({script: String(error)});
}
</script>"""


class Pages:
    """A server for one page at a time, and for its report."""

    def __init__(self):
        self.reports = queue.Queue()
        self.page = ""
        pages = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = pages.page.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                pages.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def run(self, host, script):
        """The script's value, run in a page of http://HOST:PORT. `tried(url, options)` is a fetch that gives what was readable."""
        self.page = PAGE % script
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, tempfile.TemporaryFile() as said:
            browser = subprocess.Popen(
                [BROWSER, "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}", "--remote-debugging-port=0",
                 "--host-resolver-rules=MAP *.gate.test 127.0.0.1", f"http://{host}:{self.port}/"],
                stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip
            try:
                out = self.reports.get(timeout=REPORT_S)
            except queue.Empty:
                said.seek(0)
                raise AssertionError(f"the page reported nothing in {REPORT_S} s: {said.read().decode(errors='replace')[-2000:]}") from None
            finally:
                # Debian's command is a script: the browser is its child, with children of its own.
                os.killpg(browser.pid, signal.SIGKILL)
                browser.wait(20)
        assert "script" not in out, out
        return out
