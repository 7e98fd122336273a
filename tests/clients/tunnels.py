"""Tunnels through a TLS listener, over HTTP/1.1 or HTTP/2 (by h2), as a test says: a line of JSON in, a line of JSON out.

Not here: what is right. Every byte of a tunnel is known by its place, and what a server sends back is compared with it.
"""
import json
import select
import socket
import ssl
import sys
import time

import h2.config
import h2.connection
import h2.events
import h2.settings
from hyperframe.frame import ContinuationFrame, DataFrame, GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame

# Leaves no `__pycache__` in the sources.
sys.dont_write_bytecode = True
from tunnel import PIECE, Http1, Silent, Stream, at, hello

PATIENCE = 20
# RFC 9113 section 7.
CANCEL = 8


def dial(says):
    context = ssl.create_default_context(cafile=says["authority"])
    if says.get("certificate"):
        context.load_cert_chain(says["certificate"] + ".pem", says["certificate"] + ".key")
    context.set_alpn_protocols([says["alpn"]])
    if says.get("version") == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    host, port = says["proxy"].rsplit(":", 1)
    raw = socket.create_connection((host, int(port)), PATIENCE)
    raw.sendall(says.get("first", "").encode())
    return context.wrap_socket(raw, server_hostname="proxy.test")


class Http2:
    """Any number of them."""

    def __init__(self, line):
        self.line, self.out, self.streams = line, bytearray(), {}
        self.is_gone, self.goaway = False, None
        config = h2.config.H2Configuration(
            header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.http = h2.connection.H2Connection(config)
        # h2 takes GOAWAY for the end of everything; RFC 9113 6.8: streams that are open may finish.
        self.http._frame_dispatch_table[GoAwayFrame] = self.said_goodbye
        self.http.initiate_connection()
        self.http.increment_flow_control_window(64 * 1024 * 1024)
        line.setblocking(False)
        self.has_settings = False
        self.until(lambda: self.has_settings)

    def said_goodbye(self, frame):
        self.goaway = frame.error_code
        return [], []

    def until(self, is_done):
        end = time.monotonic() + PATIENCE
        while not self.is_gone and not is_done():
            if time.monotonic() > end:
                raise TimeoutError("not in time")
            self.pump(0.5)

    def flush(self):
        self.out += self.http.data_to_send()
        try:
            while self.out:
                del self.out[:self.line.send(self.out[:PIECE])]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError:
            self.out.clear()

    def pump(self, patience):
        """Sends what is to be sent, and reads what is there."""
        self.flush()
        try:
            data = self.line.recv(4 * PIECE)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if patience:
                select.select([self.line], [self.line] if self.out else [], [], patience)
            return
        except OSError:
            data = b""
        if not data:
            self.is_gone = True
            return
        for event in self.http.receive_data(data):
            self.heard(event)
        self.flush()

    def heard(self, event):
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.has_settings = True
            # What the server lets in is for it to say, also where a client asks for more.
            self.http.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 100_000
            self.http.remote_settings.acknowledge()
        stream = self.streams.get(getattr(event, "stream_id", None))
        if stream is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            stream.status = int(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.DataReceived):
            stream.data += event.data
            if stream.is_read:
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            stream.end = stream.end or "end"
        elif isinstance(event, h2.events.StreamReset):
            # A whole answer may be followed by NO_ERROR: no more of the request is wanted (RFC 9113 8.1).
            stream.end, stream.code = stream.end or "reset", int(event.error_code)

    def begin(self, headers):
        number = self.http.get_next_available_stream_id()
        self.http.send_headers(number, headers)
        self.streams[number] = Stream(number)
        return self.streams[number]

    def tell(self, stream):
        return {"stream": stream.number, "goaway": self.goaway, "gone": self.is_gone, **stream.told()}

    def request(self, headers, body=""):
        stream = self.begin(headers)
        if body:
            self.http.send_data(stream.number, body.encode())
        self.until(lambda: stream.end)
        return self.tell(stream)

    def open(self, target, name, more=()):
        told = self.ask(target, more)
        return told if told["status"] != 200 else self.greet(told["stream"], name)

    def ask(self, target, more=()):
        """The head alone, and what it is answered with."""
        stream = self.begin([(":method", "CONNECT"), (":authority", target), *more])
        self.until(lambda: stream.status or stream.end)
        if stream.status != 200:
            self.until(lambda: stream.end)
        return self.tell(stream)

    def greet(self, number, name):
        """The hello, and what it is answered with."""
        stream = self.streams[number]
        self.push(stream, hello(name))
        self.first(stream)
        return self.tell(stream)

    def start(self, target):
        """The head alone, whatever becomes of it."""
        stream = self.begin([(":method", "CONNECT"), (":authority", target)])
        self.flush()
        return self.tell(stream)

    def leave(self, number):
        """Needs its tunnel no longer."""
        self.http.reset_stream(number, CANCEL)
        self.flush()
        return self.tell(self.streams[number])

    def first(self, stream):
        whole = lambda: len(stream.data) >= 5 and len(stream.data) >= 5 + int.from_bytes(stream.data[3:5], "big")
        self.until(lambda: stream.end or whole())
        if whole() and stream.data[0] == 21:
            stream.alert = stream.data[6]
            self.until(lambda: stream.end)
        stream.data.clear()

    def push(self, stream, data):
        while data and not self.is_gone and not stream.end:
            room = min(self.http.local_flow_control_window(stream.number), self.http.max_outbound_frame_size, len(data))
            if room:
                self.http.send_data(stream.number, data[:room])
                data = data[room:]
            self.pump(0 if room else 0.5)

    def echo(self, number, count):
        stream = self.streams[number]
        self.push(stream, at(0, count))
        self.until(lambda: stream.end or len(stream.data) >= count)
        came = stream.data == at(0, count)
        stream.data.clear()
        return {"echoes": came}

    def wait(self, number):
        stream = self.streams[number]
        self.until(lambda: stream.end)
        return self.tell(stream)

    def end(self, number):
        if not self.streams[number].end:
            self.http.end_stream(number)
        return self.wait(number)

    def goodbye(self):
        """Waits for GOAWAY."""
        self.until(lambda: self.goaway is not None)
        return {"goaway": self.goaway, "gone": self.is_gone}

    def gone(self):
        self.until(lambda: False)
        return {"gone": self.is_gone, "goaway": self.goaway}

    def begin_all(self, count, target, name):
        streams = [self.begin([(":method", "CONNECT"), (":authority", target)]) for _ in range(count)]
        self.until(lambda: all(stream.status or stream.end for stream in streams))
        for stream in streams:
            if stream.status == 200:
                self.push(stream, hello(name))
        for stream in streams:
            if stream.status == 200:
                self.first(stream)
        return streams

    def open_all(self, count, target, name):
        return [self.tell(stream) for stream in self.begin_all(count, target, name)]

    def many(self, count, size, target, name):
        """`size` bytes through each of `count` tunnels and back, while the first one is full in both directions; then all of its own."""
        streams = self.begin_all(count, target, name)
        full, others = streams[0], streams[1:]
        full.is_read = False
        self.fill(full)
        began = time.monotonic()
        self.turns(others, size)
        took = time.monotonic() - began
        held, full.is_read = len(full.data), True
        self.http.acknowledge_received_data(held, full.number)
        self.turns([full], full.out)
        for stream in streams:
            self.end(stream.number)
        return {"moved": sum(stream.out + stream.back for stream in others), "held": held, "full": full.out, "seconds": took,
                "back": full.back, "ends": sorted({stream.end for stream in streams})}

    def room(self, stream):
        return min(self.http.local_flow_control_window(stream.number), self.http.max_outbound_frame_size)

    def send(self, stream, count):
        self.http.send_data(stream.number, at(stream.out, count))
        stream.out += count

    def fill(self, stream):
        """Sends until nothing more is taken: the server, and all on the way to it and back, have as much as they hold."""
        full_since = time.monotonic()
        while time.monotonic() - full_since < 1 and not self.is_gone:
            if room := self.room(stream):
                full_since = time.monotonic()
                self.send(stream, room)
                assert stream.out < 256 * 1024 * 1024, "somebody takes all there is and gives nothing back"
            self.pump(0 if room else 0.2)

    def turns(self, streams, size):
        end = time.monotonic() + 2 * PATIENCE
        while not self.is_gone and any(stream.back < size for stream in streams):
            if time.monotonic() > end:
                raise TimeoutError([(stream.number, stream.out, stream.back) for stream in streams if stream.back < size])
            has_sent = False
            for stream in streams:
                room = min(self.room(stream), size - stream.out)
                if room > 0 and len(self.out) < 16 * PIECE:
                    self.send(stream, room)
                    has_sent = True
            self.pump(0 if has_sent else 0.5)
            for stream in streams:
                assert stream.data == at(stream.back, len(stream.data)), f"stream {stream.number} behind {stream.back}"
                stream.back += len(stream.data)
                stream.data.clear()

    def flood(self, kind, target):
        """Frames of one kind without end, until the connection ends."""
        tunnel = self.open(target, target.split(":")[0])["stream"] if kind == "empty" else None
        if kind == "continuation":
            head = self.http.encoder.encode([(":method", "CONNECT"), (":authority", target)])
            self.out += HeadersFrame(1, head).serialize()
        kinds = {
            "ping": lambda: PingFrame(0, b"12345678").serialize(),
            "settings": lambda: SettingsFrame(0, settings={4: 70_000}).serialize(),
            "continuation": lambda: ContinuationFrame(1, b"\x00\x01a\x01b" * 20).serialize(),
            "empty": lambda: DataFrame(tunnel, b"").serialize(),
            # Whoever doesn't know a frame must skip it (RFC 9113 5.5). So many at once that there is always one more to read.
            "unknown": lambda: b"\0\0\0\x55\0\0\0\0\0" * 10_000,
            "reset": self.reset,
        }
        sent, end = 0, time.monotonic() + PATIENCE
        while not self.is_gone and self.goaway is None and time.monotonic() < end:
            if len(self.out) < 16 * PIECE:
                self.out += b"".join(kinds[kind]() for _ in range(100))
                sent += 100
            self.pump(0)
        self.until(lambda: False) if self.goaway is not None else None
        return {"goaway": self.goaway, "gone": self.is_gone, "sent": sent}

    def reset(self):
        number = self.http.get_next_available_stream_id()
        self.http.send_headers(number, [(":method", "CONNECT"), (":authority", "api.acme.test:1")])
        self.http.reset_stream(number, CANCEL)
        return self.http.data_to_send()


def main():
    says = json.loads(sys.argv[1])
    line = dial(says)
    speaks = Http2 if line.selected_alpn_protocol() == "h2" else Http1
    if says.get("silent"):
        speaks = Silent
    tunnels = speaks(line)
    print(json.dumps({"port": line.getsockname()[1], "version": line.version(), "alpn": line.selected_alpn_protocol()}), flush=True)
    for text in sys.stdin:
        name, *words = json.loads(text)
        print(json.dumps(getattr(tunnels, name)(*words)), flush=True)


main()
