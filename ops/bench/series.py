#!/usr/bin/env python3
"""A series of snapshots as a Kubernetes control plane leaves them: OUT/s0.db, s1.db, ... from Debian's etcd.

    series.py OUT [--objects 68000] [--snapshots 5] [--minutes 10]

Objects have the sizes and the compressibility of pods, config maps and custom resources. Between two snapshots go so
many minutes of a cluster of 400 nodes: each renews its lease every ten seconds, pods change their status (the new value
repeats most of the old one), events come and go, and every five minutes everything older is compacted.
"""
import argparse, base64, http.client, json, os, random, socket, subprocess, tempfile, time

FIELDS = ["metadata", "labels", "annotations", "spec", "containers", "image", "env", "volumeMounts", "status", "conditions",
          "lastTransitionTime", "podIP", "ownerReferences", "uid", "resources", "limits", "tolerations", "serviceAccountName"]


def b64(data): return base64.b64encode(data).decode()


def body(rng, size):
    parts, length = [], 0
    while length < size:
        part = f'"{rng.choice(FIELDS)}":"{rng.choice(FIELDS)}-{rng.getrandbits(rng.choice((16, 32, 64))):x}",'.encode()
        parts.append(part)
        length += len(part)
    return b"k8s\0" + b"".join(parts)[:size]


class Etcd:
    def __init__(self, port): self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, path, request):
        self.http.request("POST", path, json.dumps(request))
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status != 200: raise SystemExit(f"etcd: {path}: {answer.status} {text[:200]}")
        return json.loads(text)

    def put(self, pairs):
        requests = [{"requestPut": {"key": b64(k.encode()), "value": b64(v)}} for k, v in dict(pairs).items()]
        return int(self.call("/v3/kv/txn", {"success": requests})["header"]["revision"])


def free_ports():
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets: s.close()
    return ports


def churn(etcd, rng, objects, minutes, start):
    revision = 0
    for tick in range(minutes * 6):
        etcd.put((f"/registry/leases/kube-node-lease/node-{n:04d}", b"holder-node %d " % n * 20 + rng.randbytes(24))
                 for n in rng.sample(range(400), 100))
        changed = []
        for _ in range(25):
            i = rng.randrange(len(objects))
            key, value = objects[i]
            at = rng.randrange(len(value))
            value = value[:at] + body(rng, 200) + value[at + 200:]
            objects[i] = (key, value)
            changed.append((key, value))
        etcd.put(changed)
        revision = etcd.put((f"/registry/events/ns-{rng.randrange(60)}/event-{start + tick}-{j}", body(rng, 700)) for j in range(12))
        if tick % 30 == 29: etcd.call("/v3/kv/compaction", {"revision": str(revision - 60), "physical": True})


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("out")
    ask.add_argument("--objects", type=int, default=68000)
    ask.add_argument("--snapshots", type=int, default=5)
    ask.add_argument("--minutes", type=int, default=10)
    a = ask.parse_args()
    os.makedirs(a.out, exist_ok=True)
    client, peer = free_ports()
    url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    with tempfile.TemporaryDirectory(dir=a.out) as data, open(f"{a.out}/etcd.log", "w") as log:
        server = subprocess.Popen(
            ["etcd", "--data-dir", data, "--quota-backend-bytes", "8000000000", "--listen-client-urls", url,
             "--advertise-client-urls", url, "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
             "--initial-cluster", f"default={peer_url}", "--unsafe-no-fsync"], stdout=log, stderr=log)
        try:
            time.sleep(3)
            rng, etcd = random.Random(7), Etcd(client)
            objects = [(f"/registry/{rng.choice(('pods', 'configmaps', 'secrets', 'crds'))}/ns-{i % 60}/object-{i:06d}",
                        body(rng, rng.choice((900, 2500, 4000, 7000, 15000)))) for i in range(a.objects)]
            for i in range(0, a.objects, 60): etcd.put(objects[i:i + 60])
            for i in range(a.snapshots):
                if i: churn(etcd, rng, objects, a.minutes, i * 100000)
                subprocess.run(["etcdctl", "--endpoints", url, "snapshot", "save", f"{a.out}/s{i}.db"], check=True,
                               env={**os.environ, "ETCDCTL_API": "3"}, stdout=log, stderr=log)
                print(f"s{i}.db {os.path.getsize(f'{a.out}/s{i}.db') / 1e6:.0f} MB", flush=True)
        finally:
            server.terminate()
            server.wait(20)


if __name__ == "__main__":
    main()
