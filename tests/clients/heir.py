"""A process that begins to take over and then fails, as a new one might: HOW is what it does, behind which step.

Says on stdout what it heard. Not here: one that succeeds (the product's own).
"""
import array
import json
import signal
import socket
import struct
import sys

DOOR, INSTANCE, ENVIRONMENT, HOW = sys.argv[1:5]
STEPS = {"sockets": 0, "ready": 1, "taken": 2, "go": 3}
WHAT, BEHIND = HOW.split("-")

wire = socket.socket(socket.AF_UNIX)
wire.settimeout(30)
wire.connect(DOOR)


def say(message):
    body = json.dumps(message).encode()
    wire.sendall(struct.pack(">I", len(body)) + body)


def hear():
    length, ancillary, _, _ = wire.recvmsg(4, socket.CMSG_SPACE(64 * 4))
    if not length:
        print("gone", flush=True)
        sys.exit(0)
    rest = struct.unpack(">I", length)[0]
    body = b""
    while len(body) < rest:
        body += wire.recv(rest - len(body))
    held = sum(len(array.array("i", data)) for _, _, data in ancillary)
    message = json.loads(body)
    word = message if isinstance(message, str) else next(iter(message))
    print(word, held, flush=True)
    if word == "refused":
        print(message[word], flush=True)
        sys.exit(0)
    return word


def maybe(step):
    if step != BEHIND:
        return
    if WHAT == "leaves":
        sys.exit(0)
    if WHAT == "refuses":
        say({"refused": "it has no room"})
        wire.recv(1)
        sys.exit(0)
    if WHAT == "asks":
        # Goes on once it is told to.
        sys.stdin.read()
        return
    if WHAT == "babbles":
        wire.sendall(b"\0\0\0\4door")
        wire.recv(1)
        sys.exit(0)
    signal.pause()


newcomer = {"protocol": 1, "version": "9.9.9", "instance": INSTANCE, "environment": ENVIRONMENT or None}
say({"take_over": newcomer})
while hear() != "all_sockets":
    pass
maybe("sockets")
say("ready")
hear()
maybe("ready")
say("taken")
hear()
maybe("go")
