/// Configurations as kubeadm, Debian, the RPMs and kubespray lay them out.
enum Layouts {
    static let kubeadmManifest = """
        apiVersion: v1
        kind: Pod
        metadata:
          annotations:
            kubeadm.kubernetes.io/etcd.advertise-client-urls: https://10.0.0.11:2379
          name: etcd
          namespace: kube-system
        spec:
          containers:
          - command:
            - etcd
            - --advertise-client-urls=https://10.0.0.11:2379
            - --cert-file=/etc/kubernetes/pki/etcd/server.crt
            - --client-cert-auth=true
            - --data-dir=/var/lib/etcd
            - --initial-advertise-peer-urls=https://10.0.0.11:2380
            - --initial-cluster=cp1=https://10.0.0.11:2380
            - --key-file=/etc/kubernetes/pki/etcd/server.key
            - --listen-client-urls=https://127.0.0.1:2379,https://10.0.0.11:2379
            - --listen-metrics-urls=http://127.0.0.1:2381
            - --listen-peer-urls=https://10.0.0.11:2380
            - --name=cp1
            - --snapshot-count=10000
            - --trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt
            image: registry.k8s.io/etcd:3.5.1-0
            name: etcd
            volumeMounts:
            - mountPath: /var/lib/etcd
              name: etcd-data
            - mountPath: /etc/kubernetes/pki/etcd
              name: etcd-certs
          hostNetwork: true
          volumes:
          - hostPath:
              path: /etc/kubernetes/pki/etcd
              type: DirectoryOrCreate
            name: etcd-certs
          - hostPath:
              path: /var/lib/etcd   # the data
              type: DirectoryOrCreate
            name: etcd-data
        status: {}

        """

    static let apiserverManifest = """
        apiVersion: v1
        kind: Pod
        metadata:
          name: kube-apiserver
        spec:
          containers:
          - name: kube-apiserver
            command:
            - kube-apiserver
            - --secure-port=6443
            - --etcd-servers=https://127.0.0.1:2379
            readinessProbe:
              httpGet:
                host: 10.0.0.11
                path: /readyz
                port: 6443
                scheme: HTTPS
        """

    static let kubeadm = [
        "/etc/kubernetes/manifests/etcd.yaml": kubeadmManifest,
        "/etc/kubernetes/manifests/kube-apiserver.yaml": apiserverManifest,
        "/etc/kubernetes/pki/etcd/ca.crt": "ca", "/etc/kubernetes/pki/etcd/server.crt": "cert",
        "/etc/kubernetes/pki/etcd/server.key": "key",
    ]

    static let debianUnit = """
        [Unit]
        Description=etcd - highly-available key value store
        [Service]
        Environment=DAEMON_ARGS=
        Environment=ETCD_NAME=%H
        Environment=ETCD_DATA_DIR=/var/lib/etcd/default
        EnvironmentFile=-/etc/default/%p
        Type=notify
        User=etcd
        #ExecStart=/bin/sh -c "GOMAXPROCS=$(nproc) /usr/bin/etcd $DAEMON_ARGS"
        ExecStart=/usr/bin/etcd $DAEMON_ARGS
        [Install]
        WantedBy=multi-user.target
        Alias=etcd2.service
        """

    /// The unit's data-dir is the package's own.
    static let debian = [
        "/lib/systemd/system/etcd.service": debianUnit,
        "/etc/hostname": "node-b\n",
        "/etc/default/etcd": """
        ## etcd(1) daemon options
        ETCD_LISTEN_CLIENT_URLS="http://0.0.0.0:2379"
        ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.12:2379
        ETCD_INITIAL_ADVERTISE_PEER_URLS='http://10.0.0.12:2380'
        ETCD_INITIAL_CLUSTER=node-b=http://10.0.0.12:2380
        """,
    ]
    static let debianLinks = [
        "/etc/systemd/system/etcd2.service": "/lib/systemd/system/etcd.service",
        "/etc/systemd/system/multi-user.target.wants/etcd.service": "/lib/systemd/system/etcd.service",
    ]

    static let rpm = [
        "/usr/lib/systemd/system/etcd.service": """
        [Unit]
        Description=Etcd Server
        [Service]
        Type=notify
        WorkingDirectory=/var/lib/etcd/
        EnvironmentFile=-/etc/etcd/etcd.conf
        User=etcd
        # set GOMAXPROCS to number of processors
        ExecStart=/bin/bash -c "GOMAXPROCS=$(nproc) /usr/bin/etcd --name=\\"${ETCD_NAME}\\" \\
            --data-dir=\\"${ETCD_DATA_DIR}\\" \\
        # between
            --listen-client-urls=\\"${ETCD_LISTEN_CLIENT_URLS}\\""
        Restart=on-failure
        """,
        "/etc/etcd/etcd.conf": """
        #[Member]
        ETCD_DATA_DIR="/var/lib/etcd/default.etcd"
        ETCD_LISTEN_CLIENT_URLS="http://localhost:2379"
        ETCD_NAME="default"
        """,
    ]

    static let kubespray = [
        "/etc/systemd/system/etcd.service": """
        [Service]
        Type=notify
        User=root
        EnvironmentFile=/etc/etcd.env
        ExecStart=/usr/local/bin/etcd
        NotifyAccess=all
        Restart=always
        """,
        "/etc/etcd.env": """
        # Environment file for etcd 3.5.1
        ETCD_DATA_DIR=/var/lib/etcd
        ETCD_ADVERTISE_CLIENT_URLS=https://10.0.0.13:2379
        ETCD_INITIAL_ADVERTISE_PEER_URLS=https://10.0.0.13:2380
        ETCD_INITIAL_CLUSTER_STATE=new
        ETCD_METRICS=basic
        ETCD_LISTEN_CLIENT_URLS=https://10.0.0.13:2379,https://127.0.0.1:2379
        ETCD_INITIAL_CLUSTER_TOKEN=k8s_etcd
        ETCD_LISTEN_PEER_URLS=https://10.0.0.13:2380
        ETCD_NAME=etcd1
        ETCD_INITIAL_CLUSTER=etcd1=https://10.0.0.13:2380
        ETCD_TRUSTED_CA_FILE=/etc/ssl/etcd/ssl/ca.pem
        ETCD_CERT_FILE=/etc/ssl/etcd/ssl/member-node1.pem
        ETCD_KEY_FILE=/etc/ssl/etcd/ssl/member-node1-key.pem
        ETCD_CLIENT_CERT_AUTH=true

        # CLI settings
        ETCDCTL_ENDPOINTS=https://127.0.0.1:2379
        """,
        "/etc/ssl/etcd/ssl/ca.pem": "ca", "/etc/ssl/etcd/ssl/member-node1.pem": "cert",
        "/etc/ssl/etcd/ssl/member-node1-key.pem": "key",
    ]

    static let configFile = [
        "/etc/systemd/system/etcd.service": """
        [Service]
        Environment=ETCD_DATA_DIR=/ignored
        ExecStart=/usr/bin/etcd --config-file /etc/etcd/etcd.conf.yml --name ignored
        """,
        "/etc/etcd/etcd.conf.yml": """
        # This is the configuration file for the etcd server.
        name: 'm1'
        data-dir: "/srv/etcd"  # on the fast disk
        wal-dir:
        listen-client-urls: http://10.0.0.14:2379
        advertise-client-urls: http://10.0.0.14:2379
        initial-advertise-peer-urls: http://10.0.0.14:2380
        initial-cluster: m1=http://10.0.0.14:2380
        client-transport-security:
          cert-file:
        """,
    ]

    static let upstream = [
        "/etc/systemd/system/etcd.service": """
        [Service]
        Environment=ETCD_DATA_DIR=/var/lib/etcd "ETCD_WAL_DIR=/fast disk/wal"
        Environment="ETCD_NAME=%m"
        ExecStart=/usr/bin/etcd
        """,
        "/etc/machine-id": "4d1f\n",
    ]

    static let unitFlags = [
        "/etc/systemd/system/etcd.service": """
        [Service]
        WorkingDirectory=/srv
        ExecStart=/opt/etcd/etcd \\
          --name n1 \\
          -data-dir data/n1 \\
          --client-cert-auth \\
          --wal-dir=/wal/n1
        """
    ]
}
