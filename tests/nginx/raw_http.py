"""HTTP/1.1 by hand, for what a decent client library would not send."""

import dataclasses
import json
import socket
import struct


@dataclasses.dataclass
class RawAnswer:
    status_code: int
    headers: dict  # names in lower case
    content: bytes

    def json(self):
        return json.loads(self.content)


class RawConnection:
    def __init__(self, port, timeout_s=60, tls=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def head(self, path="/v1/analyze", method="POST", **headers):
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"] + [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    def chunk(self, data):
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _more(self):
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("closed")
        self.buffer += part

    def _until(self, mark):
        while mark not in self.buffer:
            self._more()
        out, _, self.buffer = self.buffer.partition(mark)
        return out

    def _exactly(self, size):
        parts, missing = [self.buffer[:size]], size - len(self.buffer)
        self.buffer = self.buffer[size:]
        while missing > 0:
            parts.append(self.socket.recv(min(missing, 65536)))
            if not parts[-1]:
                raise ConnectionError("closed")
            missing -= len(parts[-1])
        return b"".join(parts)

    def answer(self):
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        status = int(lines[0].split()[1])
        content = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(self._until(b"\r\n"), 16):
                content += self._exactly(size)
                self._exactly(2)
            self._exactly(2)
        elif status >= 200 and status not in (204, 304):
            content = self._exactly(int(headers["content-length"]))
        return RawAnswer(status, headers, content)

    def is_closed(self):
        """True where the server has closed and nothing is left to read."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def reset(self):
        """Goes away at once, with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
