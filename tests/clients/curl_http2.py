"""libcurl through an HTTP/2 proxy: so many fetches of one file at once. Prints what each came to.

libcurl has one tunnel on each of its connections, and calls its answer none of HTTP/1's: the words of its log say it.
"""
import json
import sys

import pycurl

proxy, folder, origin_authority, url, count = sys.argv[1:]
many = pycurl.CurlMulti()
fetches = []
for _ in range(int(count)):
    fetch = pycurl.Curl()
    fetch.body, fetch.log = bytearray(), []
    for option, value in [
        (pycurl.URL, url), (pycurl.CAINFO, origin_authority), (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
        (pycurl.PROXY, f"https://{proxy}"), (pycurl.PROXYTYPE, 3), (pycurl.PROXY_CAINFO, f"{folder}/ca.pem"),
        (pycurl.PROXY_SSLCERT, f"{folder}/right.pem"), (pycurl.PROXY_SSLKEY, f"{folder}/right.key"),
        (pycurl.VERBOSE, 1), (pycurl.DEBUGFUNCTION, lambda kind, text, log=fetch.log: log.append(text) if kind == 0 else None),
        (pycurl.TIMEOUT, 15), (pycurl.WRITEFUNCTION, fetch.body.extend), (pycurl.NOPROXY, ""),
    ]:
        fetch.setopt(option, value)
    fetches.append(fetch)
for fetch in fetches:
    many.add_handle(fetch)
while many.perform()[1]:
    many.select(1.0)
for fetch in fetches:
    log = b"".join(fetch.log)
    is_open = b"Establishing HTTP/2 proxy tunnel" in log and b"CONNECT tunnel established, response 200" in log
    status = 200 if is_open else log.decode()
    print(json.dumps([status, fetch.getinfo(pycurl.RESPONSE_CODE), fetch.getinfo(pycurl.LOCAL_PORT), len(fetch.body)]))
