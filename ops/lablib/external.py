"""etcd as a systemd service, in each of the layouts that are met in the field."""

import shutil
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import NamedTuple

from . import etcd_config, images
from .errors import UsageError
from .etcd_config import Tls
from .run import run

SECTIONS = """[Unit]
Description=etcd
Documentation=https://github.com/etcd-io/etcd
After=network.target

[Service]
{service}
LimitNOFILE=40000

[Install]
WantedBy=multi-user.target
"""


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n" if not isinstance(lines, str) else lines)


def unit(*service):
    return SECTIONS.format(service="\n".join(service))


def member_tls(directory, member):
    certificate, key = f"{directory}/member-{member.host}.pem", f"{directory}/member-{member.host}-key.pem"
    return Tls(f"{directory}/ca.pem", certificate, key, certificate, key)


def debian(root, member, chosen):
    """Debian's package as it comes; everything is in /etc/default/etcd."""
    write(root / "etc/default/etcd", ["## etcd(1) daemon options", "", *etcd_config.as_variables(chosen, '"')])


def unit_env(root, member, chosen):
    """Debian's package, its data directory named only by the Environment= of the packaged unit."""
    said = {name: value for name, value in chosen.items() if name != "data-dir"}
    write(root / "etc/default/etcd", etcd_config.as_variables(said))


def kubespray(root, member, chosen):
    """kubespray's etcd on the host: /etc/etcd.env, with the lines for etcdctl, run by root."""
    directory = "/etc/ssl/etcd/ssl"
    write(root / "etc/etcd.env", [
        "# Environment file for etcd " + images.ETCD_DISTRIBUTION.partition("==")[2],
        *etcd_config.as_variables(chosen),
        "ETCD_ELECTION_TIMEOUT=5000", "ETCD_HEARTBEAT_INTERVAL=250", "ETCD_SNAPSHOT_COUNT=10000",
        "ETCD_AUTO_COMPACTION_RETENTION=8", "",
        "# CLI settings",
        "ETCDCTL_ENDPOINTS=https://127.0.0.1:2379",
        f"ETCDCTL_CACERT={directory}/ca.pem",
        f"ETCDCTL_KEY={directory}/admin-{member.host}-key.pem",
        f"ETCDCTL_CERT={directory}/admin-{member.host}.pem"])
    write(root / "etc/systemd/system/etcd.service", unit(
        "Type=notify", "User=root", "EnvironmentFile=/etc/etcd.env", "ExecStart=/usr/local/bin/etcd",
        "NotifyAccess=all", "Restart=always", "RestartSec=10s"))


def rpm(root, member, chosen):
    """The RPM's unit: a shell that sets GOMAXPROCS, quoted values in /etc/etcd/etcd.conf."""
    write(root / "etc/etcd/etcd.conf", ["#[Member]", '#ETCD_CORS=""', *etcd_config.as_variables(chosen, '"')])
    write(root / "usr/lib/systemd/system/etcd.service", unit(
        "Type=notify", "WorkingDirectory=/var/lib/etcd/", "EnvironmentFile=-/etc/etcd/etcd.conf", "User=etcd",
        "# set GOMAXPROCS to number of processors",
        'ExecStart=/bin/bash -c "GOMAXPROCS=$(nproc) /usr/bin/etcd"', "Restart=on-failure"))


def config_file(root, member, chosen):
    """A unit that names a YAML configuration file; etcd then heeds nothing else."""
    write(root / "etc/etcd/etcd.conf.yml", etcd_config.as_yaml(chosen))
    write(root / "etc/systemd/system/etcd.service", unit(
        "Type=notify", "User=etcd", "ExecStart=/usr/bin/etcd --config-file /etc/etcd/etcd.conf.yml",
        "Restart=on-failure"))


def unit_flags(root, member, chosen):
    """Every option a flag in the unit, one a line."""
    command = " \\\n  ".join(["ExecStart=/usr/bin/etcd", *etcd_config.as_flags(chosen)])
    write(root / "etc/systemd/system/etcd.service", unit("Type=notify", "User=etcd", command, "Restart=on-failure"))


class Layout(NamedTuple):
    write: Callable
    data_dir: str
    certificates: str
    etcd: str
    user: str
    binaries: str


LAYOUTS = {
    "debian": Layout(debian, "/var/lib/etcd/default", "/etc/etcd/pki", "3.4", "etcd", "/usr/bin"),
    "kubespray": Layout(kubespray, "/var/lib/etcd", "/etc/ssl/etcd/ssl", "3.5", "root", "/usr/local/bin"),
    "rpm": Layout(rpm, "/var/lib/etcd/default.etcd", "/etc/etcd/pki", "3.5", "etcd", "/usr/bin"),
    "config-file": Layout(config_file, "/var/lib/etcd/data", "/etc/etcd/pki", "3.5", "etcd", "/usr/bin"),
    "unit-flags": Layout(unit_flags, "/var/lib/etcd/flags", "/etc/etcd/pki", "3.5", "etcd", "/usr/bin"),
    "unit-env": Layout(unit_env, "/var/lib/etcd/default", "/etc/etcd/pki", "3.4", "etcd", "/usr/bin"),
}
ADMIN = "admin-{host}.pem", "admin-{host}-key.pem"


def member_name(layout, host, position, size):
    """kubespray numbers the members of a cluster, whatever their hosts are called; the others name them after the host."""
    return f"etcd{position}" if layout == "kubespray" and size > 1 else host


def token(cluster, layouts):
    return "k8s_etcd" if "kubespray" in layouts else cluster


def set_up(node, member, cluster):
    """Binaries, certificates, configuration and an enabled unit in the root of a node that is off."""
    layout, root = LAYOUTS[node.data["layout"]], node.root
    place_binaries(root, node.data["etcd"] or layout.etcd, layout.binaries)
    issue(cluster, root, layout, member)
    if node.data["layout"] not in ("debian", "unit-env"):
        # Debian's unit would stand beside the layout's own, and its settings would mislead.
        (root / "lib/systemd/system/etcd.service").unlink(missing_ok=True)
        (root / "etc/default/etcd").unlink(missing_ok=True)
    wal_dir = node.data["wal_dir"]
    if wal_dir:
        make_wal_parent(root, wal_dir, layout.user)
    layout.write(root, member, etcd_config.options(member, cluster, layout.data_dir,
                                                   member_tls(layout.certificates, member), wal_dir))
    run(["chroot", str(root), "chown", "-R", f"{layout.user}:", "/var/lib/etcd"])
    (root / "var/lib/etcd").chmod(0o700)
    run(["systemctl", f"--root={root}", "enable", "etcd.service"])
    node.save(client={"authority": f"{layout.certificates}/ca.pem",
                      "certificate": f"{layout.certificates}/{ADMIN[0].format(host=member.host)}",
                      "key": f"{layout.certificates}/{ADMIN[1].format(host=member.host)}"})


def check_wal_dir(path, disks):
    """etcd makes the directory itself, as PATH.tmp that it renames: what is above must be its own."""
    parent = str(PurePosixPath(path).parent)
    if not path.startswith("/") or ".." in path or path.endswith("/") or parent.count("/") < 2:
        raise UsageError(f"{path!r} is no directory for a log",
                         "write a path two levels down or more, for instance --wal-dir /var/lib/etcd-wal/wal")
    if parent == "/var/lib/etcd" or parent.startswith("/var/lib/etcd/"):
        raise UsageError(f"{path} is inside the data directory", "for instance --wal-dir /var/lib/etcd-wal/wal")
    if parent not in {disk["path"] for disk in disks} and (images.ROOTFS / parent.lstrip("/")).exists():
        raise UsageError(f"{parent} belongs to the system", "for instance --wal-dir /var/lib/etcd-wal/wal")


def make_wal_parent(root, wal_dir, user):
    parent = root / str(PurePosixPath(wal_dir).parent).lstrip("/")
    parent.mkdir(parents=True, exist_ok=True)
    run(["chroot", str(root), "chown", f"{user}:", str(PurePosixPath(wal_dir).parent)])
    parent.chmod(0o700)


def place_binaries(root, version, directory):
    """Debian's binaries are in /usr/bin already; put the wanted ones where the layout has them, and only there."""
    programs = ("etcd", "etcdctl")
    for name in programs:
        packaged, wanted = root / "usr/bin" / name, root / directory.lstrip("/") / name
        if version == "3.5":
            packaged.unlink()
            images.install_file(images.ETCD / name, wanted)
        elif wanted != packaged:
            shutil.move(packaged, wanted)
    if version == "3.5":
        images.install_file(images.ETCD / "etcdutl", root / directory.lstrip("/") / "etcdutl")


def issue(cluster, root, layout, member):
    inside = root / layout.certificates.lstrip("/")
    inside.mkdir(parents=True)
    images.install_file(cluster.authority.certificate, inside / "ca.pem", 0o644)
    # As kubespray does it, each certificate is good for every member.
    names = ("localhost", "127.0.0.1", *(name for one in cluster.members for name in (one.host, one.address)))
    cluster.authority.issue(inside / f"member-{member.host}.pem", inside / f"member-{member.host}-key.pem",
                            f"/CN=etcd-member-{member.host}", names)
    cluster.authority.issue(inside / ADMIN[0].format(host=member.host), inside / ADMIN[1].format(host=member.host),
                            f"/CN=etcd-admin-{member.host}", names, ("clientAuth",))
    run(["chroot", str(root), "chown", "-R", f"{layout.user}:", layout.certificates])
