"""What ops/bench/restore measures; it runs this with the programs' directory, the series and the number of rounds."""
import concurrent.futures
import http.client
import json
import re
import ssl
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

OPS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(OPS))
from lablib import access, network  # noqa: E402

LAB, CLUSTER = "bench-restore", "ha"
NODES = [f"{CLUSTER}-{i}" for i in (1, 2, 3)]
BAR = 1.2


def lab(*words, text=None, seconds=600):
    done = subprocess.run([OPS / "lab", *words], input=text, capture_output=True, text=True, timeout=seconds)
    if done.returncode: raise SystemExit(f"ops/lab {' '.join(words)}: {done.stderr}{done.stdout}")
    return done.stdout


def on(node, *words, text=None): return lab("exec", LAB, node, "--", *words, text=text)


def on_all(script, **values):
    """A shell script on all nodes at once, as from a terminal for each."""
    with concurrent.futures.ThreadPoolExecutor(len(NODES)) as pool:
        list(pool.map(lambda node: on(node, "sh", "-ec", script.format(node=node, **values)), NODES))


def install(programs):
    lab("node", LAB, "hub", "--kind", "plain")
    lab("cluster", LAB, CLUSTER, "--kind", "external", "--layout", "kubespray")
    units = OPS / "systemd"
    for node, names in [("hub", ["fleet-coordinator", "fleetctl"]), *((node, ["fleet-agent"]) for node in NODES)]:
        for name in names: lab("push", LAB, node, f"{programs}/{name}", f"/usr/local/bin/{name}", "--mode", "0755")
        lab("push", LAB, node, str(units / f"{names[0]}.service"), f"/etc/systemd/system/{names[0]}.service", "--mode", "0644")
    on("hub", "useradd", "--system", "--home-dir", "/var/lib/fleet-coordinator", "fleet-coordinator")
    on("hub", "install", "-d", "-o", "fleet-coordinator", "-m", "0700", "/var/lib/fleet-coordinator")
    address = lab("address", LAB, "hub").strip()
    on("hub", "runuser", "-u", "fleet-coordinator", "--", "fleet-coordinator", "init", "--advertise", f"{address}:7400")
    on("hub", "systemctl", "start", "fleet-coordinator")
    on("hub", "fleetctl", "cluster", "add", CLUSTER)
    for node in NODES:
        on(node, "fleet-agent", "enroll", "-", text=on("hub", "fleetctl", "agent", "token", CLUSTER))
        on(node, "systemctl", "enable", "--quiet", "--now", "fleet-agent")
    wait_for_agents()


def wait_for_agents():
    for _ in range(120):
        if on("hub", "fleetctl", "agent", "list", CLUSTER, "-o", "json").count('"connected" : true') == 3: return
        time.sleep(0.5)
    raise SystemExit("the agents do not connect")


class Probe:
    """Asks the members in turn whether they have a quorum, and keeps the longest time without one that had."""

    def __init__(self):
        there = access.named(LAB, CLUSTER)
        self.tls = ssl.create_default_context(cafile=there.authority)
        self.tls.check_hostname = False
        self.tls.load_cert_chain(there.certificate, there.key)
        self.addresses = [re.sub(r"https://(.*):\d+", r"\1", one) for one in there.endpoints]
        self.netns = network.NAMESPACES / there.netns
        self.over, self.longest = threading.Event(), 0.0

    def healthy(self, address):
        link = http.client.HTTPSConnection(address, 2379, context=self.tls, timeout=1)
        try:
            link.request("GET", "/health")
            return json.loads(link.getresponse().read()).get("health") == "true"
        except (OSError, ValueError, http.client.HTTPException):
            return False
        finally:
            link.close()

    def run(self):
        # A thread may be in a network namespace of its own.
        import ctypes
        with open(self.netns) as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0): raise SystemExit("setns failed")
        last, turn = time.monotonic(), 0
        while not self.over.is_set():
            if self.healthy(self.addresses[turn % 3]):
                self.longest = max(self.longest, time.monotonic() - last)
                last = time.monotonic()
            turn += 1
            time.sleep(0.02)

    def measure(self, act):
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        time.sleep(2)
        act()
        time.sleep(2)
        self.over.set()
        thread.join(10)
        return self.longest


def data_dir(): return re.search(r"^ETCD_DATA_DIR=(.*)$", on(NODES[0], "cat", "/etc/etcd.env"), re.M).group(1)


def drop_old():
    """Each old directory is some 600 MB."""
    for node in NODES:
        on(node, "sh", "-c", 'now=$(sed -n "s/^ETCD_DATA_DIR=//p" /etc/etcd.env); for d in /var/lib/etcd /var/lib/etcd-*; do '
                             '[ "$d" = "$now" ] || rm -rf "$d"; done')


def by_hand(snapshot, number):
    """The data is prepared while the old cluster serves; the clock runs for stop, switch and start."""
    new = f"/var/lib/etcd-by-hand-{number}"
    members = ",".join(f"etcd{i + 1}=https://{lab('address', LAB, node).strip()}:2380" for i, node in enumerate(NODES))
    for i, node in enumerate(NODES):
        with open(snapshot, "rb"): lab("push", LAB, node, str(snapshot), "/root/a.db")
        on(node, "etcdutl", "snapshot", "restore", "/root/a.db", "--data-dir", new, "--name", f"etcd{i + 1}",
           "--initial-cluster", members, "--initial-cluster-token", f"by-hand-{number}",
           "--initial-advertise-peer-urls", members.split(",")[i].split("=")[1])
        on(node, "sh", "-c", f"chown -R --reference=/etc/etcd.env {new}; rm /root/a.db")

    def switch():
        on_all("systemctl stop etcd")
        on_all("sed -i s,^ETCD_DATA_DIR=.*,ETCD_DATA_DIR={new}, /etc/etcd.env; systemctl start etcd", new=new)

    return Probe().measure(switch)


def by_fleet(snapshot):
    wait_for_agents()
    return Probe().measure(lambda: on("hub", "fleetctl", "restore", CLUSTER, "--at", snapshot, "--yes"))


def main(programs, series, rounds):
    lab("create", LAB, "--owner", "none")
    try:
        install(programs)
        file = sorted(Path(series).glob("s*.db"))[-1]
        root = Path(lab("root", LAB, "hub").strip())
        lab("push", LAB, "hub", str(file), "/root/a.db")
        on("hub", "fleetctl", "snapshot", "import", "/root/a.db", "--cluster", CLUSTER)
        imported = json.loads(on("hub", "fleetctl", "snapshot", "list", CLUSTER, "-o", "json"))[0]["id"]
        on("hub", "fleetctl", "restore", CLUSTER, "--at", imported, "--from-other-cluster", "--yes")
        wait_for_agents()
        on("hub", "fleetctl", "backup", CLUSTER)
        saved = json.loads(on("hub", "fleetctl", "snapshot", "list", CLUSTER, "-o", "json"))[0]["id"]
        on("hub", "fleetctl", "snapshot", "export", saved, "-f", "/root/saved.db")
        exported = root / "root/saved.db"
        fleet, hand = [], []
        print(f"three members of {file.stat().st_size / 1e6:.0f} MB; seconds without a quorum\n\n{'':8}fleetctl  by hand")
        for number in range(1, int(rounds) + 1):
            drop_old()
            hand.append(by_hand(exported, number))
            drop_old()
            fleet.append(by_fleet(saved))
            print(f"{number:<8}{fleet[-1]:8.1f}  {hand[-1]:7.1f}", flush=True)
        ratio = statistics.median(fleet) / statistics.median(hand)
        met = ratio <= BAR
        print(f"{'median':8}{statistics.median(fleet):8.1f}  {statistics.median(hand):7.1f}\n\n"
              f"ratio {ratio:.2f}, bar {BAR}: {'met' if met else 'NOT MET'}")
        return 0 if met else 1
    finally:
        lab("destroy", LAB)


sys.exit(main(*sys.argv[1:]))
