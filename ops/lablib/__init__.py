"""The test lab: real nodes (systemd, etcd, containers) on one machine, each in namespaces of its own."""
