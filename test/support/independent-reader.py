#!/usr/bin/env python3
"""Reads a disk out of a store's folder, knowing nothing but docs/design.md.

    independent-reader.py STORE MANIFEST > disk.raw

STORE is the folder that holds `blocks` and `manifests`; MANIFEST is the manifest's digest, 64 hex digits.
It shares no code with the library on purpose: that it agrees with it proves that the page is complete.
"""
import hashlib
import os
import struct
import sys

BLOCK_SIZE = 1 << 20
HEADER = struct.Struct("<8sIIQQQQIIQ")
TABLE_ENTRY = struct.Struct("<32sQQ")
PAGE_ENTRY = struct.Struct("<32sI")
PAGE_BLOCKS = 512
NOTHING = bytes(32)


def need(condition, message):
    if not condition:
        sys.exit(f"independent-reader: {message}")


def ceil_div(number, by):
    return -(-number // by)


def decode_lz4_block(source):
    """One independent LZ4 block: token, literals, le16 offset, match; the last sequence has no match."""
    out = bytearray()
    at = 0

    def length_from(nibble):
        nonlocal at
        length = nibble
        while nibble == 15:
            more = source[at]
            at += 1
            length += more
            if more < 255:
                break
        return length

    while True:
        token = source[at]
        at += 1
        literals = length_from(token >> 4)
        need(at + literals <= len(source), "literals run past the end of a block")
        out += source[at : at + literals]
        at += literals
        if at == len(source):
            return bytes(out)
        offset = source[at] | source[at + 1] << 8
        at += 2
        length = length_from(token & 15) + 4
        need(0 < offset <= len(out), "a match reaches before the start of a block")
        start = len(out) - offset
        while length > 0:
            part = out[start : start + min(length, offset)]
            out += part
            length -= len(part)


def xxh32(data):
    p1, p2, p3, p4, p5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
    mask = 0xFFFFFFFF

    def rotate(word, bits):
        return (word << bits | word >> 32 - bits) & mask

    at = 0
    if len(data) >= 16:
        v1, v2, v3, v4 = (p1 + p2) & mask, p2, 0, -p1 & mask
        stripes = len(data) // 16
        for w1, w2, w3, w4 in struct.iter_unpack("<4I", memoryview(data)[: stripes * 16]):
            v1 = rotate((v1 + w1 * p2) & mask, 13) * p1 & mask
            v2 = rotate((v2 + w2 * p2) & mask, 13) * p1 & mask
            v3 = rotate((v3 + w3 * p2) & mask, 13) * p1 & mask
            v4 = rotate((v4 + w4 * p2) & mask, 13) * p1 & mask
        at = stripes * 16
        total = rotate(v1, 1) + rotate(v2, 7) + rotate(v3, 12) + rotate(v4, 18)
    else:
        total = p5
    total = (total + len(data)) & mask
    while at + 4 <= len(data):
        (word,) = struct.unpack_from("<I", data, at)
        total = rotate((total + word * p3) & mask, 17) * p4 & mask
        at += 4
    for byte in data[at:]:
        total = rotate((total + byte * p5) & mask, 11) * p1 & mask
    total = (total ^ total >> 15) * p2 & mask
    total = (total ^ total >> 13) * p3 & mask
    return total ^ total >> 16


def read_block(store, digest, stored_length, length):
    name = digest.hex()
    with open(os.path.join(store, "blocks", name[:2], name), "rb") as file:
        stored = file.read()
    need(len(stored) == stored_length, f"block {name} has {len(stored)} bytes at rest, not {stored_length}")
    (size_word,) = struct.unpack_from("<I", stored)
    size = size_word & 0x7FFFFFFF
    need(size + 8 == len(stored), f"block {name} has a wrong size word")
    payload = stored[4 : 4 + size]
    (checksum,) = struct.unpack_from("<I", stored, 4 + size)
    need(xxh32(payload) == checksum, f"block {name} has a wrong checksum")
    plain = payload if size_word >> 31 else decode_lz4_block(payload)
    need(len(plain) == length, f"block {name} has {len(plain)} bytes, not {length}")
    need(hashlib.sha256(plain).digest() == digest, f"block {name} has another digest")
    return plain


def read_disk(store, name, out):
    with open(os.path.join(store, "manifests", name[:2], name), "rb") as file:
        head = file.read(HEADER.size)
        magic, version, block_size, size, blocks, data_blocks, at_rest, page_blocks, pages, zero = HEADER.unpack(head)
        need(magic == b"ImgLibMf" and version == 1, "not a manifest of version 1")
        need((block_size, page_blocks, zero) == (BLOCK_SIZE, PAGE_BLOCKS, 0), "sizes that this reader does not know")
        need(blocks == ceil_div(size, BLOCK_SIZE) and pages == ceil_div(blocks, PAGE_BLOCKS), "wrong counts")
        table = file.read(pages * TABLE_ENTRY.size)
        need(hashlib.sha256(head + table).hexdigest() == name, "the root is not what its name says")

        data_seen = 0
        for number, (page_digest, data_before, _) in enumerate(TABLE_ENTRY.iter_unpack(table)):
            need(data_before == data_seen, f"page {number} has a wrong sum")
            count = min(PAGE_BLOCKS, blocks - number * PAGE_BLOCKS)
            if page_digest == NOTHING:
                page = bytes(count * PAGE_ENTRY.size)
            else:
                page = file.read(count * PAGE_ENTRY.size)
                need(hashlib.sha256(page).digest() == page_digest, f"page {number} is damaged")
            for place, (digest, stored_length) in enumerate(PAGE_ENTRY.iter_unpack(page)):
                index = number * PAGE_BLOCKS + place
                length = min(BLOCK_SIZE, size - index * BLOCK_SIZE)
                if stored_length == 0:
                    out.write(bytes(length))
                else:
                    out.write(read_block(store, digest, stored_length, length))
                    data_seen += 1
        need(data_seen == data_blocks, "a wrong number of data blocks")


if __name__ == "__main__":
    need(len(sys.argv) == 3, "usage: independent-reader.py STORE MANIFEST > disk.raw")
    read_disk(sys.argv[1], sys.argv[2], sys.stdout.buffer)
