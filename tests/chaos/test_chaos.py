"""Mixed uploads from many clients while something goes wrong every second: nothing is lost, nothing is left."""

import os
import random
import time

import requests

from clients import Clients, asks, learn
from contract import strict_json
from metrics import scrape
from mishaps import Mishaps
from served import free_port, wait_until
from sounds import music, wav

POOL = "workers 2; job_deadline 20s; job_memory 256m; upload_memory 96m; queue 64 timeout=10s; quarantine 4s; crash_budget 20/10s;"
LOCATION = "sonogate_max_body 64m; sonogate_concurrency 64;"
ZERO_IN_CALM = (
    "sonogate_queue_depth", 'sonogate_workers{state="busy"}', 'sonogate_upload_memory_bytes{state="used"}', "sonogate_uploads_waiting",
    "sonogate_tickets", "sonogate_concurrency_tickets", "sonogate_concurrency_callers", "sonogate_result_slots_in_use",
)  # fmt: skip


def small_disk(folder):
    """(what starts scripts/serve with a disk of its own for the catalog, where it is); nothing where we may not mount."""
    disk = os.path.join(folder, "state/disk")
    os.makedirs(disk)
    if os.geteuid() != 0:
        return [], None
    return ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=48m,mode=0777 none "$0" && exec "$@"', disk], disk


def busy(server):
    """What should be zero in calm, and is not."""
    now = scrape(server)[0]
    return {name: now[name] for name in ZERO_IN_CALM if now[name] != 0}


def footprint(server):
    """What each kind of process holds: descriptors and memory of its own, of the largest of its kind."""
    out = {}
    for role in ("nginx: worker", "nginx: master", "sonogated: broker", "sonogated: zygote", "sonogated: librarian", "sonogated: worker"):
        pids = server.pids(role)
        with_memory = [rss_anonymous(pid) for pid in pids]
        out[role] = {"processes": len(pids), "descriptors": max(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids), "mib": max(with_memory) >> 20}
    return out


def rss_anonymous(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon"))


def assert_calm(server):
    def calm():
        try:
            return server.is_ready() and len(server.pids("nginx: master")) == 1 and not busy(server)
        except requests.RequestException:
            return False

    try:
        wait_until(calm, 60, 0.2)
    except AssertionError:
        raise AssertionError(f"not calm after a minute: {busy(server)}\n{server.get('/ready').text}") from None


def test_chaos(served_in, request, tmp_path):
    seconds = request.config.getoption("--chaos-seconds")
    seed = request.config.getoption("--chaos-seed") or random.randrange(1 << 30)
    print(f"seed {seed}")
    server = served_in()
    command, disk = small_disk(server.folder)
    server.command = command
    server.h2_port = free_port()
    # A second listener speaks HTTP/2; the catalog's folder is the small disk.
    server.write_conf(pool=POOL, location=LOCATION, listen=f"listen 127.0.0.1:{server.h2_port} http2;", catalog="disk/catalog.db")
    server.start()

    mix = asks()
    learn(server, mix)
    assert_calm(server)
    before = footprint(server)
    mishaps = Mishaps(server, random.Random(seed), disk)
    clients = Clients(server, mix, mishaps, seed)
    clients.start()
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(1.0)
            mishaps.one()
        mishaps.end()
    finally:
        clients.stop()
    print(f"answers: {dict(sorted(clients.counts.items(), key=lambda item: -item[1]))}")
    print(f"mishaps: {mishaps.tally()}, {mishaps.skipped} had nobody to happen to")
    assert not clients.wrong, f"seed {seed}: {len(clients.wrong)} wrong:\n" + "\n".join(clients.wrong[:12])

    assert_calm(server)
    missing = [track for track in clients.acknowledged if server.get(f"/v1/tracks/{track}").status_code != 200]
    assert not missing, f"seed {seed}: {len(missing)} of {len(clients.acknowledged)} acknowledged tracks are gone: {missing[:5]}"
    clip = strict_json(server.post("/v1/identify?limit=50", data=wav(music(200, 4)[20000:])))
    assert any(match["track_id"] in clients.acknowledged for match in clip["matches"]) or not clients.acknowledged, clip
    for ask in mix:
        wait_until(lambda ask=ask: clients.judge(ask, clients.plain(ask), time.monotonic()) in ask.statuses, 10, 0.5)  # past the quarantine

    after = footprint(server)
    print("\n".join(f"{role}: {before[role]} -> {after[role]}" for role in after))
    for role, was in before.items():
        assert after[role]["processes"] == was["processes"], f"{role}: {was} -> {after[role]}"
        assert after[role]["descriptors"] <= was["descriptors"] + 24, f"{role}: {was} -> {after[role]}"
        assert after[role]["mib"] <= was["mib"] + 64, f"{role}: {was} -> {after[role]}"
