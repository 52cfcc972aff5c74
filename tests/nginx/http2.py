"""One request over HTTP/2 on a connection of its own, by the protocol: an early answer ends the sending and is kept, as is
one that comes after GOAWAY. curl 7.88 and httpx lose such answers, with nginx alone too.
"""

import contextlib
import socket

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from raw_http import RawAnswer

GOAWAY = 7


def post(port, path, body, timeout_s=60):
    head = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    return exchange(port, [*head, ("content-length", str(len(body)))], body, timeout_s)


def exchange(port, head, body=b"", timeout_s=60, tls=None, ends=True):
    """`head` goes out as it is, wrong or not. `tls` is a client's ssl context; `ends`: whether the stream does after the body."""
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout_s))
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            tls.set_alpn_protocols(["h2"])
            wire = stack.enter_context(tls.wrap_socket(wire))
        return _Exchange(wire, body, ends).run(head)


class _Exchange:
    def __init__(self, wire, body, ends):
        self.wire, self.rest, self.ends = wire, memoryview(body), ends
        as_given = {"validate_outbound_headers": False, "normalize_outbound_headers": False}
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8", **as_given))
        self.status, self.headers, self.content = None, {}, b""
        self.sending, self.ended, self.unread = True, False, b""

    def run(self, head):
        self.http.initiate_connection()
        self.stream = self.http.get_next_available_stream_id()
        self.http.send_headers(self.stream, head, end_stream=self.ends and not self.rest)
        self.sending = bool(self.rest)
        while not self.ended:
            self._send()
            data = self.wire.recv(65536)
            if not data:
                raise ConnectionError("closed without an answer")
            for event in self.http.receive_data(self._without_goaway(data)):
                self._take(event)
        return RawAnswer(self.status, self.headers, self.content)

    def _without_goaway(self, data):
        """Whole frames but GOAWAY, after which h2 takes no frame more, though our stream goes on (RFC 9113, 6.8)."""
        self.unread += data
        out = b""
        while len(self.unread) >= 9 and len(self.unread) >= (size := 9 + int.from_bytes(self.unread[:3], "big")):
            frame, self.unread = self.unread[:size], self.unread[size:]
            if frame[3] != GOAWAY:
                out += frame
            elif int.from_bytes(frame[9:13], "big") < self.stream or any(frame[13:17]):
                raise ConnectionError(f"GOAWAY {frame[9:17].hex()}")
        return out

    def _send(self):
        while self.sending and self.rest:
            size = min(self.http.local_flow_control_window(self.stream), self.http.max_outbound_frame_size, len(self.rest))
            if size == 0:
                break
            self.http.send_data(self.stream, self.rest[:size].tobytes(), end_stream=self.ends and size == len(self.rest))
            self.rest = self.rest[size:]
            if len(self.rest) % (1 << 18) < size:
                self._flush()
        self._flush()

    def _flush(self):
        try:
            self.wire.sendall(self.http.data_to_send())
        except (BrokenPipeError, ConnectionResetError):
            self.sending = False  # the answer may be there already

    def _take(self, event):
        if isinstance(event, h2.events.ResponseReceived):
            headers = dict(event.headers)
            self.status = int(headers.pop(":status"))
            self.headers = headers
        elif isinstance(event, h2.events.DataReceived):
            self.content += event.data
            self.http.increment_flow_control_window(event.flow_controlled_length)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.sending = False
            if event.error_code or self.status is None:
                raise ConnectionError(f"stream reset with {event.error_code}")
            self.ended = True
