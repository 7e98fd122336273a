"""Presidio's recogniser of card numbers over the texts that `redaction` wrote, alone: no language model, no words around.

Usage: presidio.py POSITIVES CLEAN JSON RECORD. Prints one JSON object. Files: one JSON object a line with `text`, `start`, `end` (in
characters) and `form`; plain lines; JSON lines to time; the texts of one record.
"""

import json
import sys
import time
from collections import Counter
from importlib.metadata import version

from presidio_analyzer.predefined_recognizers import CreditCardRecognizer

recognizer = CreditCardRecognizer()


def finds(text):
    return recognizer.analyze(text, ["CREDIT_CARD"], None)


def lines(path):
    with open(path, encoding="utf-8", newline="\n") as file:
        return [line.removesuffix("\n") for line in file]


positives, clean, to_time, record = sys.argv[1:]
found = Counter()
for line in lines(positives):
    positive = json.loads(line)
    hits = finds(positive["text"])
    # Whoever finds a part of it, in whatever form, has found it.
    found[positive["form"]] += any(hit.start < positive["end"] and positive["start"] < hit.end for hit in hits)

false_hits = sum(len(finds(line)) for line in lines(clean))

to_time = lines(to_time)
begun = time.perf_counter()
for line in to_time:
    finds(line)
took = time.perf_counter() - begun

record = lines(record)
turns = 20_000
begun = time.perf_counter()
for _ in range(turns):
    for text in record:
        finds(text)
a_record = (time.perf_counter() - begun) / turns

print(json.dumps({
    "name": f"presidio-analyzer {version('presidio-analyzer')}",
    "found": found,
    "false_hits": false_hits,
    "mb_per_s": sum(len(line.encode()) + 1 for line in to_time) / 1e6 / took,
    "ns_per_record": a_record * 1e9,
}))
