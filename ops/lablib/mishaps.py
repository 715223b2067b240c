"""What happens to nodes without anybody touching etcd: certificates end, clocks are wrong."""

import hashlib
import tempfile
from pathlib import Path

from . import entry, external, machine, nodes
from .errors import LabError, UsageError
from .pki import Authority
from .run import run
from .state import ROOT

AWAY = ".right"
DAY = 86400
SOURCE = Path(__file__).with_name("files") / "wrong-clock.c"


def set_certificate(node, state):
    """`expired`: the member's certificate becomes one that its authority issued and that ended two days ago; etcd reads
    it anew at each handshake. `right`: the one from before is back."""
    if node.data["kind"] != "external":
        raise UsageError(f"node {node.name} is of kind {node.data['kind']}", "only external nodes' certificates can end")
    entry.require_init(node)
    layout = external.LAYOUTS[node.data["layout"]]
    names = [f"{layout.certificates}/member-{node.name}{end}" for end in (".pem", "-key.pem")]
    if state == "right":
        for name in names:
            inside(node, 'if [ -e "$1$2" ]; then mv -f "$1$2" "$1"; fi', name, AWAY)
        return
    authority = Authority(node.lab.cluster_directory(node.data["cluster"]), "etcd-ca")
    with tempfile.TemporaryDirectory() as directory:
        made = [Path(directory) / "certificate", Path(directory) / "key"]
        # Good for the addresses that the member itself needs: what is wrong with it shall be its end alone.
        authority.issue(*made, f"/CN=etcd-member-{node.name}", ("localhost", "127.0.0.1", node.name, node.address),
                        days="1", clock=wrong_clock(library(), -3 * DAY))
        for name, source in zip(names, made):
            inside(node, '[ -e "$1$2" ] || cp -p "$1" "$1$2"', name, AWAY)
            nodes.push(node, source, name, "0600" if name.endswith("key.pem") else "0644")
            inside(node, 'chown --reference="$1$2" "$1"', name, AWAY)


def set_clock(node, unit, state):
    """From its next start on, the processes of one unit see a clock that is two days `ahead` or `behind`; `right`: the
    node's own again. What measures how long something takes is not touched."""
    entry.require_init(node)
    drop_in = f"/etc/systemd/system/{unit}.service.d/clock.conf"
    if state == "right":
        inside(node, 'rm -f "$1"', drop_in)
    else:
        there = "/usr/local/lib/wrong-clock.so"
        nodes.push(node, library(), there, "0644")
        seen = wrong_clock(there, 2 * DAY if state == "ahead" else -2 * DAY)
        inside(node, 'mkdir -p "$(dirname "$1")" && printf "[Service]\\nEnvironment=%s\\n" "$2" >"$1"', drop_in,
               " ".join(f"{name}={value}" for name, value in seen.items()))
    inside(node, "systemctl daemon-reload")


def wrong_clock(library, seconds):
    return {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(seconds)}


def library():
    """Built where it is first wanted, under a name that only a whole one has."""
    built = ROOT / f"wrong-clock-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}.so"
    if not built.exists():
        with tempfile.NamedTemporaryFile(dir=ROOT, suffix=".so", delete=False) as part:
            run(["gcc", "-shared", "-fPIC", "-O1", "-o", part.name, str(SOURCE)])
            Path(part.name).rename(built)
    return built


def inside(node, script, *words):
    done = run([*machine.inside(node), "/bin/sh", "-c", script, "sh", *words], check=False)
    if done.returncode != 0:
        raise LabError(f"on {node.name}: {done.stderr.strip()}")
