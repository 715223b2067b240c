internal import FleetSystem

/// What is run on a node, as text for its `sh`: nothing but POSIX, coreutils and systemd is asked of it. Nothing secret is
/// ever in it, since whoever is on the node sees arguments; a token and files come on standard input.
enum NodeScript {
    static let program = "/usr/local/bin/fleet-agent"
    static let packagedProgram = "/usr/bin/fleet-agent"
    static let unit = "/etc/systemd/system/fleet-agent.service"
    static let dropIns = unit + ".d"
    static let state = "/var/lib/fleet-agent"
    /// What upgrades have brought, see `ProgramFiles` of the agent.
    static let upgrades = state + "/program"

    /// How a node says that whoever came by ssh is neither root nor becomes it without a password.
    static let noRights: Int32 = 97
    /// How it says that it is in the middle of a restore.
    static let unfinished: Int32 = 96
    /// The same, found behind the stop of an agent that was started again for it.
    static let begun: Int32 = 95
    /// All is removed but what the agent kept.
    static let leftovers: Int32 = 94

    /// One word for a shell, whatever is in the text.
    static func quoted(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
    }

    /// The same, where a person shall read it: plain text stays as it is.
    static func word(_ text: String) -> String {
        let isPlain =
            !text.isEmpty
            && text.utf8.allSatisfy { c in
                UInt8(ascii: "a")...UInt8(ascii: "z") ~= c | 0x20 || UInt8(ascii: "0")...UInt8(ascii: "9") ~= c
                    || "=-./:@_,+%".utf8.contains(c)
            }
        return isPlain ? text : quoted(text)
    }

    /// `script` as root. It goes through the user's own shell first, and those agree on single quotes and on little else.
    static func asRoot(_ script: String) -> String {
        let become =
            #"if [ "$(id -u)" = 0 ]; then exec sh -c "$0"; fi; command -v sudo >/dev/null && sudo -n true </dev/null >/dev/null "#
            + #"|| exit \#(noRights); exec sudo -n sh -c "$0""#
        return "sh -c \(quoted(become)) \(quoted(script))"
    }

    /// Reads a script from standard input, of any length.
    static let fromInput = "exec sh -s"

    static let beginning = """
        LC_ALL=C; PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL PATH

        """

    /// Sets `unfinished` to the journals of what is in its middle: as the package's prerm finds it, line for line.
    static let findsUnfinished = #"""
        state=/var/lib/fleet-agent
        unfinished=
        for journal in $state/jobs/*/journal; do
            [ -s "$journal" ] || continue
            grep -qE '^[0-9a-f]{8} \{"concluded":' "$journal" || unfinished="$unfinished $journal"
        done
        if [ -e $state/joining ] && grep -qE '"stage":"(stopping|returning|joining)"' $state/joining; then
            unfinished="$unfinished $state/joining"
        fi

        """#

    /// Prints what `NodeLook` reads, between two lines that nothing else prints, and changes nothing.
    ///
    /// - Parameter packageHead: of the package that is given, up to its control file, which the node's own dpkg reads.
    static func look(_ marker: String, packageHead: [UInt8]? = nil) -> String {
        var script =
            beginning + #"""
                say() {
                    printf '%s=' "$1"
                    printf '%s' "$2" | tr -d '\000-\037' | head -c 30000
                    echo
                }
                digest() {
                    if [ -f "$2" ] && [ ! -L "$2" ]; then say "$1" "$(sha256sum <"$2" | cut -d ' ' -f 1)"; fi
                }
                printf '\nbegin \#(marker)\n'
                say host "$(uname -n)"
                say system "$(uname -s)"
                say machine "$(uname -m)"
                say glibc "$(getconf GNU_LIBC_VERSION 2>/dev/null)"
                if [ -d /run/systemd/system ]; then say systemd yes; fi
                if command -v apt-get >/dev/null; then say apt yes; fi
                if command -v dpkg >/dev/null; then
                    say dpkg "$(dpkg --print-architecture 2>/dev/null)"
                    say package "$(dpkg-query -W -f '${db:Status-Status} ${Version}' fleet-agent 2>/dev/null)"
                fi
                digest program \#(program)
                if [ -x \#(program) ]; then say program-version "$(timeout 10 \#(program) --version 2>/dev/null </dev/null | head -n 1)"; fi
                digest packaged \#(packagedProgram)
                digest unit \#(unit)
                if [ -d \#(dropIns) ]; then say drop-ins yes; fi
                say fragment "$(systemctl show --property=FragmentPath --value fleet-agent 2>/dev/null)"
                say enabled "$(systemctl is-enabled fleet-agent 2>/dev/null)"
                say active "$(systemctl is-active fleet-agent 2>/dev/null)"
                say reload "$(systemctl show --property=NeedDaemonReload --value fleet-agent 2>/dev/null)"
                pid=$(systemctl show --property=MainPID --value fleet-agent 2>/dev/null)
                if [ "${pid:-0}" != 0 ]; then say executable "$(readlink "/proc/$pid/exe")"; fi
                if [ -e \#(upgrades) ]; then say upgrades yes; fi
                if [ -s \#(upgrades)/choice.json ]; then
                    say choice "$(head -c 22000 \#(upgrades)/choice.json | base64 | tr -d '\n')"
                fi
                # Where a file system of its own is mounted there, its directory stays whatever is removed.
                if [ -e \#(state) ] && { [ -n "$(ls -A \#(state))" ] || ! mountpoint -q \#(state); }; then say state yes; fi
                if [ -s \#(state)/identity/agent.json ]; then
                    say identity "$(head -c 8000 \#(state)/identity/agent.json | base64 | tr -d '\n')"
                    say authority "$(cat \#(state)/identity/authority*.crt | head -c 20000 | base64 | tr -d '\n')"
                    say certificates "$(cat \#(state)/identity/agent*.crt | head -c 20000 | base64 | tr -d '\n')"
                fi

                """# + findsUnfinished + #"""
                say unfinished "$unfinished"

                """#
        if let packageHead {
            script += #"""
                if command -v dpkg-deb >/dev/null; then
                    head=$(mktemp) && printf '%s' '\#(packageHead.base64)' | base64 -d >"$head"
                    version=$(dpkg-deb -f "$head" Version 2>/dev/null)
                    say given "$(dpkg-deb -f "$head" Package 2>/dev/null) $version $(dpkg-deb -f "$head" Architecture 2>/dev/null)"
                    rm -f "$head"
                    installed=$(dpkg-query -W -f '${Version}' fleet-agent 2>/dev/null)
                    if [ -n "$installed" ]; then
                        for relation in lt eq gt; do
                            if dpkg --compare-versions "$version" $relation "$installed"; then say relation $relation; fi
                        done
                    fi
                fi

                """#
        }
        return script + "printf 'end \(marker)\\n'\n"
    }

    // MARK: steps

    /// Neither the package manager nor what others have hung into it.
    private static let asksNothing = "export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1"

    /// Into `$file` of a directory or file that goes again, whatever happens; only what arrived whole goes on.
    private static func takes(_ make: String, _ sha256: String) -> String {
        // Whoever is at it when the connection ends goes on to the end of it: half of an installation helps nobody.
        beginning + """
            trap '' HUP
            set -e
            umask 022
            \(make)
            cat >"$file"
            got=$(sha256sum <"$file")
            if [ "${got%% *}" != \(sha256) ]; then
                echo "what arrived is not what was sent: the connection ended in its middle, or the disk is full" >&2
                exit 1
            fi

            """
    }

    /// Standard input is the package.
    static func installPackage(_ sha256: String, downgrades: Bool) -> String {
        takes(
            """
            place=$(mktemp -d /var/tmp/fleet-agent.XXXXXX)
            trap 'rm -rf "$place"' EXIT
            chmod 755 "$place"
            file=$place/part
            """, sha256)
                + """
                mv "$file" "$place/fleet-agent.deb"
                \(asksNothing)
                apt-get -q -y --no-install-recommends --no-remove -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 \
                \(downgrades ? "--allow-downgrades " : "")install "$place/fleet-agent.deb" </dev/null >"$place/log" 2>&1 || {
                    grep -vE '^(N|W): ' "$place/log" | tail -n 8 >&2
                    exit 1
                }

                """
    }

    /// Standard input is the program. It has to start on this node before it is put in the place of one that does.
    static func installProgram(_ sha256: String) -> String {
        takes(
            """
            mkdir -p /usr/local/bin
            file=$(mktemp /usr/local/bin/.fleet-agent.XXXXXX)
            trap 'rm -f "$file"' EXIT
            """, sha256)
                + """
                chmod 755 "$file"
                said=$("$file" --version </dev/null)
                case $said in
                "fleet-agent "*) ;;
                *) echo "it is not fleet-agent" >&2; exit 1 ;;
                esac
                sync "$file"
                mv -fT "$file" \(program)

                """
    }

    /// Standard input is the unit; the one before stays beside it, since somebody may have written in it. systemd takes it up
    /// with the restart: until then it says itself that there is one to come, and a run behind this one sees that.
    static func installUnit(_ sha256: String) -> String {
        takes(
            """
            file=$(mktemp /etc/systemd/system/.fleet-agent.XXXXXX)
            trap 'rm -f "$file"' EXIT
            """, sha256)
                + """
                chmod 644 "$file"
                if [ -f \(unit) ]; then cp -p --backup=numbered \(unit) \(unit).replaced; fi
                sync "$file"
                mv -fT "$file" \(unit)

                """
    }

    /// None that was kept earlier is lost by it.
    private static let keepUnit = "mv -fT --backup=numbered \(unit) \(unit).replaced"

    /// An agent that ends writes once more which program it was: so while it is off.
    static let leaveUpgrade =
        beginning + """
            set -e
            active=$(systemctl is-active fleet-agent || true)
            trap '' HUP
            systemctl stop fleet-agent
            rm -rf --one-file-system \(upgrades)
            case $active in active | activating | reloading) systemctl start fleet-agent ;; esac

            """

    /// What was installed by hand makes room for a package's.
    static func removeHandInstalled(keepsUnit: Bool, enables: Bool, restarts: Bool) -> String {
        beginning + """
            set -e
            rm -f \(program)
            if [ -f \(unit) ] && [ ! -L \(unit) ]; then
                \(keepsUnit ? keepUnit : "rm -f \(unit)")
            fi
            systemctl daemon-reload
            \(enables ? "systemctl reenable --quiet fleet-agent" : ":")
            \(restarts ? "systemctl restart fleet-agent" : ":")

            """
    }

    /// Standard input is the token.
    static func enrol(_ program: String, name: String, again: Bool) -> String {
        "exec \(program) enroll - --name \(quoted(name))" + (again ? " --force" : "")
    }

    /// A link alone: the start behind it takes up what is new, see `installUnit`.
    static let enable = beginning + "exec systemctl --quiet --no-reload enable fleet-agent\n"

    static func systemctl(_ verb: String) -> String {
        beginning + """
            systemctl daemon-reload
            systemctl reset-failed fleet-agent 2>/dev/null
            exec systemctl --quiet \(verb) fleet-agent

            """
    }

    /// The last that it said, for whoever can't see why it does not come.
    static let lastWords =
        beginning + "systemctl is-active fleet-agent; journalctl -u fleet-agent -n 4 -o cat --no-pager 2>/dev/null\n"

    /// Stops and removes it, if no restore has begun since it was looked at, or begins while it stops. What can't be removed
    /// runs again as before.
    ///
    /// - Parameter package: what dpkg is to do with it, "remove" or "purge".
    static func remove(package: String?, isByHand: Bool, keepsUnit: Bool, purges: Bool) -> String {
        let stop = """
            if [ -n "$unfinished" ]; then
                echo "${unfinished# }" >&2
                exit \(unfinished)
            fi
            trap '' HUP
            \(asksNothing)
            enabled=$(systemctl is-enabled fleet-agent 2>/dev/null)
            active=$(systemctl is-active fleet-agent 2>/dev/null)
            again() {
                if [ "$enabled" = enabled ]; then systemctl --quiet enable fleet-agent; fi
                case $active in
                active | activating | reloading)
                    if systemctl start fleet-agent; then echo "the agent runs again"; else echo "the agent is off"; fi ;;
                esac >&2
            }
            # Another's lock is waited for, two minutes at most.
            remove() {
                tries=0
                until said=$(dpkg "--$1" fleet-agent </dev/null 2>&1); do
                    tries=$((tries + 1))
                    case $said in
                    *"is locked by"* | *"was locked by"*) if [ $tries -lt 60 ]; then sleep 2; continue; fi ;;
                    esac
                    printf '%s\n' "$said" | tail -n 4 >&2
                    return 1
                done
            }
            if systemctl cat fleet-agent >/dev/null 2>&1; then
                systemctl --quiet disable --now fleet-agent || { again; exit 1; }
            fi

            """
        // And again what began while it stopped.
        let rest = """
            if [ -n "$unfinished" ]; then
                again
                echo "${unfinished# }" >&2
                exit \(begun)
            fi
            \(package.map { "remove \($0) || { again; exit 1; }" } ?? ":")
            set -e
            \(isByHand ? "rm -f \(program)" : ":")
            if [ -f \(unit) ] && [ ! -L \(unit) ]; then \(isByHand ? keepsUnit ? keepUnit : "rm -f \(unit)" : ":"); fi
            systemctl daemon-reload
            systemctl reset-failed fleet-agent 2>/dev/null || true
            rm -rf --one-file-system \(upgrades) || exit \(leftovers)
            \(purges ? "{ rm -rf --one-file-system \(dropIns) && \(purge); } || exit \(leftovers)" : ":")

            """
        return beginning + findsUnfinished + stop + findsUnfinished + rest
    }

    /// Of a file system that is mounted there, all but the place.
    private static let purge =
        "if mountpoint -q \(state); then find \(state) -xdev -mindepth 1 -delete; else rm -rf --one-file-system \(state); fi"
}
