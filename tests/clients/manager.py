"""Starts sallyport as a service manager does: with sockets that it has made, and a socket to be told on.

Not here: what a real one does besides (systemd). Source: sd_listen_fds(3), sd_notify(3).
"""
import os
import socket
import subprocess
import sys
import tempfile

BINARY, CONFIG, *NAMES = sys.argv[1:]

sockets = []
for name in NAMES:
    made = socket.create_server(("127.0.0.9" if name == "other-address" else "127.0.0.1", 0), backlog=16)
    sockets.append(made)

folder = tempfile.mkdtemp()
told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
told.settimeout(20)
told.bind(folder + "/notify")

# They must be descriptors 3 and on in the process that sallyport becomes, and LISTEN_PID that process.
environment = dict(os.environ, NOTIFY_SOCKET=folder + "/notify", LISTEN_FDS=str(len(NAMES)), LISTEN_FDNAMES=":".join(NAMES))
# Out of the way of 3 and on.
high = [os.dup2(made.fileno(), 100 + at) for at, made in enumerate(sockets)]
moves = " ".join(f"{3 + at}<&{fd}" for at, fd in enumerate(high))
script = f"export LISTEN_PID=$$; exec {BINARY} -c {CONFIG} run {moves}"
child = subprocess.Popen(["bash", "-c", script], env=environment, pass_fds=high)

if NAMES == ["other-address"]:
    print("exit", child.wait(timeout=20))
    sys.exit(0)


def hear():
    for line in told.recv(1000).decode().splitlines():
        print(line.replace(str(child.pid), "its own"), flush=True)


def ask(made, request):
    with socket.create_connection(made.getsockname(), timeout=20) as client:
        client.sendall(request)
        return client.recv(1000).split()[1].decode()


hear()
print("answered", ask(sockets[0], b"CONNECT no.such.test:443 HTTP/1.1\r\n\r\n"), flush=True)
print("healthy", ask(sockets[1], b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), flush=True)
child.terminate()
hear()
sys.exit(child.wait(timeout=20))
