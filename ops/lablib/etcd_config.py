"""etcd's options for one member of a cluster, and the forms in which layouts write them down."""

from dataclasses import dataclass

from .pki import Authority

CLIENT_PORT = 2379
PEER_PORT = 2380
METRICS = "http://127.0.0.1:2381"


@dataclass(frozen=True)
class Member:
    """`host` is the node's name, `name` etcd's, which some installers make up."""

    host: str
    address: str
    name: str

    @property
    def client_url(self):
        return f"https://{self.address}:{CLIENT_PORT}"

    @property
    def peer_url(self):
        return f"https://{self.address}:{PEER_PORT}"


@dataclass(frozen=True)
class Cluster:
    """What its members share; a node made alone is a cluster of one."""

    members: tuple
    token: str
    authority: Authority


@dataclass(frozen=True)
class Tls:
    """Paths inside the node; peers and clients may have certificates of their own."""

    authority: str
    certificate: str
    key: str
    peer_certificate: str
    peer_key: str


def options(member, cluster, data_dir, tls, wal_dir=None):
    """Option names as etcd's flags spell them, with their values, in etcd's own order of topics."""
    return {
        "name": member.name,
        "data-dir": data_dir,
        **({"wal-dir": wal_dir} if wal_dir else {}),
        "listen-peer-urls": member.peer_url,
        "listen-client-urls": f"https://127.0.0.1:{CLIENT_PORT},{member.client_url}",
        "listen-metrics-urls": METRICS,
        "initial-advertise-peer-urls": member.peer_url,
        "advertise-client-urls": member.client_url,
        "initial-cluster": initial_cluster(cluster.members),
        "initial-cluster-state": "new",
        "initial-cluster-token": cluster.token,
        "cert-file": tls.certificate,
        "key-file": tls.key,
        "client-cert-auth": "true",
        "trusted-ca-file": tls.authority,
        "peer-cert-file": tls.peer_certificate,
        "peer-key-file": tls.peer_key,
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": tls.authority,
    }


def initial_cluster(members):
    return ",".join(f"{one.name}={one.peer_url}" for one in members)


def as_flags(chosen):
    return [f"--{name}={value}" for name, value in chosen.items()]


def variable(name):
    return "ETCD_" + name.upper().replace("-", "_")


def as_variables(chosen, quote=""):
    return [f"{variable(name)}={quote}{value}{quote}" for name, value in chosen.items()]


def as_yaml(chosen):
    """The configuration file: transport security in its two blocks, under names without their prefix."""
    blocks = {"client-transport-security": ("cert-file", "key-file", "client-cert-auth", "trusted-ca-file"),
              "peer-transport-security": ("peer-cert-file", "peer-key-file", "peer-client-cert-auth",
                                          "peer-trusted-ca-file")}
    in_blocks = {name for names in blocks.values() for name in names}
    lines = ["# This is the configuration file for the etcd server.", ""]
    for name, value in chosen.items():
        if name not in in_blocks:
            lines += [f"# see --{name}", f"{name}: '{value}'" if name != "data-dir" else f'{name}: "{value}"  # on its disk']
    for block, names in blocks.items():
        lines += ["", f"{block}:"]
        for name in names:
            value = chosen[name]
            lines.append(f"  {name.removeprefix('peer-')}: {value if value == 'true' else repr(value)}")
    # With a configuration file etcd 3.4 has its gateway off unless told.
    return lines + ["", "enable-grpc-gateway: true", "logger: zap"]
