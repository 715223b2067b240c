#!/usr/bin/env python3
"""Runs this project's programs and their peers in turn on the same snapshots and prints ratios: see ops/bench/table.

    table.py PROGRAMS ETCDUTL SERIES WORK [--large GIGABYTES]
"""
import argparse
import glob
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20
# In its turn each program has the machine for itself, whatever else runs on it.
ALONE = ["chrt", "-f", "10"] if os.geteuid() == 0 else []
RESTIC = {"RESTIC_PASSWORD": "x"}


class Watched(threading.Thread):
    """The most memory of a process that is no mapped file, looked at every few milliseconds."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak = pid, 0
        self.start()

    def run(self):
        try:
            while True:
                with open(f"/proc/{self.pid}/status") as file:
                    found = re.search(r"RssAnon:\s+(\d+) kB", file.read())
                if not found: return
                self.peak = max(self.peak, int(found.group(1)) * 1024)
                time.sleep(0.003)
        except OSError:
            pass


def timed(argv, stdin=None, stdout=None, watching=False):
    """Wall seconds, what it printed, and its peak if it is watched. Starting a program is part of what it takes."""
    source, sink = (open(stdin, "rb") if stdin else None), (open(stdout, "wb") if stdout else subprocess.PIPE)
    start = time.perf_counter()
    process = subprocess.Popen(ALONE + argv, stdin=source, stdout=sink, stderr=subprocess.DEVNULL, env={**os.environ, **RESTIC})
    watched = Watched(process.pid) if watching else None
    out, _ = process.communicate()
    wall = time.perf_counter() - start
    if process.returncode: raise SystemExit(f"{' '.join(argv[:3])}: exit status {process.returncode}")
    return wall, (out or b"").decode(), watched.peak if watched else 0


def size(path): return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(path) for f in files)


DIGEST = """
import hashlib, sys, time
with open(sys.argv[1], "rb") as file: data = file.read()
times = []
for _ in range(7):
    start = time.perf_counter()
    hashlib.sha256(data)
    times.append(time.perf_counter() - start)
print(min(times))
"""


def sha256_alone(path):
    """Seconds of the digest by itself, from memory: nothing that computes it can be faster. In a process of its own:
    what this one has held at most would count as the peak of every child, since execve keeps the figure."""
    return float(timed([sys.executable, "-c", DIGEST, path])[1])


def warm(path):
    with open(path, "rb") as file:
        while file.read(1 << 22): pass


class Bench:
    def __init__(self, given):
        self.bench, self.fleetctl, self.etcdutl = f"{given.programs}/fleet-bench", f"{given.programs}/fleetctl", given.etcdutl
        self.work, self.peak = given.work, 0
        found = glob.glob(f"{given.series}/s*.db")
        self.snapshots = sorted(found, key=lambda path: int(re.search(r"s(\d+)\.db$", path).group(1)))
        if len(self.snapshots) < 2: raise SystemExit(f"{given.series} has no s0.db and s1.db")
        os.environ["RESTIC_CACHE_DIR"] = f"{self.work}/cache"

    def ours(self, verb, repository, path, name):
        wall, told, _ = timed([self.bench, "repository", verb, repository, f"{self.work}/key", path, name])
        self.peak = max(self.peak, int(told.split()[2]))
        return wall

    def status(self, path, runs=11):
        """Wall of ours and of etcdutl's; both say the same, and ours finds the snapshot sound."""
        walls = []
        warm(path)
        self.peak = max(self.peak, timed([self.fleetctl, "inspect", path], watching=True)[2])
        for _ in range(runs):
            wall, told, _ = timed([self.fleetctl, "inspect", "-o", "json", path])
            peer_wall, peer_told, _ = timed([self.etcdutl, "snapshot", "status", path, "-w", "json"])
            mine, theirs = json.loads(told), json.loads(peer_told)
            for field in ("hash", "revision", "totalKey", "totalSize"):
                if mine[field] != theirs[field]: raise SystemExit(f"{field}: etcdutl says {theirs[field]}, fleetctl {mine[field]}")
            walls.append((wall, peer_wall))
        return [statistics.median(column) for column in zip(*walls)]

    def imports(self, passes=3):
        """For each snapshot: wall of ours and restic's, growth of ours, restic's, and of zstd's delta."""
        walls, growth = [[] for _ in self.snapshots], []
        for turn in range(passes):
            ours, restic = f"{self.work}/ours", f"{self.work}/restic"
            for path in (ours, restic, f"{self.work}/key"):
                shutil.rmtree(path) if os.path.isdir(path) else os.path.exists(path) and os.remove(path)
            timed([self.bench, "repository", "init", ours, f"{self.work}/key"])
            timed(["restic", "-q", "init", "-r", restic])
            for i, path in enumerate(self.snapshots):
                warm(path)
                before = size(ours)
                wall, ours_grew = self.ours("import", ours, path, f"s{i}"), size(ours) - before
                before = size(restic)
                peer = timed(["restic", "-r", restic, "-q", "backup", "--stdin", "--stdin-filename", "s.db"], stdin=path)[0]
                walls[i].append((wall, peer))
                if turn == 0: growth.append((ours_grew, size(restic) - before, self.delta(i)))
        return [(*(statistics.median(column) for column in zip(*wall)), *grew) for wall, grew in zip(walls, growth)]

    def delta(self, i):
        """Bytes of what zstd makes of a snapshot when it knows the one before."""
        patch, out = ([f"--patch-from={self.snapshots[i - 1]}", "--long=30"] if i else []), f"{self.work}/delta"
        subprocess.run(["zstd", "-q", "-3", "-f", *patch, self.snapshots[i], "-o", out], check=True)
        return os.path.getsize(out)

    def exports(self, runs=7):
        """The last one is spread over all packs: the slowest to read."""
        last, out, walls = len(self.snapshots) - 1, f"{self.work}/out.db", []
        for _ in range(runs):
            wall = self.ours("export", f"{self.work}/ours", out, f"s{last}")
            if subprocess.run(["cmp", "-s", out, self.snapshots[last]]).returncode:
                raise SystemExit("what was exported is not what was imported")
            os.remove(out)
            peer = timed(["restic", "-r", f"{self.work}/restic", "-q", "dump", "latest", "s.db"], stdout=out)[0]
            os.remove(out)
            walls.append((wall, peer))
        return [statistics.median(column) for column in zip(*walls)]

    def large(self, gigabytes):
        """Two generations of one large snapshot: status, both imports, export. Only what they take of memory counts."""
        repository, out = f"{self.work}/large", f"{self.work}/large-out.db"
        timed([self.bench, "repository", "init", repository, f"{self.work}/large.key"])
        os.replace(f"{self.work}/large.key", f"{self.work}/key")
        for generation in (0, 1):
            path = f"{self.work}/large-{generation}.db"
            subprocess.run([sys.executable, f"{HERE}/large_snapshot.py", path, str(gigabytes), str(generation)], check=True)
            self.ours("import", repository, path, f"s{generation}")
            if generation == 0: os.remove(path)
        self.status(path, runs=1)
        self.ours("export", repository, out, "s1")
        if subprocess.run(["cmp", "-s", out, path]).returncode: raise SystemExit("the large export is not what was imported")
        for name in (path, out): os.remove(name)


class Table:
    def __init__(self): self.missed = 0

    def row(self, what, value, bar=None, stretch=None, unit="x", note=""):
        """Bars and stretches are upper bounds."""
        marks = ""
        if bar is not None:
            self.missed += value > bar
            marks += f"{bar:7g}{unit:5}{'met' if value <= bar else 'NOT MET':9}"
        else: marks += " " * 21
        if stretch is not None: marks += f"{stretch:7g}{unit:5}{'met' if value <= stretch else 'not met':9}"
        else: marks += " " * 21
        print(f"{what:56}{value:9.2f}{unit:5}{marks}{note}".rstrip(), flush=True)


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("programs", "etcdutl", "series", "work"): ask.add_argument(name)
    ask.add_argument("--large", type=float, default=8)
    given = ask.parse_args()
    bench, table = Bench(given), Table()
    restic = subprocess.run(["restic", "version"], capture_output=True, text=True).stdout.split()[1]
    print(f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}, restic {restic}; medians; "
          + ("each program at real-time priority in its turn" if ALONE else "beside whatever else runs here"))
    imports = bench.imports()
    print(f"\n{'snapshot':10}{'MB':>8}{'import s: ours':>18}{'restic':>9}{'growth MB: ours':>19}{'restic':>9}{'zstd':>9}")
    for path, (wall, peer, grew, peer_grew, delta) in zip(bench.snapshots, imports):
        print(f"{os.path.basename(path):10}{os.path.getsize(path) / 1e6:8.1f}{wall:18.2f}{peer:9.2f}"
              f"{grew / 1e6:19.1f}{peer_grew / 1e6:9.1f}{delta / 1e6:9.1f}")
    following = [sum(column) for column in zip(*imports[1:])]
    first = imports[0]
    wall, peer = bench.status(bench.snapshots[-1])
    print(f"\n{'what':56}{'measured':>9}{'':5}{'bar':>7}{'':14}{'stretch':>7}")
    megabytes = os.path.getsize(bench.snapshots[-1]) / 1e6
    table.row(f"status, all checks, SHA-256 of {megabytes:.0f} MB / etcdutl status", wall / peer, 1.0, 0.5, note=f"{wall:.3f} s / {peer:.3f} s; SHA-256 alone {sha256_alone(bench.snapshots[-1]):.3f} s")
    table.row("first import / restic backup --stdin", first[0] / first[1], 0.7, 0.5, note=f"{first[0]:.2f} s / {first[1]:.2f} s")
    table.row("following imports / restic", following[0] / following[1], 0.35, 0.2)
    table.row("growth per following snapshot / restic", following[2] / following[3], 0.2)
    table.row("growth per following snapshot / zstd --patch-from", following[2] / following[4], stretch=1.3)
    table.row("growth of the first / zstd -3", first[2] / first[4], 1.06, 1.0)
    wall, peer = bench.exports()
    table.row("export of the last / restic dump", wall / peer, 0.5, note=f"{wall:.3f} s / {peer:.3f} s")
    table.row("peak memory without mapped pages, so far", bench.peak / MIB, 256, unit=" MiB")
    if given.large:
        needed = given.large * 3.6e9
        if shutil.disk_usage(given.work).free < needed:
            raise SystemExit(f"a snapshot of {given.large:g} GB needs {needed / 1e9:.0f} GB of disk: free them, or name a smaller one with --large")
        for path in glob.glob(f"{given.work}/*"): shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        bench.large(given.large)
        table.row(f"peak memory without mapped pages, {given.large:g} GB too", bench.peak / MIB, 256, unit=" MiB")
    if table.missed: raise SystemExit(f"{table.missed} bars are not met")


if __name__ == "__main__":
    main()
