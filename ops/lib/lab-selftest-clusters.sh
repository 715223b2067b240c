# The part of ops/lab-selftest about clusters of several members. Sourced, not run: it uses the functions there.

put_on() { lab etcdctl "$lab" "$1" -- put "$2" "$3" >/dev/null; }
value_is() { [ "$(lab etcdctl "$lab" "$1" -- get --print-value-only "$2")" = "$3" ]; }
# How many members of a cluster answer, and how many members they name as leader.
members_and_leaders() {
    lab etcdctl "$lab" "$1" -- endpoint status -w fields |
        awk '/^"MemberID"/ { all++; ids[$3] } /^"Leader"/ { leaders[$3] }
            END { for (one in leaders) led += (one in ids) ? 1 : 100; print all, led }'
}
saw() { grep -q "\"saw\": \"$2\"" "$1"; }

# Made, written through one member and read through another, a member lost and back, all lost and back.
check_cluster() {
    local name=$1
    lab cluster "$lab" "$@" || fail "cluster $*"
    [ "$(members_and_leaders "$name")" = "3 1" ] || fail "$name has members and leaders: $(members_and_leaders "$name")"
    put_on "$name-1" key "of $name" && value_is "$name-3" key "of $name" || fail "$name-3 does not read what $name-1 wrote"
    say "$name is up: a key went in at one member and came out at another"

    lab power-off "$lab" "$name-2" || fail "power-off $name-2"
    # It may have been the leader, and kubespray has the others wait five seconds and more before they elect one.
    within 30 put_on "$name-3" key "without $name-2" || fail "no quorum without $name-2"
    lab boot "$lab" "$name-2" && value_is "$name-2" key "without $name-2" || fail "$name-2 did not catch up"
    say "$name held its quorum without a member, which caught up"

    lab power-off "$lab" "$name-1" "$name-2" "$name-3" || fail "power-off of $name"
    lab boot "$lab" "$name-1" "$name-2" "$name-3" || fail "boot of $name"
    value_is "$name" key "without $name-2" || fail "$name lost its key"
    say "$name survived a power cut of all members"
}

# What a Kubernetes-style watcher sees: loss of its endpoint, a compaction while it was away, data that went back.
# Watchers are run as programs, not by the function: a signal must reach them.
check_watcher() {
    local name=$1 all=$scratch/all one=$scratch/one back=$scratch/back watchers=() step
    "$here/lab" watch "$lab" "$name" --seconds 120 >"$all" &
    watchers+=($!)
    "$here/lab" watch "$lab" "$name-2" --seconds 120 --until compacted >"$one" &
    watchers+=($!)
    within 10 saw "$all" watching && within 10 saw "$one" watching || fail "no watch began"
    put_on "$name-1" /registry/seen 1
    within 5 saw "$all" put && within 5 saw "$one" put || fail "a put was not seen"

    lab exec "$lab" "$name-2" -- systemctl stop etcd
    within 10 saw "$one" disconnected || fail "the end of etcd was not seen"
    put_on "$name-1" /registry/missed 2 && put_on "$name-1" /other 3
    lab etcdctl "$lab" "$name-1" -- compact "$(lab etcdctl "$lab" "$name-1" -- get /other -w json | grep -o '"revision":[0-9]*' | cut -d: -f2)" >/dev/null
    lab exec "$lab" "$name-2" -- systemctl start etcd
    wait "${watchers[1]}" || fail "a watcher that was away over a compaction does not see it: $(cat "$one")"
    saw "$all" compacted && fail "a watcher that was never away saw a compaction"
    say "a watcher that was away was told of the compaction, another was not"

    lab etcdctl "$lab" "$name-1" -- snapshot save "$scratch/db" >/dev/null 2>&1 || fail "snapshot"
    put_on "$name-1" /registry/after 4
    within 5 grep -q /registry/after "$all" || fail "the put after the snapshot was not seen"
    "$here/lab" watch "$lab" "$name" --seconds 120 --until back-in-time >"$back" &
    watchers+=($!)
    within 10 saw "$back" watching || fail "the third watch did not begin"
    for step in stop restore start; do
        for member in "$name-1" "$name-2" "$name-3"; do restore_by_hand $step "$member" || fail "$step on $member"; done
    done
    within 60 healthy "$name" || fail "$name does not serve after its restore"
    wait "${watchers[2]}" || fail "a watcher does not see that its cluster went back: $(cat "$back")"
    kill "${watchers[0]}"
    wait "${watchers[0]}" || fail "a watcher that is told to stop fails"
    say "a watcher saw its cluster go back in time"
}

# The steps of etcd's own restore on one member of a kubespray cluster.
restore_by_hand() {
    case $1 in
    stop) lab exec "$lab" "$2" -- systemctl stop etcd ;;
    start) lab exec "$lab" "$2" -- systemctl start --no-block etcd ;;
    restore)
        lab push "$lab" "$2" "$scratch/db" /root/db && lab exec "$lab" "$2" -- bash -ec '
            . /etc/etcd.env
            rm -rf "$ETCD_DATA_DIR/member"
            etcdutl snapshot restore /root/db --data-dir /root/restored --name "$ETCD_NAME" \
                --initial-cluster "$ETCD_INITIAL_CLUSTER" --initial-cluster-token again \
                --initial-advertise-peer-urls "$ETCD_INITIAL_ADVERTISE_PEER_URLS" 2>/dev/null
            mv /root/restored/member "$ETCD_DATA_DIR/"'
        ;;
    esac
}

is_whole() { [ "$(lab ls "$lab" | grep -c " of $1\$")" = 3 ] && ! leftover >/dev/null; }

# A cluster whose making was cut short at any point is half-made as a whole, and is made anew by the same command.
check_killed_clusters() {
    local pause victim record
    for pause in 0.2 0.5 0.9 1.4 2 3; do
        "$here/lab" cluster "$lab" killed --kind external --members 3 &
        victim=$!
        sleep $pause
        kill -9 $victim 2>/dev/null
        wait $victim 2>/dev/null
        case $pause in
        0.5 | 2)
            lab clean >/dev/null || fail "clean after a cluster killed at $pause s"
            leftover && fail "clean leaves something of a cluster killed at $pause s"
            ;;
        esac
        # Done before the kill: the next try would rightly be refused.
        is_whole killed && break
    done
    is_whole killed || lab cluster "$lab" killed --kind external || fail "a cluster after killed ones"

    record=$(dirname "$(lab root "$lab" killed-2)")/node.json
    sed -i 's/"made": true/"made": false/' "$record"
    [ "$(leftover | grep -c 'half-made node .*/killed-[123]$')" = 3 ] || fail "the doctor believes in a cluster without its second member"
    lab cluster "$lab" killed --kind external --members 5 || fail "a cluster of five over a half-made one of three"
    [ "$(members_and_leaders killed)" = "5 1" ] || fail "killed has members and leaders: $(members_and_leaders killed)"
    lab cluster "$lab" killed --kind external 2>/dev/null && fail "a whole cluster is made a second time"
    say "clusters whose making was killed are made anew"
}

check_clusters() {
    check_cluster spray --kind external --layout kubespray
    check_watcher spray
    check_cluster infra --kind static --etcd 3.4
    check_cluster cp --kind stacked
    lab exec "$lab" cp-1 -- grep -q -- '--initial-cluster=cp-1=[^,]*$' $manifests/etcd.yaml || fail "cp-1 is no first member of kubeadm's"
    lab exec "$lab" cp-3 -- grep -q -- '--initial-cluster-state=existing' $manifests/etcd.yaml || fail "cp-3 did not join"
    check_killed_clusters
}

# Every layout with both versions, its log on a disk of its own.
check_cluster_layouts() {
    local layout version
    for version in 3.4 3.5; do
        for layout in debian unit-env kubespray rpm config-file unit-flags; do
            lab cluster "$lab" "every" --kind external --layout $layout --etcd $version --disk /var/lib/etcd-wal=200M \
                --wal-dir /var/lib/etcd-wal/wal || fail "a cluster of layout $layout with etcd $version"
            [ "$(members_and_leaders every)" = "3 1" ] || fail "layout $layout, etcd $version: $(members_and_leaders every)"
            lab exec "$lab" every-3 -- sh -c 'ls /var/lib/etcd-wal/wal/*.wal' >/dev/null || fail "layout $layout has its log elsewhere"
            say "three members, layout $layout, etcd $version, are up"
            lab destroy "$lab" && lab create "$lab" || fail "destroy of layout $layout"
        done
    done
    lab cluster "$lab" mixed --kind external --layout kubespray,debian,config-file || fail "a cluster of mixed layouts"
    [ "$(members_and_leaders mixed)" = "3 1" ] || fail "mixed has members and leaders: $(members_and_leaders mixed)"
    say "three members of different layouts and versions are up"
}
