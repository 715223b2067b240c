#!/usr/bin/env python3
"""Runs the repository and its peers in turn on the same snapshots and prints ratios: see ops/bench/repository.

    repository-compare.py FLEET_BENCH SERIES WORK
"""
import glob, os, re, resource, shutil, subprocess, sys, time


def timed(argv, stdin=None, stdout=None, env=None):
    """Wall seconds and what it printed. Starting a program is part of what it takes."""
    source, sink = (open(stdin, "rb") if stdin else None), (open(stdout, "wb") if stdout else subprocess.PIPE)
    start = time.monotonic()
    done = subprocess.run(argv, check=True, stdin=source, stdout=sink, stderr=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    return time.monotonic() - start, (done.stdout or b"").decode()


def size(path): return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(path) for f in files)


def warm(path):
    with open(path, "rb") as file:
        while file.read(1 << 22): pass


def verdict(name, value, bar=None, stretch=None, unit="x"):
    """One line: the figure, and whether it meets what was asked for; bars and stretches are upper bounds."""
    marks = [f"{what} {limit:g}{unit}: {'met' if value <= limit else 'MISSED' if what == 'bar' else 'missed'}"
             for what, limit in (("bar", bar), ("stretch", stretch)) if limit is not None]
    print(f"  {name:58}{value:8.2f}{unit}   {'   '.join(marks)}")


def main():
    bench, series, work = sys.argv[1:]
    snapshots = sorted(glob.glob(f"{series}/s*.db"), key=lambda p: int(re.search(r"s(\d+)\.db$", p).group(1)))
    ours, restic, key = f"{work}/repository", f"{work}/restic", f"{work}/key"
    secret = {"RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": f"{work}/cache"}
    subprocess.run([bench, "repository", "init", ours, key], check=True)
    subprocess.run(["restic", "-q", "init", "-r", restic], check=True, env={**os.environ, **secret})
    rows, peak, out = [], 0, f"{work}/out.db"
    print(f"{'snapshot':10}{'MB':>8}{'':4}{'wall s: ours':>14}{'restic':>8}{'':4}{'growth MB: ours':>16}{'restic':>8}{'zstd':>8}")
    for i, path in enumerate(snapshots):
        warm(path)
        before = size(ours)
        wall, told = timed([bench, "repository", "import", ours, key, path, f"s{i}"])
        peak = max(peak, int(told.split()[2]))
        growth = size(ours) - before
        before = size(restic)
        peer_wall, _ = timed(["restic", "-r", restic, "-q", "backup", "--stdin", "--stdin-filename", "s.db"], stdin=path, env=secret)
        peer_growth = size(restic) - before
        patch = [f"--patch-from={snapshots[i - 1]}", "--long=30"] if i else []
        timed(["zstd", "-q", "-3", "-f", *patch, path, "-o", f"{work}/delta"])
        delta = os.path.getsize(f"{work}/delta")
        rows.append((wall, peer_wall, growth, peer_growth, delta))
        print(f"{os.path.basename(path):10}{os.path.getsize(path) / 1e6:8.1f}{'':4}{wall:14.2f}{peer_wall:8.2f}{'':4}"
              f"{growth / 1e6:16.1f}{peer_growth / 1e6:8.1f}{delta / 1e6:8.1f}", flush=True)
    # The last one is spread over all packs: the slowest to read.
    last, exports = len(snapshots) - 1, []
    for _ in range(3):
        wall, told = timed([bench, "repository", "export", ours, key, out, f"s{last}"])
        peak = max(peak, int(told.split()[2]))
        if subprocess.run(["cmp", out, snapshots[last]]).returncode: sys.exit("what was exported is not what was imported")
        os.remove(out)
        peer_wall, _ = timed(["restic", "-r", restic, "-q", "dump", "latest", "s.db"], stdout=out, env=secret)
        os.remove(out)
        exports.append((wall, peer_wall))
    export = min(e[0] for e in exports) / min(e[1] for e in exports)
    following = rows[1:]
    total = lambda column: sum(row[column] for row in following)
    print()
    verdict("first import against restic", rows[0][0] / rows[0][1], 0.7, 0.5)
    verdict("following imports against restic", total(0) / total(1), 0.35, 0.2)
    verdict("growth per following snapshot against restic", total(2) / total(3), 0.2)
    verdict("growth per following snapshot against zstd --patch-from", total(2) / total(4), stretch=1.3)
    verdict("growth of the first against zstd -3", rows[0][2] / rows[0][4], 1.06, 1.0)
    verdict("export of the last against restic dump", export, 0.5)
    verdict("peak memory", peak / (1 << 20), 256, unit=" MiB")
    shutil.rmtree(restic)


if __name__ == "__main__":
    main()
