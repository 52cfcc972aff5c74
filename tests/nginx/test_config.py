"""nginx -t refuses bad settings, with the line and the reason."""

import os
import re
import subprocess

import pytest

from served import BUILD, CONF, PIECES
from sounds import wav_of_size

BAD = [
    ("pool", "workers many;"), ("pool", "workers -1;"), ("pool", "queue;"), ("pool", "queue 0;"), ("pool", "queue 10 timeout=x;"), ("pool", "queue 10 bogus=1;"),
    ("pool", "job_deadline 0;"), ("pool", "job_deadline soon;"), ("pool", "drain_timeout 0;"), ("pool", "drain_timeout;"), ("pool", "quarantine;"), ("pool", "quarantine soon;"), ("pool", "crash_budget 3;"), ("pool", "crash_budget 0/1m;"), ("pool", "crash_budget 3/;"), ("pool", "log_level loud;"), ("pool", "job_memory 1k;"), ("pool", "job_memory x;"), ("pool", "upload_memory 0;"),
    ("pool", "worker_jobs 0;"), ("pool", "worker_jobs auto;"), ("pool", "job_cpu 0;"), ("pool", "job_cpu soon;"), ("pool", "job_result 1k;"), ("pool", "disk_reserve much;"),
    ("pool", "result_cache;"), ("pool", "result_cache 1k;"), ("pool", "result_cache off;"), ("pool", "result_cache 1m ttl=0;"), ("pool", "result_cache 1m timeout=1s;"),
    ("location", "sonogate_cache maybe;"), ("location", "sonogate_cache on; sonogate_cache off;"),
    ("pool", "workers 1; workers 2;"), ("pool", "nonsense 1;"), ("pool", "socket other.sock;"),
    ("location", "sonogate_max_body x;"), ("location", "sonogate_max_body 2g;"), ("location", "sonogate_max_audio x;"), ("location", "sonogate_catalog maybe;"),
    ("location", "sonogate_catalog read;"), ("location", "sonogate_pass main;"), ("location", "sonogate_nonsense on;"), ("location", "sonogate_max_body 1m; sonogate_max_body 2m;"),
    ("server", "location /x { sonogate_pass nobody; }"), ("server", "sonogate_pool inner { socket a.sock; }"),
    ("location", "sonogate_keys nowhere;"), ("location", "sonogate_keys;"), ("location", "sonogate_keys off; sonogate_keys off;"),
    ("location", "sonogate_cors;"), ("location", "sonogate_cors * credentials;"), ("location", "sonogate_cors * https://a.example.com;"), ("location", "sonogate_cors credentials;"),
    ("location", "sonogate_cors https://a.example.com/;"), ("location", "sonogate_cors example.com;"), ("location", "sonogate_cors https://*;"), ("location", "sonogate_cors https://a.*.com;"),
    ("location", "sonogate_cors off https://a.example.com;"), ("location", "sonogate_cors off; sonogate_cors *;"), ("location", "sonogate_cors https://a max_age=soon;"),
    ("location", "sonogate_cors https://a headers=;"), ("location", "sonogate_cors https://a expose=a:b;"),
    ("location", "sonogate_min_audio 0;"), ("location", "sonogate_min_audio 5s; sonogate_max_audio 4s;"), ("location", "sonogate_max_decoded 0;"), ("location", "sonogate_max_decoded much;"),
    ("location", "sonogate_max_channels 0;"), ("location", "sonogate_max_channels many;"), ("location", "sonogate_max_channels 2; sonogate_max_channels off;"),
    ("location", "sonogate_formats;"), ("location", "sonogate_formats wav mpeg;"), ("location", "sonogate_formats all wav;"), ("location", "sonogate_formats wav; sonogate_formats mp3;"),
    ("location", "sonogate_body_timeout soon;"), ("location", "sonogate_body_timeout 1s; sonogate_body_timeout off;"), ("location", "sonogate_min_receive_rate 0;"),
    ("location", "sonogate_min_receive_rate 1k before=1s;"), ("location", "sonogate_min_receive_rate 1k after=x;"), ("location", "sonogate_min_receive_rate off after=1s;"),
    ("location", "sonogate_log_level loud;"), ("location", "sonogate_log_level info; sonogate_log_level warn;"),
    ("location", "sonogate_hosts;"), ("location", "sonogate_hosts a.example.com:80;"), ("location", "sonogate_hosts https://a;"), ("location", "sonogate_hosts a.*.b;"), ("location", "sonogate_hosts *;"),
    ("location", "sonogate_hosts a; sonogate_hosts b;"), ("location", "sonogate_security_headers on;"), ("location", "sonogate_security_headers api; sonogate_security_headers off;"),
    ("server", "location /x { sonogate_pass main; sonogate_catalog write; }"), ("server", "location /x { sonogate_pass main; sonogate_keys off; sonogate_catalog write; }"),
    ("http", "sonogate_pool main { socket other.sock; catalog sqlite:c.db; }"), ("http", "sonogate_pool empty { }"), ("http", "sonogate_pool { socket a.sock; }"),
    ("http", "sonogate_pool two { socket b.sock; catalog mysql:x; }"), ("http", "sonogate_pool two { socket b.sock; catalog sqlite:; }"),
    ("http", "sonogate_rate_zone z;"), ("http", "sonogate_rate_zone z:1k;"), ("http", "sonogate_rate_zone z:1m bogus=1;"),
    ("http", "sonogate_rate_zone z/z:1m;"), ("location", "sonogate_rate 10r/m;"), ("location", "sonogate_rate zone=z;"), ("location", "sonogate_rate zone=nowhere 10r/m;"),
    ("location", "sonogate_rate zone=z 10r/week;"), ("location", "sonogate_rate zone=z 10r/2d;"), ("location", "sonogate_rate zone=z 10r/m burst=11;"),
    ("location", "sonogate_rate zone=z 10r/m status=200;"), ("location", "sonogate_rate zone=z 10r/m status=408;"), ("location", "sonogate_rate zone=z 10r/m status=444;"), ("location", "sonogate_rate zone=z 10r/m status=499;"),
    ("location", "sonogate_rate zone=z 10r/m sometimes;"), ("location", "sonogate_rate_headers some;"),
    ("location", "sonogate_rate off; sonogate_rate zone=z 1r/s;"),
    ("location", "sonogate_concurrency 0;"), ("location", "sonogate_concurrency many;"), ("location", "sonogate_concurrency 3 by=me;"),
    ("location", "sonogate_priority;"), ("location", "sonogate_priority urgent;"), ("location", "sonogate_priority batch; sonogate_priority batch;"),
]  # fmt: skip


def check(folder, **settings):
    for name in ("modules", "logs", "run"):
        os.makedirs(folder / name, exist_ok=True)
    os.symlink(os.path.join(BUILD, "modules/ngx_http_sonogate_module.so"), folder / "modules/ngx_http_sonogate_module.so")
    conf = CONF.format(**(PIECES | {"main": "pid logs/nginx.pid;"} | settings))
    (folder / "nginx.conf").write_text(conf)
    out = subprocess.run(["nginx", "-p", folder, "-e", "logs/error.log", "-t", "-c", folder / "nginx.conf"], capture_output=True, text=True, timeout=30, check=False)
    return out, conf


def test_a_good_file_is_good(tmp_path):
    out, _ = check(tmp_path, pool="workers 2; worker_jobs 1; queue 64 timeout=5s; job_deadline 60s; drain_timeout 5s; quarantine 1h; crash_budget 5/10m; log_level warn; job_memory 256m; job_cpu 30s; job_result 1m; disk_reserve 0; upload_memory 512m; result_cache 64m ttl=10m;",
                   location="sonogate_max_body 100m; sonogate_max_audio 10m; sonogate_cache off; sonogate_min_audio 1s; sonogate_max_decoded 1g;"
                   " sonogate_formats wav ogg mp3; sonogate_body_timeout 5m; sonogate_min_receive_rate 2k after=10s; sonogate_log_level notice; sonogate_priority $arg_priority; sonogate_max_channels 8;")  # fmt: skip
    assert out.returncode == 0, out.stderr
    assert "[warn]" not in out.stderr


@pytest.mark.parametrize(("place", "setting"), BAD, ids=[s for _, s in BAD])
def test_a_bad_setting_is_refused_with_line_and_reason(tmp_path, place, setting):
    out, conf = check(tmp_path, **{place: setting})
    assert out.returncode != 0, out.stderr
    assert "[emerg]" in out.stderr
    # The line of the setting, or of the end of its block where only the whole can be judged.
    line = next(i for i, text in enumerate(conf.splitlines(), 1) if setting in text)
    told = int(out.stderr.partition("nginx.conf:")[2].split()[0].split("\n")[0])
    assert line <= told <= line + 4, out.stderr
    words = {w.strip("{};") for w in setting.split()} - {""}
    assert any(w in out.stderr for w in words), out.stderr


BAD_KEYS = ["someone", "someone 1234", "1.2.3.4 {0}", "someone {0} roles=root", "someone {0} admin", "someone {0} roles=analyze roles=catalog", "someone {0} rate=a rate=b", "first {0}\nsecond {0}"]


@pytest.mark.parametrize("line", BAD_KEYS)
def test_a_bad_key_file_is_refused_with_its_line(tmp_path, line):
    (tmp_path / "keys").write_text("# whose keys\n" + line.format("0a" * 32) + "\n")
    out, _ = check(tmp_path, location="sonogate_keys keys;")
    assert out.returncode != 0
    assert re.search(r"sonogate_keys: .* in \S*/keys(:2)? in \S*nginx.conf:\d+", out.stderr), out.stderr


def test_a_key_file_that_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "keys")
    out, _ = check(tmp_path, location="sonogate_keys keys;")
    assert out.returncode != 0
    assert re.search(r'sonogate_keys: "\S*/keys" is no regular file in \S*nginx.conf:\d+', out.stderr), out.stderr


def test_keys_that_keep_nobody_out_are_warned_of_where_they_are_said(tmp_path):
    (tmp_path / "keys").write_text("someone " + "0a" * 32 + "\n")
    idle = "location /files { sonogate_keys keys; location /files/api { sonogate_pass main; } }"
    quiet = "location /page { return 200; } location /api { sonogate_keys keys; if ($arg_x) { return 204; } sonogate_pass main; } location /open { sonogate_keys off; }"
    out, conf = check(tmp_path, server=f"sonogate_keys keys;\n{idle}\n{quiet}")
    assert out.returncode == 0, out.stderr
    (line,) = [line for line in out.stderr.splitlines() if "[warn]" in line]
    number = next(i for i, text in enumerate(conf.splitlines(), 1) if idle in text)
    assert '"sonogate_keys" keeps nobody out of location "/files"' in line and line.endswith(f"nginx.conf:{number}")


def test_client_max_body_size_does_not_come_in_between(serve):
    """nginx's own default of 1m answers 413 before any phase of ours; sonogate_max_body replaces it."""
    server = serve(location="sonogate_max_body 4m;")
    assert server.post("/v1/analyze?features=levels", data=wav_of_size(3 << 20)).status_code == 200
