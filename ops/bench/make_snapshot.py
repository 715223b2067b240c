"""Makes a snapshot of a real etcd with keys as kube-apiserver writes them.

    make_snapshot.py FILE --etcd DIRECTORY [--keys 60000] [--seed 1]

Objects of 0.5 to 12 kB under /registry/KIND/NAMESPACE/NAME, then updates of a tenth of them and of 2,000 leases, and a
compaction: old revisions, deletions' gaps and free pages are as in a cluster that lives. Loopback only; ends by itself.
"""
import argparse
import base64
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time

KINDS = ["pods", "secrets", "configmaps", "events", "deployments", "services/specs", "endpointslices", "replicasets"]
WORDS = [f"{a}-{b}".encode() for a in ("spec", "status", "metadata", "labels", "image", "volume", "conditions")
         for b in ("name", "uid", "ready", "default", "config", "hash", "token", "time")]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def value(rng, low, high):
    size, parts, length = rng.randint(low, high), [b"k8s\x00\n"], 5
    while length < size:
        part = rng.choice(WORDS) + (b"\x12" if rng.random() < 0.7 else rng.randbytes(6))
        parts.append(part)
        length += len(part)
    return b"".join(parts)[:size]


class Client:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path, body):
        self.connection.request("POST", path, json.dumps(body))
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {data[:200]}")
        return json.loads(data)

    def put(self, pairs):
        """One transaction; returns its revision."""
        text = lambda data: base64.b64encode(data).decode()
        puts = [{"requestPut": {"key": text(k.encode()), "value": text(v)}} for k, v in dict(pairs).items()]
        return int(self.post("/v3/kv/txn", {"success": puts})["header"]["revision"])


def name(i):
    return f"/registry/{KINDS[i % 8]}/ns-{i % 97}/object-{i:06d}"


def load(client, keys, rng):
    for start in range(0, keys, 100):
        client.put((name(i), value(rng, 500, 12000)) for i in range(start, min(start + 100, keys)))
    revision = 1
    for _ in range(max(1, keys // 400)):
        client.put((f"/registry/leases/kube-node-lease/node-{rng.randrange(2000):05d}", rng.randbytes(250)) for _ in range(100))
        revision = client.put((name(rng.randrange(keys)), value(rng, 500, 12000)) for _ in range(40))
    client.post("/v3/kv/compaction", {"revision": str(max(2, revision - 100)), "physical": True})


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("file")
    ask.add_argument("--etcd", required=True)
    ask.add_argument("--keys", type=int, default=60000)
    ask.add_argument("--seed", type=int, default=1)
    given = ask.parse_args()
    work = tempfile.mkdtemp(prefix="make-snapshot-", dir=os.path.dirname(os.path.abspath(given.file)))
    port, peer = free_port(), free_port()
    url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    with open(f"{work}/log", "w") as log:
        server = subprocess.Popen(
            [f"{given.etcd}/etcd", "--data-dir", f"{work}/data", "--quota-backend-bytes", "8000000000", "--unsafe-no-fsync",
             "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer_url,
             "--initial-advertise-peer-urls", peer_url, "--initial-cluster", f"default={peer_url}"],
            stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(100):
            try:
                Client(port).post("/v3/maintenance/status", {})
                break
            except OSError:
                time.sleep(0.1)
        load(Client(port), given.keys, random.Random(given.seed))
        subprocess.run([f"{given.etcd}/etcdctl", "--endpoints", url, "snapshot", "save", f"{work}/snapshot.db"], check=True,
                       env={**os.environ, "ETCDCTL_API": "3"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.rename(f"{work}/snapshot.db", given.file)
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
