#!/usr/bin/python3
"""What the gate costs: instructions in user space a request, of nginx's own directives and of ours.

    bench/policy.py [--requests N]

Four locations answer the same request alike: GET /v1/tracks with no daemon behind it, so that every policy says yes, the
content handler is reached, and the answer is 503.

  none                  no policy: what a request costs in any case
  nginx's own           3 limit_req and limit_conn by $binary_remote_addr; 7 add_header; CORS as operators write it: a map of
                        exact and wildcard-subdomain origins, an if for preflights, 3 add_header
  sonogate, by address  three windows and concurrency by $sonogate_identity, RateLimit fields, CORS, the same 7 headers
  sonogate, by key      the same with sonogate_keys: SHA-256 of what was sent; nothing on nginx's side does that

Each origin is asked for apart: one that the map and sonogate_cors name, and one that a wildcard of theirs means (a regex in
the map). Before anything is counted, the answers are compared: ours have every header of nginx's and beyond them only the
RateLimit fields, which nginx cannot make; and with a limit of one each location is seen to refuse the second request.

callgrind counts each location with N and with 2 N requests on one connection; the difference is the requests'. "policy" is
what a request costs beyond the bare location, "whole" all of it.
"""

import argparse
import contextlib
import datetime
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile

from servers import REPOSITORY, free_port, wait_for_port

BUILD = os.environ.get("SONOGATE_BUILD", os.path.join(REPOSITORY, "build/release"))
SECURITY = {
    "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin", "X-XSS-Protection": "0",
}  # fmt: skip
EXPOSED = (
    "X-Request-Id, Server-Timing, Cache-Status, ETag, Location, Allow, Retry-After, RateLimit, RateLimit-Policy, "
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, WWW-Authenticate"
)
THEIRS = f"""
    limit_req zone=minute nodelay {{burst}}; limit_req zone=hour nodelay {{burst}}; limit_req zone=day nodelay {{burst}};
    limit_req_status 429; limit_conn connections 1000;
    {" ".join(f'add_header {name} "{value}" always;' for name, value in SECURITY.items())}
    if ($request_method = OPTIONS) {{{{
        add_header Access-Control-Allow-Origin $cors_origin; add_header Access-Control-Allow-Methods "GET, HEAD, POST";
        add_header Access-Control-Allow-Headers "Authorization, Content-Type"; add_header Access-Control-Max-Age 7200; add_header Vary Origin;
        return 204;
    }}}}
    add_header Access-Control-Allow-Origin $cors_origin always; add_header Vary Origin always;
    add_header Access-Control-Expose-Headers "{EXPOSED}" always;
"""
OURS = """
    sonogate_rate zone=callers {count}r/m {count}r/h {count}r/d; sonogate_concurrency 1000;
    sonogate_cors https://app.example.com https://*.example.org; sonogate_security_headers api;
"""
BARE = "sonogate_security_headers off;"
LOCATIONS = {"none": BARE, "nginx's own": BARE + THEIRS, "sonogate, by address": OURS, "sonogate, by key": OURS + "sonogate_keys keys;"}
ORIGINS = {"exact": "https://app.example.com", "wildcard": "https://tenant.example.org"}
PLENTY, ONE = {"burst": "burst=1000000", "count": 10_000}, {"burst": "", "count": 1}
KEY = "secret"

CONF = """
load_module modules/ngx_http_sonogate_module.so;
daemon off; master_process off; pid nginx.pid; error_log error.log error;
events {{ worker_connections 64; }}
http {{
    access_log off; keepalive_requests 1000000; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;
    limit_req_zone $binary_remote_addr zone=minute:1m rate=1r/m;
    limit_req_zone $binary_remote_addr zone=hour:1m rate=1r/m;
    limit_req_zone $binary_remote_addr zone=day:1m rate=1r/m;
    limit_conn_zone $binary_remote_addr zone=connections:1m;
    map $http_origin $cors_origin {{ https://app.example.com $http_origin; "~^https://[a-z0-9_.-]+\\.example\\.org$" $http_origin; }}
    sonogate_rate_zone callers:1m;
    sonogate_pool main {{ socket none.sock; }}
    server {{ listen 127.0.0.1:{port}; location / {{ sonogate_pass main; {location} }} }}
}}
"""


class Answer:
    def __init__(self, head):
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)


def ask(port, origin, key, count):
    """One after the other on one connection; gives the last answer."""
    lines = ["GET /v1/tracks HTTP/1.1", "Host: api.example.com", f"Origin: {origin}"] + ([f"Authorization: Bearer {key}"] if key else [])
    request = "\r\n".join(lines).encode() + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as answers:
        for _ in range(count):
            connection.sendall(request)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += answers.readline()
            answers.read(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
    return Answer(head)


@contextlib.contextmanager
def nginx(folder, name, limits, command=()):
    port = free_port()
    with open(os.path.join(folder, "nginx.conf"), "w", encoding="ascii") as file:
        location = LOCATIONS[name].format(**limits) if name != "none" else BARE
        file.write(CONF.format(port=port, location=location))
    process = subprocess.Popen([*command, "nginx", "-p", folder, "-e", "error.log", "-c", "nginx.conf"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        wait_for_port(port, 60)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def key_of(name):
    return KEY if name.endswith("key") else None


def check_alike(folder):
    """Stops where the locations do not do the same."""
    for kind, origin in ORIGINS.items():
        answers = {}
        for name in LOCATIONS:
            with nginx(folder, name, PLENTY) as port:
                answers[name] = ask(port, origin, key_of(name), 1)
            with nginx(folder, name, ONE) as port:
                second = ask(port, origin, key_of(name), 2).status
            if answers[name].status != 503 or second != (503 if name == "none" else 429):
                raise SystemExit(f"policy: {name}, {kind}: {answers[name].status}, and {second} where one is allowed")
        theirs = answers["nginx's own"].headers
        own = {"date", "x-request-id"}
        for name in ("sonogate, by address", "sonogate, by key"):
            ours = answers[name].headers
            if {k: v for k, v in ours.items() if not k.startswith("ratelimit") and k not in own} != {k: v for k, v in theirs.items() if k not in own}:
                raise SystemExit(f"policy: {name}, {kind}: other headers than nginx's own:\n{theirs}\n{ours}")


def instructions(folder, name, origin, count):
    profile = os.path.join(folder, "profile")
    with nginx(folder, name, PLENTY, ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"]) as port:
        ask(port, origin, key_of(name), count)
    with open(profile, encoding="ascii") as file:
        return int(re.search(r"^(?:summary|totals): (\d+)", file.read(), re.MULTILINE)[1])


def rows_of(folder, kind, count):
    each = {}
    for name in LOCATIONS:
        origin = ORIGINS[kind]
        each[name] = (instructions(folder, name, origin, 2 * count) - instructions(folder, name, origin, count)) / count
        print(f"{kind}, {name}: {each[name]:.0f}", file=sys.stderr)
    bare, theirs = each["none"], each["nginx's own"]
    return [
        f"| {kind} | {name} | {value:.0f} | {value / theirs:.2f} | {value - bare:.0f} | {(value - bare) / (theirs - bare):.2f} |"
        for name, value in each.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    count = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(os.path.join(folder, "modules"))
        os.symlink(os.path.join(BUILD, "modules/ngx_http_sonogate_module.so"), os.path.join(folder, "modules/ngx_http_sonogate_module.so"))
        with open(os.path.join(folder, "keys"), "w", encoding="ascii") as file:
            file.write(f"caller {hashlib.sha256(KEY.encode()).hexdigest()}\n")
        check_alike(folder)
        rows = [row for kind in ORIGINS for row in rows_of(folder, kind, count)]
    commit = subprocess.run(["git", "-C", REPOSITORY, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    today = datetime.date.today().isoformat()
    text = "\n".join([
        f"# Policy, {today}", "",
        f"Commit {commit}; instructions in user space a request, counted by callgrind over {count} requests; bench/policy.py says of what.",
        "Made by `scripts/bench policy`.", "",
        "| origin | location | whole | by nginx's own | policy | by nginx's own |", "| --- | --- | --- | --- | --- | --- |", *rows, ""])  # fmt: skip
    print(text)
    with open(os.path.join(REPOSITORY, f"bench/results/{today}-policy.md"), "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
