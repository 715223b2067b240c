#!/usr/bin/env python3
"""Makes a snapshot of any size without an etcd that would take an hour for it: pages as bbolt lays them out, keys and
values as etcd writes them, the SHA-256 at the end. 'etcdutl snapshot status' and 'fleetctl inspect' read it.

    large_snapshot.py OUT GIGABYTES [GENERATION]

Another generation has other values in every hundredth leaf, as after an hour of a busy cluster.
"""
import hashlib
import random
import struct
import sys

PAGE = 4096
LEAF, BRANCH, META, FREELIST = 2, 1, 4, 16
FIELDS = [b"metadata", b"labels", b"annotations", b"spec", b"containers", b"image", b"status", b"conditions", b"ownerReferences"]


def fnv64a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def page(number, flags, elements, branch=False):
    """Elements are (flags or child, key, value)."""
    position, table, data = 16 * len(elements), [], []
    for i, (first, key, value) in enumerate(elements):
        at = position - 16 * i
        table.append(struct.pack("<IIQ", at, len(key), first) if branch else struct.pack("<IIII", first, at, len(key), len(value)))
        data += [key, value]
        position += len(key) + len(value)
    body = b"".join(table + data)
    pages = max(1, -(-(16 + len(body)) // PAGE))
    header = struct.pack("<QHHI", number, flags, len(elements), pages - 1)
    return (header + body).ljust(pages * PAGE, b"\0")


class Writer:
    def __init__(self, path):
        self.file, self.digest, self.next = open(path, "xb"), hashlib.sha256(), 0

    def put(self, data):
        self.file.write(data)
        self.digest.update(data)
        self.next += len(data) // PAGE

    def tree(self, leaves):
        """Leaves are (first key, page); returns the root."""
        level = leaves
        while len(level) > 1:
            above = []
            for start in range(0, len(level), 100):
                part = level[start:start + 100]
                above.append((part[0][0], self.next))
                self.put(page(self.next, BRANCH, [(child, key, b"") for key, child in part], branch=True))
            level = above
        return level[0][1]


def pool(rng):
    """Text that compresses as objects of Kubernetes do."""
    parts = [b'"%s":"%s-%x",' % (rng.choice(FIELDS), rng.choice(FIELDS), rng.getrandbits(rng.choice((16, 32, 64)))) for _ in range(600000)]
    return b"".join(parts)


def main():
    out, gigabytes = sys.argv[1], float(sys.argv[2])
    generation = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    rng, changes = random.Random(1), random.Random(1000 + generation)
    text = pool(rng)
    writer = Writer(out)
    # The meta pages come first and say where the rest is: the number of leaves decides that.
    leaf_pages, count = 3, int(gigabytes * 1e9) // (3 * PAGE)
    branches, level = 0, count
    while level > 1:
        level = -(-level // 100)
        branches += level
    root, freelist = 2, 3
    key_root = 4 + count * leaf_pages + branches - 1
    high_water = key_root + 1
    for number in range(2):
        meta = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, PAGE, 0, root, 0, freelist, high_water, 10 + number)
        writer.put((struct.pack("<QHHI", number, META, 0, 0) + meta + struct.pack("<Q", fnv64a(meta))).ljust(PAGE, b"\0"))
    index = page(0, LEAF, [(0, b"consistent_index", struct.pack(">Q", count)), (0, b"term", struct.pack(">Q", 2))]).rstrip(b"\0")
    inline = struct.pack("<QHHI", 0, LEAF, 2, 0) + index[16:]
    writer.put(page(root, LEAF, [(1, b"key", struct.pack("<QQ", key_root, 0)), (1, b"meta", struct.pack("<QQ", 0, 0) + inline)]))
    writer.put(page(freelist, FREELIST, []))
    leaves = []
    for i in range(count):
        name = b"/registry/pods/ns-%d/pod-%09d" % (i % 97, i)
        at = rng.randrange(len(text) - 20000)
        if generation and changes.random() < 0.01:
            at = changes.randrange(len(text) - 20000)
        revision = struct.pack(">Q", i + 2) + b"_" + bytes(8)
        length = leaf_pages * PAGE - 120 - len(name) - i % 900
        number = varint(i + 2)
        value = b"\x0a" + varint(len(name)) + name + b"\x10" + number + b"\x18" + number + b"\x20\x01\x2a" + varint(length) + text[at:at + length]
        leaves.append((revision, writer.next))
        writer.put(page(writer.next, LEAF, [(0, revision, value)]))
    if writer.tree(leaves) != key_root or writer.next != high_water:
        raise SystemExit("the tree is not where it was meant to be")
    writer.file.write(writer.digest.digest())
    writer.file.close()


if __name__ == "__main__":
    main()
