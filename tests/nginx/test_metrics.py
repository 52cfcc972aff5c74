"""/metrics is Prometheus text, and its figures move with what happens."""

import os
import re

from metrics import scrape, total
from served import REPOSITORY, wait_until
from sounds import tone, wav

def test_every_line_is_prometheus_text(server):
    samples, types = scrape(server)
    assert len(samples) > 20
    for key in samples:
        name = key.partition("{")[0]
        assert name in types or re.sub("_(bucket|sum|count)$", "", name) in types, name
        assert name.startswith("sonogate_"), name


ROW = re.compile(r"^\| `(sonogate_\w+)` \| (\w+) \| (.*?) ?\| ", re.M)


def test_the_page_about_them_is_whole_and_true(server):
    server.post("/v1/analyze", data=wav(tone(seconds=0.1)))
    wait_until(lambda: "sonogate_requests_total{" in server.get("/metrics").text)
    samples, types = scrape(server)
    labels = {name: set() for name in types}
    for key in samples:
        name = re.sub("_(bucket|sum|count)$", "", key.partition("{")[0])
        labels[name] |= set(re.findall(r'([a-z]+)="', key)) - {"le"}
    with open(os.path.join(REPOSITORY, "docs/metrics.md"), encoding="utf-8") as page:
        rows = ROW.findall(page.read())
    told = {name: (kind, set(re.findall(r"`(\w+)`", names))) for name, kind, names in rows}
    assert len(told) == len(rows)
    assert told == {name: (kind, labels[name]) for name, kind in types.items()}


def test_what_the_contract_promises_is_there(server):
    names = " ".join(scrape(server)[0])
    for word in ("request", "queue", "upload", "jemalloc|allocated", "catalog|tracks", "match", "_bucket"):
        assert re.search(word, names), f"{word} is missing in {names[:2000]}"


def test_requests_are_counted_by_endpoint_and_status(server):
    before = scrape(server)[0]
    for _ in range(7):
        server.post("/v1/analyze", data=wav(tone(seconds=0.1)))
    for _ in range(3):
        server.post("/v1/analyze", data=b"text" * 100)

    def counted():
        after = scrape(server)[0]
        good = total(after, "requests", "analyze", '"200"') - total(before, "requests", "analyze", '"200"')
        bad = total(after, "requests", "analyze", '"415"') - total(before, "requests", "analyze", '"415"')
        return (good, bad) == (7, 3)

    wait_until(counted, 5)


def test_histograms_grow_and_are_ordered(server):
    server.post("/v1/analyze", data=wav(tone(seconds=0.1)))
    samples, types = scrape(server)
    histograms = [name for name, kind in types.items() if kind == "histogram"]
    assert histograms
    for name in histograms:
        series = {}
        for key, value in samples.items():
            if key.startswith(name + "_bucket"):
                bound = re.search(r'le="([^"]+)"', key)[1]
                series.setdefault(re.sub(r',?le="[^"]+"', "", key), []).append((float(bound.replace("+Inf", "inf")), value))
        for key, buckets in series.items():
            values = [value for _, value in sorted(buckets)]
            assert values == sorted(values), key
            assert max(bound for bound, _ in buckets) == float("inf")
