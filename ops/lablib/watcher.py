"""Lists a prefix and watches it as a Kubernetes client does, through etcd's JSON gateway; says what it saw.

One JSON object a line on standard output, with `time`, `saw` and what belongs to it:

    list          revision, keys         the prefix was listed, as at the start and after `compacted`
    watching      endpoint, revision     a watch began at `revision`
    put, delete   key, value, revision   an event
    compacted     asked, compact_revision   etcd has no history from `asked` on; a list follows
    back-in-time  revision, seen         etcd is at a revision before one that was seen: its data went back
    disconnected  endpoint, why          the watch ended or cannot begin; the next endpoint is tried

A Kubernetes client trusts revisions: it goes on from the last one it saw and lists anew only when told `compacted`. So
does this one, also after `back-in-time`, which such a client would not notice.
"""

import argparse
import base64
import http.client
import itertools
import json
import signal
import socket
import ssl
import sys
import time
import urllib.parse

REQUEST_SECONDS = 5
PAUSE_SECONDS = 0.2


class View:
    """What the client knows, and what it says of each answer; it does no input or output of its own."""

    def __init__(self, seen=None):
        self.seen = seen or 0
        self.must_list = seen is None

    def listed(self, answer):
        revision = int(answer["header"]["revision"])
        yield from self.checked(revision)
        yield {"saw": "list", "revision": revision, "keys": int(answer.get("count", 0))}
        self.seen, self.must_list = revision, False

    def checked(self, revision):
        """`revision` is the answer of a linearizable read: the whole cluster's, not that of a member that lags."""
        if revision < self.seen:
            yield {"saw": "back-in-time", "revision": revision, "seen": self.seen}

    def told(self, result):
        """One message of a watch."""
        if "compact_revision" in result:
            self.must_list = True
            yield {"saw": "compacted", "asked": self.seen + 1, "compact_revision": int(result["compact_revision"])}
        for event in result.get("events", []):
            pair, gone = event["kv"], event.get("type") == "DELETE"
            revision = int(pair["mod_revision"])
            self.seen = max(self.seen, revision)
            yield {"saw": "delete" if gone else "put", "key": text(pair.get("key", "")), "revision": revision,
                   **({} if gone else {"value": text(pair.get("value", ""))})}


def text(encoded):
    return base64.b64decode(encoded).decode(errors="replace")


def of_prefix(prefix):
    """The range of all keys that begin with `prefix`: to the next key that does not."""
    key = prefix.encode().rstrip(b"\xff")
    end = key[:-1] + bytes([key[-1] + 1]) if key else b"\0"
    return {"key": base64.b64encode(key or b"\0").decode(), "range_end": base64.b64encode(end).decode()}


class Gone(Exception):
    """The endpoint does not answer, or not any more."""


class Etcd:
    def __init__(self, endpoint, credentials):
        self.place = urllib.parse.urlsplit(endpoint).netloc
        self.credentials = credentials

    def post(self, path, body):
        connection = http.client.HTTPSConnection(self.place, timeout=REQUEST_SECONDS, context=self.credentials)
        connection.connect()
        # An idle watch is no dead one: the kernel asks whether the other end is still there.
        for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 3)):
            connection.sock.setsockopt(socket.IPPROTO_TCP, option, value)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # As a Kubernetes client's, its watch ends when the member loses its leader.
        connection.request("POST", path, json.dumps(body), {"Grpc-Metadata-hasleader": "true"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise Gone(f"status {answer.status}: {answer.read(300).decode(errors='replace')}")
        return connection, answer

    def read(self, body):
        connection, answer = self.post("/v3/kv/range", body)
        try:
            return json.load(answer)
        finally:
            connection.close()

    def watch(self, body):
        connection, answer = self.post("/v3/watch", {"create_request": body})
        connection.sock.settimeout(None)
        try:
            for line in iter(answer.readline, b""):
                message = json.loads(line)
                if "error" in message:
                    raise Gone(message["error"].get("message", "an error"))
                yield message["result"]
        finally:
            connection.close()
        raise Gone("the stream ended")


def follow(view, prefix, etcd):
    """Everything seen through one endpoint until it is gone; a compaction ends it without an error."""
    wanted = of_prefix(prefix)
    current = etcd.read({**wanted, "count_only": True})
    if view.must_list:
        yield from view.listed(current)
    else:
        yield from view.checked(int(current["header"]["revision"]))
    for result in etcd.watch({**wanted, "start_revision": view.seen + 1}):
        if result.get("created"):
            yield {"saw": "watching", "endpoint": etcd.place, "revision": view.seen + 1}
        yield from view.told(result)
        if view.must_list:
            return


def follow_all(view, prefix, etcds):
    """Without end: the next endpoint whenever one is gone, and one line for it however many are tried."""
    connected = True
    for etcd in itertools.cycle(etcds):
        try:
            for line in follow(view, prefix, etcd):
                connected = connected or line["saw"] in ("list", "watching")
                yield line
        except (OSError, http.client.HTTPException, ValueError, Gone) as error:
            if connected:
                yield {"saw": "disconnected", "endpoint": etcd.place, "why": str(error) or type(error).__name__}
            connected = False
            time.sleep(PAUSE_SECONDS)


def options():
    top = argparse.ArgumentParser(description="list and watch a prefix as a Kubernetes client does")
    top.add_argument("--endpoint", action="append", required=True)
    for name in ("authority", "certificate", "key", "prefix"):
        top.add_argument(f"--{name}", required=True)
    top.add_argument("--from", dest="start", type=int)
    top.add_argument("--seconds", type=int, required=True)
    top.add_argument("--until")
    return top.parse_args()


def main():
    chosen = options()
    credentials = ssl.create_default_context(cafile=chosen.authority)
    credentials.load_cert_chain(chosen.certificate, chosen.key)
    view = View(None if chosen.start is None else chosen.start - 1)

    def over(number, _):
        sys.exit(1 if number == signal.SIGALRM and chosen.until else 0)

    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, over)
    signal.alarm(chosen.seconds)
    for line in follow_all(view, chosen.prefix, [Etcd(endpoint, credentials) for endpoint in chosen.endpoint]):
        print(json.dumps({"time": round(time.time(), 3), **line}), flush=True)
        if line["saw"] == chosen.until:
            return


if __name__ == "__main__":
    main()
