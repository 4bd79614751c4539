"""Prints the files of an ISO 9660 image as JSON, names by Rock Ridge; written from the standards, shares no code with the
library. Usage: read-iso.py IMAGE"""
import base64
import json
import struct
import sys

image = open(sys.argv[1], "rb").read()
assert len(image) % 2048 == 0


def both32(at):
    little, big = struct.unpack_from("<I", image, at)[0], struct.unpack_from(">I", image, at + 4)[0]
    assert little == big, "a number differs in its two orders of bytes"
    return little


def both16(at):
    little, big = struct.unpack_from("<H", image, at)[0], struct.unpack_from(">H", image, at + 2)[0]
    assert little == big
    return little


pvd = 16 * 2048
assert image[pvd : pvd + 7] == b"\x01CD001\x01"
assert image[pvd + 2048 : pvd + 2055] == b"\xffCD001\x01"
assert both32(pvd + 80) * 2048 == len(image)
assert both16(pvd + 128) == 2048 and image[pvd + 881] == 1
root = pvd + 156
assert image[root] == 34 and image[root + 25] & 2
path_table = struct.unpack_from("<I", image, pvd + 140)[0] * 2048
assert struct.unpack_from("<I", image, path_table + 2)[0] == both32(root + 2)
path_table = struct.unpack_from(">I", image, pvd + 148)[0] * 2048
assert struct.unpack_from(">I", image, path_table + 2)[0] == both32(root + 2)

files, iso_names, signatures = {}, [], []
at = both32(root + 2) * 2048
end = at + both32(root + 10)
number = 0
while at < end and image[at]:
    length, name_length = image[at], image[at + 32]
    assert length % 2 == 0
    iso_name = image[at + 33 : at + 33 + name_length]
    use, limit = at + 33 + name_length + (1 - name_length % 2), at + length
    name, mode = None, None
    while use + 4 <= limit:
        signature, size = image[use : use + 2], image[use + 2]
        assert size >= 4 and image[use + 3] == 1 and use + size <= limit
        if number == 0:
            signatures.append(signature.decode())
        if signature == b"NM":
            name = image[use + 5 : use + size].decode()
        if signature == b"PX":
            mode = both32(use + 4)
        if signature == b"ER":
            assert image[use + 8 : use + 8 + image[use + 4]] == b"RRIP_1991A"
        use += size
    if number >= 2:
        start = both32(at + 2) * 2048
        content = image[start : start + both32(at + 10)]
        files[name] = {"mode": mode, "content": base64.b64encode(content).decode()}
        iso_names.append(iso_name.decode())
    at += length
    number += 1

assert iso_names == sorted(iso_names)
volume = image[pvd + 40 : pvd + 72].decode().rstrip()
print(json.dumps({"volume": volume, "files": files, "signatures": signatures}))
