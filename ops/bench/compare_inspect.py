"""Times reading one snapshot by several programs in turn, and prints the ratios; called by ops/bench/inspect."""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time


def timed(command):
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start, done.stdout


def main():
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("file")
    ask.add_argument("--fleetctl", required=True)
    ask.add_argument("--etcdutl", required=True)
    ask.add_argument("--runs", type=int, default=15)
    given = ask.parse_args()
    size = os.path.getsize(given.file)
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(os.path.abspath(given.file)), suffix=".raw") as raw:
        # The same pages without the digest: what is left of the work when there is no SHA-256 to compute.
        subprocess.run(["cp", given.file, raw.name], check=True)
        os.truncate(raw.name, size - 32)
        commands = {
            "etcdutl snapshot status": [given.etcdutl, "snapshot", "status", given.file, "-w", "json"],
            "fleetctl inspect": [given.fleetctl, "inspect", "-o", "json", given.file],
            "fleetctl inspect, no digest": [given.fleetctl, "inspect", "-o", "json", raw.name],
            "openssl dgst -sha256": ["openssl", "dgst", "-sha256", given.file],
        }
        times = {name: [] for name in commands}
        answers = {}
        for run in range(given.runs + 1):
            for name, command in commands.items():
                seconds, output = timed(command)
                answers[name] = output
                if run:  # the first one only warms the cache
                    times[name].append(seconds)
    theirs, ours = (json.loads(answers[name]) for name in ("etcdutl snapshot status", "fleetctl inspect"))
    for field in ("hash", "revision", "totalKey", "totalSize"):
        if theirs[field] != ours[field]:
            raise SystemExit(f"{field}: etcdutl says {theirs[field]}, fleetctl {ours[field]}")
    print(f"{size / 1e6:.1f} MB, {ours['totalKey']} entries, {given.runs} runs each in turn; both give hash {ours['hash']}")
    base = times["etcdutl snapshot status"]
    print(f"{'':30}{'best':>9}{'median':>9}{'ratio of best':>15}{'of medians':>12}")
    for name, seconds in times.items():
        best, median = min(seconds), statistics.median(seconds)
        print(f"{name:30}{best:8.3f}s{median:8.3f}s{best / min(base):14.2f}x{median / statistics.median(base):11.2f}x")


if __name__ == "__main__":
    main()
