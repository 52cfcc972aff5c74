"""scripts/serve: see there."""

import argparse
import os
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nginx_conf import ConfError  # noqa: E402
from server import Server, ServeError, fail  # noqa: E402

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def port_number(text):
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is no port")
    return number


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/serve",
        description="Builds sonogate if needed and runs it in the foreground: a daemon for each sonogate_pool of FILE, and"
        " nginx with FILE and DIR as its prefix. Ctrl-C or SIGTERM stops everything, SIGHUP reads FILE again.",
    )
    parser.add_argument("--port", type=port_number, help="listen here instead of on the port in FILE (quickstart: 8080)")
    parser.add_argument("--state", metavar="DIR", help="every file goes here (default: build/state)")
    parser.add_argument("--conf", metavar="FILE", default=os.path.join(REPOSITORY, "conf/quickstart.conf"))
    return parser.parse_args(arguments)


def run_build():
    """In a session of its own, so that stopping us stops the compilers too."""
    argv = [os.path.join(REPOSITORY, "scripts/build"), "release", "sonogated", "ngx_http_sonogate_module"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True) as build:
        try:
            code = build.wait()
        except BaseException:
            os.killpg(build.pid, signal.SIGTERM)
            raise
    if code:
        raise ServeError("the build failed")


def ensure_built():
    """The release build; or the folder in SONOGATE_BUILD, which somebody else keeps up to date."""
    given = os.environ.get("SONOGATE_BUILD")
    build = os.path.join(REPOSITORY, given or "build/release")
    if not given:
        run_build()
    for name in ("sonogated", "modules/ngx_http_sonogate_module.so"):
        if not os.path.exists(os.path.join(build, name)):
            raise ServeError(f"{build}/{name} is missing")
    return build


def main():
    arguments = parse(sys.argv[1:])
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"  # nginx, for ordinary users
    state = os.path.abspath(arguments.state or os.path.join(REPOSITORY, "build/state"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        build = ensure_built()
        Server(arguments.conf, os.path.realpath(state), arguments.port, build).run()
    except (ServeError, ConfError) as error:
        return fail(error)
    except OSError as error:
        return fail(f"{error.filename or ''}: {error.strerror}")
    except KeyboardInterrupt:
        return 130
    return 0


sys.exit(main())
