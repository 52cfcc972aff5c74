#!/usr/bin/python3
"""What the gate costs: instructions in user space a request, of nginx's own directives and of ours.

    bench/policy.py [--requests N]

Three locations answer the same request (POST /v1/identify without a catalog: 403 from the gate, no daemon) with no policy,
with nginx's (3 limit_req, limit_conn, 7 security headers, CORS by map, if and add_header) and with ours (three windows,
RateLimit fields, CORS, the same 7 headers; once by address, once by key). callgrind counts each with N and with 2 N
requests on one connection; the difference is the requests', and what the bare location takes is subtracted.
"""

import argparse
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
THEIRS = f"""
    limit_req zone=second burst=100000 nodelay; limit_req zone=minute burst=100000 nodelay; limit_req zone=hour burst=100000 nodelay;
    limit_conn connections 1000;
    {" ".join(f'add_header {name} "{value}" always;' for name, value in SECURITY.items())}
    if ($request_method = OPTIONS) {{ return 204; }}
    add_header Access-Control-Allow-Origin $cors_origin always; add_header Vary Origin always;
"""
OURS = """
    sonogate_rate zone=callers 1000000r/m 10000000r/h 100000000r/d;
    sonogate_cors https://app.example.com https://*.example.org; sonogate_security_headers api;
"""
BARE = "sonogate_security_headers off;"
LOCATIONS = {"none": BARE, "nginx's own": BARE + THEIRS, "sonogate, by address": OURS, "sonogate, by key": OURS + "sonogate_keys keys;"}

CONF = """
load_module modules/ngx_http_sonogate_module.so;
daemon off; master_process off; pid nginx.pid; error_log error.log error;
events {{ worker_connections 64; }}
http {{
    access_log off; keepalive_requests 1000000; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;
    limit_req_zone $binary_remote_addr zone=second:1m rate=10000r/s;
    limit_req_zone $binary_remote_addr zone=minute:1m rate=9000r/s;
    limit_req_zone $binary_remote_addr zone=hour:1m rate=8000r/s;
    limit_conn_zone $binary_remote_addr zone=connections:1m;
    map $http_origin $cors_origin {{ https://app.example.com $http_origin; ~^https://[^.]+\\.example\\.org$ $http_origin; }}
    sonogate_rate_zone callers:1m;
    sonogate_pool main {{ socket none.sock; }}
    server {{ listen 127.0.0.1:{port}; location / {{ sonogate_pass main; sonogate_catalog off; {location} }} }}
}}
"""


def request(key):
    lines = ["POST /v1/identify HTTP/1.1", "Host: api.example.com", "Origin: https://app.example.com", "Content-Length: 0"]
    return "\r\n".join(lines + ([f"Authorization: Bearer {key}"] if key else [])).encode() + b"\r\n\r\n"


def ask(port, data, count):
    """One after the other on one connection; gives the last answer's head."""
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as answers:
        for _ in range(count):
            connection.sendall(data)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += answers.readline()
            answers.read(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
    return head.decode()


def instructions(folder, name, count):
    port = free_port()
    key = "secret" if name.endswith("key") else None
    with open(os.path.join(folder, "nginx.conf"), "w", encoding="ascii") as file:
        file.write(CONF.format(port=port, location=LOCATIONS[name]))
    with open(os.path.join(folder, "keys"), "w", encoding="ascii") as file:
        file.write(f"caller {hashlib.sha256(b'secret').hexdigest()}\n")
    profile = os.path.join(folder, "profile")
    nginx = subprocess.Popen(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", "nginx", "-p", folder, "-e", "error.log", "-c", "nginx.conf"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        wait_for_port(port, 60)
        head = ask(port, request(key), count)
    finally:
        nginx.send_signal(signal.SIGTERM)
        nginx.wait(60)
    if " 403 " not in head or (name != "none" and "access-control-allow-origin" not in head.lower()):
        raise SystemExit(f"policy: {name}: not the answer that is measured:\n{head}")
    with open(profile, encoding="ascii") as file:
        return int(re.search(r"^(?:summary|totals): (\d+)", file.read(), re.MULTILINE)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    count = parser.parse_args().requests
    each = {}
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(os.path.join(folder, "modules"))
        os.symlink(os.path.join(BUILD, "modules/ngx_http_sonogate_module.so"), os.path.join(folder, "modules/ngx_http_sonogate_module.so"))
        for name in LOCATIONS:
            each[name] = (instructions(folder, name, 2 * count) - instructions(folder, name, count)) / count
            print(f"{name}: {each[name]:.0f}", file=sys.stderr)
    commit = subprocess.run(["git", "-C", REPOSITORY, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    today = datetime.date.today().isoformat()
    theirs = each["nginx's own"] - each["none"]
    rows = [f"| {name} | {value:.0f} | {value - each['none']:.0f} | {(value - each['none']) / theirs:.2f} |" for name, value in each.items()]
    text = "\n".join([
        f"# Policy, {today}", "",
        f"Commit {commit}; instructions in user space a request, counted by callgrind over {count} requests.", "Made by `scripts/bench policy`.", "",
        "| policy | whole request | policy | by nginx's own |", "| --- | --- | --- | --- |", *rows, ""])  # fmt: skip
    print(text)
    with open(os.path.join(REPOSITORY, f"bench/results/{today}-policy.md"), "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
