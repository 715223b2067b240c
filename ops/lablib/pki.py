"""Certificates made with openssl: one authority for each etcd cluster, as its real layout would have it."""

import os
from pathlib import Path

from .run import run

DAYS = "3650"
CONFIGURATION = """[req]
distinguished_name = subject
prompt = no
[subject]
"""


class Authority:
    """A certificate authority kept in a directory as ca.crt and ca.key."""

    def __init__(self, directory, name):
        self.directory = directory
        self.certificate = directory / "ca.crt"
        self.key = directory / "ca.key"
        directory.mkdir(parents=True, exist_ok=True)
        if not self.certificate.exists():
            self._request(self.certificate, self.key, f"/CN={name}", [
                "basicConstraints=critical,CA:TRUE", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign",
                "subjectKeyIdentifier=hash"])

    def issue(self, certificate, key, subject, names=(), uses=("serverAuth", "clientAuth"), days=DAYS, clock=None):
        """Write a certificate and its key; `names` are addresses and host names, `uses` extended key usages.

        `clock` is the environment with which openssl sees another time, see mishaps.py.
        """
        extensions = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature,keyEncipherment",
                      f"extendedKeyUsage={','.join(uses)}", "authorityKeyIdentifier=keyid"]
        if names:
            alternatives = [("IP:" if name.replace(".", "").isdigit() else "DNS:") + name for name in names]
            extensions.append(f"subjectAltName={','.join(alternatives)}")
        self._request(certificate, key, subject, extensions, ["-CA", str(self.certificate), "-CAkey", str(self.key)],
                      days, clock)

    def _request(self, certificate, key, subject, extensions, signer=(), days=DAYS, clock=None):
        Path(certificate).parent.mkdir(parents=True, exist_ok=True)
        command = ["openssl", "req", "-x509", "-config", "/dev/stdin", "-newkey", "rsa:2048", "-noenc", "-sha256",
                   "-days", days, "-subj", subject, "-keyout", str(key), "-out", str(certificate), *signer]
        for extension in extensions:
            command += ["-addext", extension]
        run(command, stdin=CONFIGURATION, env={**os.environ, **(clock or {})})
        Path(key).chmod(0o600)
