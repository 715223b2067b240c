#!/usr/bin/python3
"""Reads a snapshot out of a repository by nothing but Sources/FleetRepository/FORMAT.md: the proof that the document is
enough, and a last resort. Slow. Needs Debian's python3-cryptography and python3-zstandard.

    read-repository.py REPOSITORY KEYFILE SNAPSHOT OUT [NODES]       KEYFILE holds the master or the recovery key

NODES is a directory that is not there yet: the nodes' configuration that is kept with the snapshot goes there, NODE/etc/...,
with what each file was on the node in NODE_files.json. Until OUT is whole it has no name, so that even kill -9 leaves nothing of it. On a file system that can't do that (FAT, exFAT,
most of FUSE) it is OUT.part-PID meanwhile, which kill -9 or a power cut leaves there, with Secrets in the clear: shred it.

Exit status 0: OUT is there, has the recorded SHA-256, and etcd's own at its end, if any, is right. 1 otherwise: OUT is
not there, or is exactly what was saved and etcd's own SHA-256 was wrong already then.
"""
import errno
import functools
import hashlib
import hmac
import json
import mmap
import os
import signal
import struct
import sys

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PAGE = 4096
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Reader:
    """Encodings."""

    def __init__(self, data):
        self.data, self.place = data, 0

    def raw(self, count):
        self.place += count
        if self.place > len(self.data):
            raise ValueError("a field is cut")
        return self.data[self.place - count:self.place]

    def fixed(self): return struct.unpack("<Q", self.raw(8))[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.raw(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def signed(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def block(self): return self.raw(self.varint())

    def rest(self): return self.data[self.place:]


def mac(key, message): return hmac.new(key, message, hashlib.sha256).digest()


def derive(key, purpose, salt=b"\0"): return mac(mac(salt, key), purpose.encode() + b"\1")


def unseal(key, sealed, name): return AESGCM(key).decrypt(sealed[:12], sealed[12:], name.encode())


def decompress(frame, length, prefix=b""):
    raw = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if prefix else None
    plain = zstandard.ZstdDecompressor(dict_data=raw).decompress(frame, max_output_size=length)
    if len(plain) != length:
        raise ValueError(f"{len(plain)} bytes instead of {length}")
    return plain


def packed(data):
    reader = Reader(data)
    length = reader.varint()
    return Reader(decompress(reader.rest(), length))


def written_key(text):
    """Role and bytes of a key as it is written down."""
    text = "".join(text.split()).lower()
    role = "master" if "fleet-master-" in text else "recovery"
    number = 0
    for letter in text.split(f"fleet-{role}-")[1].replace("-", "").upper():
        number = number * 32 + ALPHABET.index(letter)
    data = number.to_bytes(35, "big")
    if hashlib.sha256(f"fleet-{role}".encode() + data[:32]).digest()[:3] != data[32:]:
        raise SystemExit("the key is mistyped")
    return role, data[:32]


class Repository:
    def __init__(self, root, key_text):
        self.root = root
        with open(f"{root}/config", "rb") as file:
            self.config = json.load(file)
        role, key = written_key(key_text)
        slots = [slot for slot in self.config["slots"] if slot["role"] == role]
        keys = b""
        for slot in slots:
            wrapping = derive(key, "fleet repository key slot", bytes.fromhex(slot["salt"]))
            try:
                keys = unseal(wrapping, bytes.fromhex(slot["wrapped"]), f"{self.config['repository']} {role}")
            except Exception:  # another key's slot
                continue
        if not keys:
            raise SystemExit(f"this {role} key does not open the repository")
        self.data_keys = [keys[i:i + 32] for i in range(0, len(keys), 32)]
        bare = json.dumps({**self.config, "mac": ""}, indent=2, sort_keys=True, separators=(",", " : "), ensure_ascii=False)
        if not hmac.compare_digest(mac(derive(self.data_keys[-1], "fleet repository config"), bare.encode()).hex(),
                                   self.config["mac"]):
            raise SystemExit("the config was changed")

    def file(self, path, kind):
        """A file's bytes and its key. Mapped: the packs of a snapshot may be larger than a machine's memory."""
        with open(f"{self.root}/{path}", "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        generation = data[7] - ord("0")
        if data[:7] != kind or not 1 <= generation <= len(self.data_keys):
            raise ValueError(f"{path} does not begin as it should")
        purpose = "fleet repository file " + data[:8].decode()
        return data, derive(self.data_keys[generation - 1], purpose, data[8:24])

    @functools.cache
    def pack(self, name):
        data, key = self.file(f"packs/{name.hex()}.pack", b"FLTPACK")
        offset, length = struct.unpack("<QQ", data[-24:-8])
        if data[8:24] != name or data[-8:] != b"FLTPEND1":
            raise ValueError(f"pack {name.hex()} is another one's file")
        index = packed(unseal(key, data[offset:offset + length], "index"))
        packs = [index.raw(16) for _ in range(index.varint())]
        blocks, end, first = [], 24, 0
        for _ in range(index.varint()):
            start = end + index.signed()
            length, pages, _depth = index.varint(), index.varint(), index.varint()
            bases, pack, ordinal = [], 0, 0
            for _ in range(index.varint()):
                former, pack = pack, pack + index.signed()
                ordinal = (ordinal if pack == former else 0) + index.signed()
                count = index.varint()
                bases.append((packs[pack], ordinal, count))
                ordinal += count
            blocks.append((first, start, length, pages, bases))
            end, first = start + length, first + pages
        return data, key, blocks

    # A block has 64 pages at most.
    @functools.lru_cache(maxsize=256)
    def block(self, name, number):
        data, key, blocks = self.pack(name)
        _first, start, length, pages, bases = blocks[number]
        prefix = b"".join(self.page(pack, ordinal + i) for pack, ordinal, count in bases for i in range(count))
        return decompress(unseal(key, data[start:start + length], f"block {number}"), pages * PAGE, prefix)

    def page(self, name, ordinal):
        blocks = self.pack(name)[2]
        low, high = 0, len(blocks)
        while high - low > 1:
            middle = (low + high) // 2
            if blocks[middle][0] <= ordinal:
                low = middle
            else:
                high = middle
        start = (ordinal - blocks[low][0]) * PAGE
        return self.block(name, low)[start:start + PAGE]

    def snapshot(self, name):
        """Where its pages are, its tail, its payload."""
        data, key = self.file(f"snapshots/{name}", b"FLTSNAP")
        head_length, map_length = struct.unpack("<II", data[24:32])
        head = Reader(unseal(key, data[32:32 + head_length], f"head of {name}"))
        head.block(), head.block(), head.fixed()  # lineage, member, time
        length, parent = head.varint(), head.block().decode()
        head.varint()
        table = []
        for _ in range(head.varint()):
            table.append(head.raw(16))
            head.varint()
        head.block()
        tail, payload = head.block(), head.block()
        runs = packed(unseal(key, data[32 + head_length:32 + head_length + map_length], f"map of {name}"))
        below = self.snapshot(parent)[0] if parent else []
        pages, pack, ordinal = [], 0, 0
        while len(pages) < length // PAGE:
            operation = runs.varint()
            count = operation >> 1
            if operation & 1 == 0:
                pages += below[len(pages):len(pages) + count]
                continue
            pack += runs.signed()
            ordinal += runs.signed()
            pages += [(table[pack], ordinal + i) for i in range(count)]
            ordinal += count
        return pages, tail, payload


    def bundle(self, name):
        """The table of a node's configuration, and its files' bytes."""
        data, key = self.file(f"bundles/{name}", b"FLTBNDL")
        content = packed(unseal(key, data[24:], f"bundle of {name}")).rest()
        key = derive(self.data_keys[0], "fleet repository bundles")
        if mac(key, hashlib.sha256(content).digest())[:16].hex() != name:
            raise ValueError(f"bundle {name} is another's")
        length, = struct.unpack(">I", content[8:12])
        table, rest = json.loads(content[12:12 + length]), Reader(content[12 + length:])
        if content[:8] != b"FLTCONF1" or table["version"] != 1:
            raise ValueError(f"bundle {name} is no node's configuration")
        return table, [(file["path"], file["mode"], rest.raw(file["size"])) for file in table["files"]]


def write_nodes(repository, references, directory):
    os.mkdir(directory, 0o700)
    os.umask(0o022)
    failed = 0
    for reference in references:
        # The others are of use without one that can't be read.
        try:
            write_node(repository, reference, directory)
        except Exception as error:
            failed += 1
            print(f"the configuration of {reference['node']!r} could not be written: {error}", file=sys.stderr)
    return failed


def write_node(repository, reference, directory):
    node = reference["node"]
    table, files = repository.bundle(reference["bundle"])
    # Agents gave these names.
    for path, _, _ in files:
        if os.path.normpath(f"/{node}{path}") != f"/{node}{path}" or "/" in node or not path.startswith("/"):
            raise ValueError(f"{node!r} {path!r} leads somewhere else")
    if os.path.normpath(f"/{node}") != f"/{node}" or "/" in node:
        raise ValueError(f"{node!r} leads somewhere else")
    # Each file gets its own permissions; whoever gets past this one is the owner alone.
    os.mkdir(f"{directory}/{node}", 0o700)
    for path, mode, content in files:
        target = f"{directory}/{node}{path}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        os.chmod(target, mode & 0o777)
    with open(os.open(f"{directory}/{node}_files.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(table, file, indent=2)


class NewFile:
    """It holds every Secret of a cluster, and has its name only when it is whole."""

    def __init__(self, path):
        self.path, self.part, descriptors = path, None, -1
        try:
            descriptors = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
            file = os.open(os.path.dirname(path) or ".", os.O_TMPFILE | os.O_WRONLY, 0o600)
        except OSError:
            self.part = f"{path}.part-{os.getpid()}"
            file = os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self.file, self.descriptors = os.fdopen(file, "wb"), descriptors

    def __enter__(self): return self.file

    def __exit__(self, *_):
        self.file.close()
        if self.part and os.path.lexists(self.part):
            os.unlink(self.part)

    def give_name(self):
        """What has the name stays."""
        self.file.flush()
        os.fsync(self.file.fileno())
        try:
            if not self.part:
                # With a directory to start from, links are followed: linkat(2) in place of link(2).
                return os.link(str(self.file.fileno()), self.path, src_dir_fd=self.descriptors)
            return os.link(self.part, self.path)
        except OSError as error:
            if not self.part or error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
        # No hard links here: FAT, exFAT, shared folders.
        if os.path.lexists(self.path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.path)
        os.rename(self.part, self.path)


def main():
    if len(sys.argv) not in (5, 6):
        raise SystemExit(__doc__)
    root, key_file, name, out = sys.argv[1:5]
    # Left to itself only ctrl-c unwinds, and from a shell's background not even that: whatever ends this, the clear text
    # that is written so far must go.
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    with open(key_file) as file:
        repository = Repository(root, file.read())
    pages, tail, payload = repository.snapshot(name)
    if os.path.lexists(out):
        raise SystemExit(f"{out} is there already")
    trailer = hashlib.sha256()
    new = NewFile(out)
    with new as file:
        for pack, ordinal in pages:
            page = repository.page(pack, ordinal)
            file.write(page)
            trailer.update(page)
        file.write(tail)
        whole = trailer.copy()
        whole.update(tail)
        wanted = json.loads(payload)["sha256"]
        if whole.hexdigest() != wanted:
            raise SystemExit(f"the SHA-256 of {name} is {whole.hexdigest()} and not {wanted}: nothing was written")
        new.give_name()
    # What is wrong with it since it was saved is no damage of the store, and is kept as it came.
    verdict = "no SHA-256 of etcd's at its end"
    if len(tail) == 32:
        verdict = "etcd's SHA-256 at its end is right" if trailer.digest() == tail else "ETCD'S SHA-256 AT ITS END IS WRONG"
    print(f"{len(pages)} pages and {len(tail)} bytes written to {out}, with the recorded SHA-256; {verdict}; "
          f"record: {payload.decode()}")
    if len(sys.argv) == 6:
        if write_nodes(repository, json.loads(payload).get("bundles") or [], sys.argv[5]):
            raise SystemExit(1)
    if "WRONG" in verdict:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
