"""Asks a server that was just started whether it serves.

/health says that nginx answers; /ready names the parts behind it. A configuration need not offer either (sonogate_pass
below /v1/ only, another host name): then any HTTP answer counts.
"""

import http.client
import json
import socket
import ssl

TIMEOUT_S = 2.0
TIMES_READY = 3  # each nginx worker has a link of its own, and a connection reaches any of them


class Probe:
    def __init__(self, plan):
        _, self.listen = plan.probe()
        self.times_ready = 0

    def ask(self):
        """None when it serves; else what is waited for, in words."""
        if self.listen is None:
            return None
        try:
            if not (self.listen.plain or self.listen.tls):
                with socket.create_connection(self._address(), TIMEOUT_S):
                    return None
            status, _ = self._get("/health")
            if status != 200:
                return None
            status, body = self._get("/ready")
        except (OSError, http.client.HTTPException) as error:
            return f"nginx on port {self.listen.port} ({error})"
        if status in (200, 404):
            self.times_ready += 1
            return None if self.times_ready >= TIMES_READY else "every nginx worker"
        self.times_ready = 0
        return self._parts(body) or f"/ready (status {status})"

    def _address(self):
        host = self.listen.host if self.listen.host not in ("", "0.0.0.0", "::") else "127.0.0.1"
        return host, self.listen.port

    def _get(self, path):
        if self.listen.tls:
            context = ssl._create_unverified_context()  # noqa: SLF001 - our own server, asked about its health
            connection = http.client.HTTPSConnection(*self._address(), timeout=TIMEOUT_S, context=context)
        else:
            connection = http.client.HTTPConnection(*self._address(), timeout=TIMEOUT_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read(65536)
        finally:
            connection.close()

    @staticmethod
    def _parts(body):
        """The parts of /ready's JSON that are not ready."""
        try:
            parts = json.loads(body)["parts"]
            return ", ".join(f"{name} ({_state(part)})" for name, part in parts.items() if _state(part) not in ("ready", "ok"))
        except (ValueError, KeyError, TypeError, AttributeError):
            return ""


def _state(part):
    return part.get("state", "?") if isinstance(part, dict) else str(part)
