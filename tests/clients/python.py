"""Python's libraries: requests, httpx, aiohttp. What the cases are, and what each script is given: tests/all/matrix/mod.rs."""

import asyncio
import importlib
import os
import ssl
import sys
import traceback

LIBRARY, CASE = sys.argv[1:]
GET = ["get", "down", "six", "literal", "refused"]
PROXY, CA, URL, IN, OUT = (os.environ.get(name, "") for name in ["PROXY", "CA", "URL", "IN", "OUT"])


def is_impossible(why):
    print(why)
    sys.exit(77)


def keep(body):
    with open(OUT, "wb") as file:
        file.write(body)


def requests():
    import requests

    session = requests.Session()
    session.trust_env = False
    session.proxies = {"https": PROXY}
    session.verify = CA
    if CASE in GET:
        keep(session.get(URL).content)
    elif CASE == "keep-alive":
        session.get(URL)
        keep(session.get(URL).content)
    elif CASE == "up":
        with open(IN, "rb") as file:
            session.put(URL, data=file).raise_for_status()
    elif CASE == "events":
        for line in session.get(URL, stream=True).iter_lines(chunk_size=1):
            print(line.decode(), flush=True)
    elif CASE == "http2":
        is_impossible("HTTP/1.1 alone")
    else:
        is_impossible("no WebSocket")


def httpx():
    import httpx

    trust = ssl.create_default_context(cafile=CA)
    with httpx.Client(proxy=PROXY, verify=trust, trust_env=False, http2=CASE == "http2", timeout=60) as client:
        if CASE == "literal":
            try:
                keep(client.get(URL).content)
            except httpx.ProxyError:
                is_impossible("asks for `::1:443` without brackets, which is malformed")
        elif CASE in GET or CASE == "http2":
            keep(client.get(URL).content)
        elif CASE == "keep-alive":
            client.get(URL)
            keep(client.get(URL).content)
        elif CASE == "up":
            with open(IN, "rb") as file:
                client.put(URL, content=file).raise_for_status()
        elif CASE == "events":
            with client.stream("GET", URL) as answer:
                for line in answer.iter_lines():
                    print(line, flush=True)
        else:
            is_impossible("no WebSocket")


async def aiohttp():
    import aiohttp

    if CASE == "http2":
        is_impossible("HTTP/1.1 alone")
    through = {"proxy": PROXY, "ssl": ssl.create_default_context(cafile=CA)}
    async with aiohttp.ClientSession() as session:
        if CASE == "up":
            with open(IN, "rb") as file:
                async with session.put(URL, data=file, **through) as answer:
                    answer.raise_for_status()
        elif CASE == "events":
            async with session.get(URL, **through) as answer:
                async for line in answer.content:
                    print(line.decode(), end="", flush=True)
        elif CASE == "websocket":
            async with session.ws_connect(URL, **through) as socket:
                await socket.send_str("over a websocket")
                print(await socket.receive_str())
        else:
            for _ in range(2 if CASE == "keep-alive" else 1):
                async with session.get(URL, **through) as answer:
                    keep(await answer.read())


if CASE == "version":
    print(importlib.import_module(LIBRARY).__version__)
elif CASE != "prepare":
    try:
        if LIBRARY == "aiohttp":
            asyncio.run(aiohttp())
        else:
            {"requests": requests, "httpx": httpx}[LIBRARY]()
    except Exception as error:
        # The end of the trace, which is what its user reads.
        sys.exit("".join(traceback.format_exception_only(error)))
