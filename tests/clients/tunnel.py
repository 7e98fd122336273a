"""What clients of both versions of HTTP know of a tunnel, and those that have only one: over HTTP/1.1, or none that they ask for.

Not here: HTTP/2, and what a test says (`tunnels`).
"""
import json
import os
import ssl

PERIOD = 1_048_583
ONCE = os.urandom(PERIOD)
BYTES = ONCE + ONCE
# What is looked at in one go, and at most what a stream sends before another one's turn.
PIECE = 65_536
# Whose hellos go through tunnels; what answers them has no certificate.
INSIDE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def at(place, count):
    start = place % PERIOD
    return BYTES[start:start + count]


def hello(name):
    out = ssl.MemoryBIO()
    tls = INSIDE.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


class Stream:
    def __init__(self, number):
        self.number = number
        self.status = None
        self.data = bytearray()
        self.end = None
        self.code = None
        self.alert = None
        # For many at once: what has gone and come, and whether what comes is taken.
        self.out = self.back = 0
        self.is_read = True

    def told(self):
        told = {"status": self.status, "end": self.end, "code": self.code, "alert": self.alert}
        if self.status not in (None, 200) and self.data:
            told["reason"] = json.loads(bytes(self.data))["reason"]
        return told


class Http1:
    """One tunnel."""

    def __init__(self, line):
        self.line, self.stream = line, Stream(0)

    def open(self, target, name, more=()):
        told = self.ask(target, more)
        return told if told["status"] != 200 else self.greet(0, name)

    def ask(self, target, more=()):
        """The head alone, and what it is answered with."""
        stream = self.stream
        head = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *(f"{key}: {value}" for key, value in more), "", ""]
        self.line.sendall("\r\n".join(head).encode())
        text = b""
        while not text.endswith(b"\r\n\r\n"):
            byte = self.receive(1)
            if not byte:
                return self.ended()
            text += byte
        stream.status = int(text.split(b" ")[1])
        if stream.status != 200:
            while piece := self.receive(PIECE):
                stream.data += piece
        return stream.told()

    def greet(self, _, name):
        """The hello, and what it is answered with."""
        self.line.sendall(hello(name))
        return self.ended() if not self.take(5, False) else self.first()

    def receive(self, count):
        try:
            return self.line.recv(count)
        except (ConnectionError, ssl.SSLError):
            return b""

    def first(self):
        self.take(5 + int.from_bytes(self.stream.data[3:5], "big"), True)
        return self.stream.told()

    def take(self, count, is_thrown_away):
        while len(self.stream.data) < count:
            piece = self.receive(count - len(self.stream.data))
            if not piece:
                return False
            self.stream.data += piece
        if is_thrown_away:
            self.stream.data.clear()
        return True

    def ended(self):
        self.stream.end = "gone"
        return self.stream.told()

    def echo(self, _, count):
        self.line.sendall(at(0, count))
        came = self.take(count, False) and self.stream.data == at(0, count)
        self.stream.data.clear()
        return {"echoes": came}

    def wait(self, _):
        return {"end": "gone" if not self.receive(PIECE) else "data"}


class Silent:
    """A client that has come through the handshake and says nothing."""

    def __init__(self, line):
        self.line = line
