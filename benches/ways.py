"""CPU a tunnel, CPU a GB and memory an idle tunnel of each way to the proxy: plain, TLS with a client certificate, HTTP/2.

    target/venv/bin/python benches/ways.py target/release/sallyport [TUNNELS]

Prints a Markdown table; ratios hold, absolute times are this machine's. Clients and customer are Python and run beside the proxy, whose
own times and memory alone are counted (/proc). The client's HTTP/2 windows are the standard's 64 KiB. Loopback, one proxy with `durability: async`, a few seconds a row.
"""

import datetime
import ipaddress
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import h2.config
import h2.connection
import h2.events
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BULK = 256 * 1024 * 1024
CHUNK = 64 * 1024
TICKS = os.sysconf("SC_CLK_TCK")


def certificates(folder):
    """An authority, and certificates of proxy, customer and client."""
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)

    def make(file, names, usage, issuer=None):
        key = ec.generate_private_key(ec.SECP256R1())
        own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, file)])
        by, signer = (issuer[0].subject, issuer[1]) if issuer else (own, key)
        made = x509.CertificateBuilder().subject_name(own).issuer_name(by).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
        made = made.add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
            made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        made = made.sign(signer, hashes.SHA256())
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        (folder / f"{file}.pem").write_bytes(made.public_bytes(pem))
        path = folder / f"{file}.key"
        path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        path.chmod(0o600)
        return made, key

    authority = make("ca", [], None)
    server = ExtendedKeyUsageOID.SERVER_AUTH
    make("edge", [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))], server, authority)
    make("origin", [x509.DNSName("api.acme.test")], server, authority)
    spiffe = x509.UniformResourceIdentifier("spiffe://voice.test/ivr/east")
    make("client", [spiffe], ExtendedKeyUsageOID.CLIENT_AUTH, authority)


class Origin:
    """A customer that sends BULK bytes for a `b`, and nothing for anything else."""

    def __init__(self, folder):
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(folder / "origin.pem", folder / "origin.key")
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.socket.accept()
            threading.Thread(target=self.one, args=(client,), daemon=True).start()

    def one(self, client):
        try:
            with self.tls.wrap_socket(client, server_side=True) as stream:
                while stream.recv(1) == b"b":
                    for _ in range(BULK // CHUNK):
                        stream.sendall(bytes(CHUNK))
        except OSError:
            pass


class Proxy:
    """The proxy with a listener for each way; what it costs."""

    def __init__(self, program, folder, port):
        free = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        self.plain, self.tls, admin = [one.getsockname()[1] for one in free]
        for one in free:
            one.close()
        tls = "tls: {certificate: edge.pem, key: edge.key, client_auth: required, client_ca: ca.pem}"
        (folder / "sallyport.yaml").write_text(
            f"instance: bench\nstate: state\npolicy: policy.yaml\n"
            f"listeners:\n  - {{name: plain, address: '127.0.0.1:{self.plain}'}}\n"
            f"  - {{name: tls, address: '127.0.0.1:{self.tls}', {tls}}}\n"
            f"dns: {{hosts: {{api.acme.test: [127.0.0.1]}}}}\nadmin: {{address: '127.0.0.1:{admin}'}}\n"
            f"decision_log: {{durability: async}}\n"
        )
        (folder / "policy.yaml").write_text(
            "version: 1\nsources: [{name: bench, subnets: [127.0.0.1/32]}]\nrules:\n"
            f"  - {{id: r, customer: acme, sources: [bench], hosts: [api.acme.test], ports: [{port}], addresses: [127.0.0.1/32]}}\n"
        )
        self.process = subprocess.Popen(
            [program, "run", "-c", folder / "sallyport.yaml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for port in (self.plain, self.tls):
            self.wait(port)

    def wait(self, port):
        end = time.monotonic() + 20
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                assert time.monotonic() < end and self.process.poll() is None, "the proxy does not start"

    def cpu(self):
        """Seconds of CPU so far, in user space and kernel."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self):
        """Resident bytes of its own."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise ValueError("no RssAnon")


class Inner:
    """The client's TLS inside a tunnel, over whatever carries it."""

    def __init__(self, context):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="api.acme.test")
        self.received = 0

    def shake(self):
        """Whether the handshake is over."""
        try:
            self.tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def read(self):
        """Takes what there is."""
        try:
            while data := self.tls.read(CHUNK):
                self.received += len(data)
        except ssl.SSLWantReadError:
            pass


class Http1:
    """A tunnel by HTTP/1.1, plain or within TLS."""

    def __init__(self, port, origin, inner, outer=None):
        self.socket = socket.create_connection(("127.0.0.1", port))
        if outer:
            self.socket = outer.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.socket.sendall(f"CONNECT api.acme.test:{origin} HTTP/1.1\r\n\r\n".encode())
        answer = self.socket.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        self.inner = Inner(inner)
        while not self.inner.shake():
            self.socket.sendall(self.inner.outgoing.read())
            self.inner.incoming.write(self.socket.recv(CHUNK))
        self.socket.sendall(self.inner.outgoing.read())

    def bulk(self):
        self.inner.tls.write(b"b")
        self.socket.sendall(self.inner.outgoing.read())
        while self.inner.received < BULK:
            self.inner.incoming.write(self.socket.recv(4 * CHUNK))
            self.inner.read()

    def close(self):
        self.socket.close()


class Http2:
    """One connection and its tunnels."""

    def __init__(self, port, outer):
        self.socket = outer.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1")
        assert self.socket.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.tunnels = {}

    def step(self):
        """Sends what is to be sent, and takes what comes."""
        self.socket.sendall(self.h2.data_to_send())
        for event in self.h2.receive_data(self.socket.recv(4 * CHUNK)):
            if isinstance(event, h2.events.ResponseReceived):
                assert dict(event.headers)[b":status"] == b"200", event.headers
                self.go(event.stream_id, self.tunnels[event.stream_id])
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                tunnel = self.tunnels[event.stream_id]
                tunnel.incoming.write(event.data)
                self.go(event.stream_id, tunnel)
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                raise AssertionError(event)

    def go(self, stream, tunnel):
        tunnel.is_open = tunnel.shake()
        if tunnel.is_open:
            tunnel.read()
        self.send(stream, tunnel)

    def send(self, stream, tunnel):
        if data := tunnel.outgoing.read():
            self.h2.send_data(stream, data)

    def open(self, count, origin, inner):
        streams = []
        for _ in range(count):
            stream = self.h2.get_next_available_stream_id()
            self.h2.send_headers(stream, [(":method", "CONNECT"), (":authority", f"api.acme.test:{origin}")])
            self.tunnels[stream] = Inner(inner)
            self.tunnels[stream].is_open = False
            streams.append(stream)
        while not all(self.tunnels[stream].is_open for stream in streams):
            self.step()
        self.socket.sendall(self.h2.data_to_send())
        return streams

    def end(self, streams):
        for stream in streams:
            self.h2.reset_stream(stream, error_code=8)
            del self.tunnels[stream]
        self.socket.sendall(self.h2.data_to_send())

    def bulk(self, stream):
        tunnel = self.tunnels[stream]
        tunnel.tls.write(b"b")
        self.send(stream, tunnel)
        while tunnel.received < BULK:
            self.step()

    def close(self):
        self.socket.close()


def main():
    program, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        certificates(folder)
        origin = Origin(folder)
        proxy = Proxy(program, folder, origin.port)
        try:
            measure(proxy, origin.port, folder, count)
        finally:
            proxy.process.terminate()
            proxy.process.wait()


def measure(proxy, origin, folder, count):
    def context(alpn):
        made = ssl.create_default_context(cafile=folder / "ca.pem")
        made.load_cert_chain(folder / "client.pem", folder / "client.key")
        made.set_alpn_protocols([alpn])
        return made

    inner = ssl.create_default_context(cafile=folder / "ca.pem")
    outer, outer2 = context("http/1.1"), context("h2")
    ways = [
        ("plain", lambda: Http1(proxy.plain, origin, inner)),
        ("TLS, client certificate", lambda: Http1(proxy.tls, origin, inner, outer)),
    ]
    print("| way | CPU a tunnel, µs | CPU a GB down, s | memory an idle tunnel, KiB |\n|---|---|---|---|")
    for name, make in ways:
        make().close()
        before = proxy.cpu()
        for _ in range(count):
            make().close()
        row(name, (proxy.cpu() - before) / count, bulk(proxy, make(), Http1.bulk), idle(proxy, lambda: [make() for _ in range(200)], 200))
    connection = Http2(proxy.tls, outer2)
    connection.end(connection.open(1, origin, inner))
    before = proxy.cpu()
    for _ in range(count // 10):
        connection.end(connection.open(10, origin, inner))
    a_tunnel = (proxy.cpu() - before) / (count // 10 * 10)
    stream = connection.open(1, origin, inner)[0]
    a_gigabyte = bulk(proxy, connection, lambda connection: connection.bulk(stream))
    row("HTTP/2, one connection", a_tunnel, a_gigabyte, idle(proxy, lambda: [other := Http2(proxy.tls, outer2), other.open(200, origin, inner)], 200))


def bulk(proxy, tunnel, move):
    before = proxy.cpu()
    move(tunnel)
    tunnel.close()
    return (proxy.cpu() - before) / BULK * 1e9


def idle(proxy, open_them, count):
    before = proxy.memory()
    held = open_them()
    after = proxy.memory()
    for one in held:
        if hasattr(one, "close"):
            one.close()
    return (after - before) / count / 1024


def row(name, a_tunnel, a_gigabyte, an_idle):
    print(f"| {name} | {a_tunnel * 1e6:.0f} | {a_gigabyte:.2f} | {an_idle:.1f} |", flush=True)


if __name__ == "__main__":
    main()
