"""etcd as a systemd service, in each of the layouts that are met in the field."""

import shutil

from . import etcd_config, images
from .errors import UsageError
from .etcd_config import Tls
from .pki import Authority
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


def member_tls(directory, member, suffix="pem"):
    certificate, key = f"{directory}/member-{member.name}.{suffix}", f"{directory}/member-{member.name}-key.{suffix}"
    return Tls(f"{directory}/ca.{suffix}", certificate, key, certificate, key)


def debian(root, member, members, tls, token):
    """Debian's package as it comes; everything is in /etc/default/etcd."""
    chosen = etcd_config.options(member, members, "/var/lib/etcd/default", tls, token)
    write(root / "etc/default/etcd", ["## etcd(1) daemon options", "", *etcd_config.as_variables(chosen, '"')])


def unit_env(root, member, members, tls, token):
    """Debian's package, its data directory named only by the Environment= of the packaged unit."""
    chosen = etcd_config.options(member, members, "/var/lib/etcd/default", tls, token)
    del chosen["data-dir"]
    write(root / "etc/default/etcd", etcd_config.as_variables(chosen))


def kubespray(root, member, members, tls, token):
    """kubespray's etcd on the host: /etc/etcd.env, with the lines for etcdctl, run by root."""
    chosen = etcd_config.options(member, members, "/var/lib/etcd", tls, token)
    directory = "/etc/ssl/etcd/ssl"
    write(root / "etc/etcd.env", [
        "# Environment file for etcd " + images.ETCD_DISTRIBUTION.partition("==")[2],
        *etcd_config.as_variables(chosen),
        "ETCD_ELECTION_TIMEOUT=5000", "ETCD_HEARTBEAT_INTERVAL=250", "ETCD_SNAPSHOT_COUNT=10000",
        "ETCD_AUTO_COMPACTION_RETENTION=8", "",
        "# CLI settings",
        "ETCDCTL_ENDPOINTS=https://127.0.0.1:2379",
        f"ETCDCTL_CACERT={directory}/ca.pem",
        f"ETCDCTL_KEY={directory}/admin-{member.name}-key.pem",
        f"ETCDCTL_CERT={directory}/admin-{member.name}.pem"])
    write(root / "etc/systemd/system/etcd.service", unit(
        "Type=notify", "User=root", "EnvironmentFile=/etc/etcd.env", "ExecStart=/usr/local/bin/etcd",
        "NotifyAccess=all", "Restart=always", "RestartSec=10s"))


def rpm(root, member, members, tls, token):
    """The RPM's unit: a shell that sets GOMAXPROCS, quoted values in /etc/etcd/etcd.conf."""
    chosen = etcd_config.options(member, members, "/var/lib/etcd/default.etcd", tls, token)
    write(root / "etc/etcd/etcd.conf", ["#[Member]", '#ETCD_CORS=""', *etcd_config.as_variables(chosen, '"')])
    write(root / "usr/lib/systemd/system/etcd.service", unit(
        "Type=notify", "WorkingDirectory=/var/lib/etcd/", "EnvironmentFile=-/etc/etcd/etcd.conf", "User=etcd",
        "# set GOMAXPROCS to number of processors",
        'ExecStart=/bin/bash -c "GOMAXPROCS=$(nproc) /usr/bin/etcd"', "Restart=on-failure"))


def config_file(root, member, members, tls, token):
    """A unit that names a YAML configuration file; etcd then heeds nothing else."""
    chosen = etcd_config.options(member, members, "/var/lib/etcd/data", tls, token)
    write(root / "etc/etcd/etcd.conf.yml", etcd_config.as_yaml(chosen))
    write(root / "etc/systemd/system/etcd.service", unit(
        "Type=notify", "User=etcd", "ExecStart=/usr/bin/etcd --config-file /etc/etcd/etcd.conf.yml",
        "Restart=on-failure"))


def unit_flags(root, member, members, tls, token):
    """Every option a flag in the unit, one a line."""
    chosen = etcd_config.options(member, members, "/var/lib/etcd/flags", tls, token)
    command = " \\\n  ".join(["ExecStart=/usr/bin/etcd", *etcd_config.as_flags(chosen)])
    write(root / "etc/systemd/system/etcd.service", unit("Type=notify", "User=etcd", command, "Restart=on-failure"))


# Name: writer, directory of the certificates, etcd's version, its user, where the binaries belong.
LAYOUTS = {
    "debian": (debian, "/etc/etcd/pki", "3.4", "etcd", "/usr/bin"),
    "kubespray": (kubespray, "/etc/ssl/etcd/ssl", "3.5", "root", "/usr/local/bin"),
    "rpm": (rpm, "/etc/etcd/pki", "3.5", "etcd", "/usr/bin"),
    "config-file": (config_file, "/etc/etcd/pki", "3.5", "etcd", "/usr/bin"),
    "unit-flags": (unit_flags, "/etc/etcd/pki", "3.5", "etcd", "/usr/bin"),
    "unit-env": (unit_env, "/etc/etcd/pki", "3.4", "etcd", "/usr/bin"),
}
ADMIN = "admin-{name}.pem", "admin-{name}-key.pem"


def set_up(node, member, members):
    """Binaries, certificates, configuration and an enabled unit in the root of a node that is off."""
    layout = node.data["layout"]
    if layout not in LAYOUTS:
        raise UsageError(f"there is no layout {layout}", f"choose from: {' '.join(LAYOUTS)}")
    write_layout, directory, usual_version, user, binaries = LAYOUTS[layout]
    root = node.root
    place_binaries(root, node.data["etcd"] or usual_version, binaries)
    authority = Authority(node.lab.cluster_directory(node.data["cluster"]), "etcd-ca")
    tls = member_tls(directory, member)
    issue(authority, root, directory, member, user)
    if layout not in ("debian", "unit-env"):
        # Debian's unit would stand beside the layout's own, and its settings would mislead.
        (root / "lib/systemd/system/etcd.service").unlink(missing_ok=True)
        (root / "etc/default/etcd").unlink(missing_ok=True)
    write_layout(root, member, members, tls, "k8s_etcd" if layout == "kubespray" else node.data["cluster"])
    run(["chroot", str(root), "chown", "-R", f"{user}:", "/var/lib/etcd"])
    (root / "var/lib/etcd").chmod(0o700)
    run(["systemctl", f"--root={root}", "enable", "etcd.service"])
    node.save(client={"authority": f"{directory}/ca.pem",
                      "certificate": f"{directory}/{ADMIN[0].format(name=member.name)}",
                      "key": f"{directory}/{ADMIN[1].format(name=member.name)}"})


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


def issue(authority, root, directory, member, user):
    inside = root / directory.lstrip("/")
    inside.mkdir(parents=True)
    images.install_file(authority.certificate, inside / "ca.pem", 0o644)
    names = ("localhost", member.name, "127.0.0.1", member.address)
    authority.issue(inside / f"member-{member.name}.pem", inside / f"member-{member.name}-key.pem",
                    f"/CN=etcd-member-{member.name}", names)
    authority.issue(inside / ADMIN[0].format(name=member.name), inside / ADMIN[1].format(name=member.name),
                    f"/CN=etcd-admin-{member.name}", names, ("clientAuth",))
    run(["chroot", str(root), "chown", "-R", f"{user}:", directory])
