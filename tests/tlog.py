"""Checks a log with the package `aics-tlog`, which knows the formats and nothing of this project.

Called by the tests: tlog.py DIRECTORY VKEY PROOF. Exit 0 if checkpoint, every tile, every record and the proof are good.
"""

import base64
import pathlib
import sys

from aics_tlog import (
    FileSystemTileReader,
    MerkleTree,
    audit_tiles,
    inclusion_proof_from_tiles,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    verify_checkpoint,
    verify_leaf_inclusion,
)


def checked(note, key):
    """Size and root of a checkpoint that the key signed."""
    parsed = parse_note(note)
    result = verify_checkpoint(parsed, key, expected_origin=key.name)
    assert result.ok, result.error
    checkpoint = parse_checkpoint(parsed.text)
    return checkpoint.size, result.root


def main(directory, vkey, proof):
    log, key = pathlib.Path(directory), parse_vkey(vkey)
    size, root = checked((log / "checkpoint").read_text(), key)

    reader = FileSystemTileReader(log)
    report = audit_tiles(reader, size, root, entries=False)

    lines = b"".join(path.read_bytes() for path in sorted((log / "segments").iterdir())).split(b"\n")[:-1]
    assert MerkleTree(lines[:size]).root() == root, "the records make another root"
    for index in range(0, size, 17):
        path = inclusion_proof_from_tiles(reader, index, size)
        assert verify_leaf_inclusion(lines[index], index, size, path, root), f"record {index}"

    head, note = pathlib.Path(proof).read_text().split("\n\n", 1)
    form, extra, index, *path = head.split("\n")
    assert form == "c2sp.org/tlog-proof@v1", form
    line, index = base64.b64decode(extra.removeprefix("extra ")), int(index.removeprefix("index "))
    size, root = checked(note, key)
    assert line == lines[index], "another record"
    assert verify_leaf_inclusion(line, index, size, [base64.b64decode(hash) for hash in path], root), "the proof"
    print(f"{size} records, {report.tiles} tiles, record {index}")


main(*sys.argv[1:])
