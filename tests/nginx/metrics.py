"""GET /metrics as numbers, for every test that counts what the daemon did."""

import re

LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*\})? (NaN|[+-]?Inf|[-+0-9.eE]+)')


def scrape(server):
    answer = server.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    samples, types = {}, {}
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in types, f"{name} twice"
            types[name] = kind
        elif line and not line.startswith("#"):
            match = LINE.fullmatch(line)
            assert match, line
            key = match[1] + (match[2] or "")
            assert key not in samples, f"{key} twice"
            samples[key] = float(match[3])
    return samples, types


def total(samples, *words):
    return sum(v for k, v in samples.items() if all(w in k for w in words) and "_bucket" not in k)
