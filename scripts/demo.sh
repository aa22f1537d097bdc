#!/usr/bin/env bash
# Shows the product on this computer, with the real programs and in a temporary folder: a vendor with a signed repository and a
# backend, and a customer with one seat and two servers. Nothing outside the folder changes, and it is removed at the end.
#
# Each command is shown as it is typed on the machine that the prompt names, with what it printed. License keys are shortened,
# because the output may be recorded.
set -euo pipefail

cd "$(dirname "$0")/.."
source=$PWD
export PATH=$PATH:$HOME/.cargo/bin
target=${CARGO_TARGET_DIR:-$source/target}

fail() {
    printf '\ndemo: FAILED: %s\n' "$*" >&2
    exit 1
}

if [[ -z ${ELS_DEMO_BUILT-} ]]; then
    echo "Building els-register and els-backend (the first time, this takes a few minutes) ..."
    cargo build --quiet --locked -p els-register -p els-backend
fi
if ((EUID != 0)); then
    echo "The servers of this demo are mounted, which needs root:"
    exec sudo env ELS_DEMO_BUILT=1 CARGO_TARGET_DIR="$target" "$source/scripts/demo.sh"
fi
for tool in dnf rpmbuild rpmsign createrepo_c gpg openssl unshare setpriv strace; do
    command -v "$tool" >/dev/null || fail "the program $tool is missing: run scripts/install-dependencies demo"
done

place=$(mktemp -d "${TMPDIR:-/tmp}/els-demo-XXXXXX")
backend_process=
clean_up() {
    local status=$?
    trap - EXIT
    [[ -z $backend_process ]] || kill "$backend_process" 2>/dev/null || true
    gpgconf --homedir "$place/keys" --kill all 2>/dev/null || true
    rm -rf "$place"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$place"

# ---- Output -----------------------------------------------------------------------------------------------------------

if [[ -t 1 && -z ${NO_COLOR-} ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
step=0
key=

# chapter TITLE LINE...: begins a chapter and says what it shows.
chapter() {
    step=$((step + 1))
    printf '\n%s%d. %s%s\n' "$bold" "$step" "$1" "$plain"
    shift
    printf '   %s\n' "$@"
    echo
}

# Prints standard input without the key and the name of the temporary folder. dnf reports a signing key once for each section that
# names it; it is shown once.
shown() {
    local text
    text=$(awk '
        /^Importing GPG key/ { again = seen[$0]++; if (again) next }
        again && /^ / { next }
        { again = 0; print }
    ')
    [[ -z $key ]] || text=${text//"$key"/"${key:0:9}-…"}
    printf '%s\n' "${text//"$place"/}"
}

# prompt MACHINE WORD...: shows a command line.
prompt() {
    local machine=$1 line='' word
    shift
    for word; do
        if [[ $word =~ [^A-Za-z0-9_./:=,@%+-] && $word != '&' ]]; then word="'$word'"; fi
        line+=" $word"
    done
    printf '   %s%s#%s%s\n' "$dim" "$machine" "$plain" "$(shown <<<"$line")"
}

# run STATUS COMMAND...: runs it, shows what it prints, and fails unless it exits with STATUS.
run() {
    local expected=$1 output status=0
    shift
    output=$("$@" 2>&1 </dev/null) || status=$?
    [[ -z $output ]] || printf '%s\n' "$output" | shown | sed 's/^/   /'
    [[ $status == "$expected" ]] || fail "exit status $status instead of $expected: $(printf '%s ' "$@" | shown)"
    ((status == 0)) || printf '   %s(exit status %s)%s\n' "$dim" "$status" "$plain"
    echo
}

# on MACHINE STATUS WORD...: shows and runs a command on one of the customer's servers, on its real paths.
on() {
    local machine=$1 expected=$2
    shift 2
    prompt "$machine" "$@"
    run "$expected" testkit/fixtures/enter-machine "$place/$machine" "$@"
}

# vendor WORD...: shows and runs a command of the backend.
vendor() {
    prompt vendor els-backend "$@"
    run 0 "$target/debug/els-backend" "$@" --database "sqlite://$place/els.db"
}

# ---- The vendor's side ------------------------------------------------------------------------------------------------

# package RELEASE: builds a small package and signs it.
package() {
    rpmbuild -bb --quiet --define "_topdir $place/rpmbuild" --define 'tiny_name example' --define "tiny_release $1" \
        testkit/fixtures/tiny.spec
    rpmsign --addsign --define '_gpg_name els@example.com' --define "_gpg_path $place/keys" --define "__gpg $(command -v gpg)" \
        "$place/rpmbuild/RPMS/noarch/example-1.0-$1.noarch.rpm"
}

# Prints the sections that registering enables, and the folders where dnf looks for them.
sections() {
    awk -F = '
        /^\[/ { section = substr($1, 2, length($1) - 2) }
        $1 == "baseurl" { folder = $2; sub("^[$]els_url/", "", folder); sub("[$]basearch", "x86_64", folder) }
        $1 == "enabled" && $2 == 1 { print section, folder }
    ' dist/repo-files/els-almalinux-9.repo
}

build_repository() {
    mkdir -m 700 "$place/keys"
    gpg --homedir "$place/keys" --batch --quiet --passphrase '' --pinentry-mode loopback \
        --quick-gen-key els@example.com rsa2048 sign
    gpg --homedir "$place/keys" --armor --export els@example.com >"$place/RPM-GPG-KEY-EXAMPLE"
    package 1
    package 2
    local section folder
    while read -r section folder; do
        folder=$place/packages/$folder
        mkdir -p "$folder"
        [[ $section != els-updates ]] || cp "$place"/rpmbuild/RPMS/noarch/*.rpm "$folder"
        createrepo_c --quiet "$folder"
        gpg --homedir "$place/keys" --batch --detach-sign --armor "$folder/repodata/repomd.xml"
    done < <(sections)
}

make_certificates() {
    local ec=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
    openssl req -x509 "${ec[@]}" -subj '/CN=An authority for this demonstration' -days 2 \
        -keyout "$place/ca.key" -out "$place/ca.pem"
    openssl req -x509 "${ec[@]}" -subj '/CN=localhost' -days 2 -CA "$place/ca.pem" -CAkey "$place/ca.key" \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -addext 'basicConstraints=critical,CA:FALSE' \
        -keyout "$place/server.key" -out "$place/server.pem"
}

# Starts the backend on a free port and sets `server`.
start_backend() {
    setpriv --pdeathsig KILL -- "$target/debug/els-backend" serve --database "sqlite://$place/els.db" \
        --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --repo-root "$place/packages" \
        --tls-cert "$place/server.pem" --tls-key "$place/server.key" 2>"$place/backend.log" &
    backend_process=$!
    local address=
    for _ in {1..200}; do
        address=$(sed -n 's/.*"listen":"\([^"]*\)".*/\1/p' "$place/backend.log" | head -n 1)
        [[ -z $address ]] || break
        kill -0 "$backend_process" 2>/dev/null || break
        sleep 0.1
    done
    [[ -n $address ]] || fail "the backend did not start: $(cat "$place/backend.log")"
    server=https://$address
}

# ---- The customer's side ----------------------------------------------------------------------------------------------

# new_server NAME: makes a server with AlmaLinux 9.6, and els-register installed and configured as by the vendor's RPM.
new_server() {
    local root=$place/$1
    testkit/fixtures/new-machine "$root"
    install -D "$target/debug/els-register" "$root/opt/bin/els-register"
    install -D -m 644 "$place/RPM-GPG-KEY-EXAMPLE" "$root/etc/pki/els/RPM-GPG-KEY-EXAMPLE"
    # The CA is where Debian's libraries look for it, because the programs in these machines are Debian's.
    install -D -m 644 "$place/ca.pem" "$root/etc/ssl/certs/ca-certificates.crt"
    printf 'server = "%s"\ngpg_key = "/etc/pki/els/RPM-GPG-KEY-EXAMPLE"\n' "$server" >"$root/etc/els-register.toml"
}

# ---- What is shown ----------------------------------------------------------------------------------------------------

chapter "A vendor has packages" \
    "example-1.0-1 and its update 1.0-2 are built with rpmbuild and signed. They are in a repository whose metadata is" \
    "signed too. Servers find it through the sections of dist/repo-files/els-almalinux-9.repo."
(build_repository) >"$place/build.log" 2>&1 || fail "the repository could not be built: $(cat "$place/build.log")"
(cd "$place/packages" && find . -name '*.rpm' -o -name 'repomd.xml*' | sort | sed 's/^\./   /')

chapter "The vendor starts the backend" \
    "els-backend is one program with one database file. It counts seats, and it decides who may fetch packages (the gate)." \
    "Here it also serves the packages; on a large site, nginx or Caddy serves them and asks the gate."
make_certificates >"$place/build.log" 2>&1 || fail "the certificates could not be made: $(cat "$place/build.log")"
prompt vendor els-backend serve --repo-root /srv/packages --tls-cert server.pem --tls-key server.key '&'
start_backend
printf '   listening on %s\n' "$server"

chapter "The vendor sells a contract for one server" \
    "The license key is printed once: the backend keeps only its hash."
sale=(key create --seats 1 --expires 2099-12-31 --contract DEMO-1)
made=$("$target/debug/els-backend" "${sale[@]}" --database "sqlite://$place/els.db" 2>&1) || fail "the key could not be made: $made"
key=$(grep -o 'ELS-[0-9A-Z-]*' <<<"$made")
key_id=$(grep -o 'k-[0-9a-z]*-[0-9a-z]*' <<<"$made")
prompt vendor els-backend "${sale[@]}"
shown <<<"$made" | sed 's/^/   /'

chapter "The customer registers a server" \
    "One request takes the seat. Then els-register checks that the repository can be read, and writes a repo file, three" \
    "dnf variables and the public signing key. It does not store the license key."
new_server web1
on web1 0 els-register --key "$key"
on web1 0 sed -n '/^\[els-updates\]/,/^$/p' /etc/yum.repos.d/els.repo
on web1 0 els-register --status

chapter "dnf installs and updates as usual" \
    "dnf fetches the package through the gate, checks the signatures of metadata and package, and finds the update."
on web1 0 dnf --quiet --assumeyes install example-1.0-1
on web1 0 dnf --quiet --assumeyes update
on web1 0 rpm -q example

chapter "A second server finds no free seat" \
    "The contract has one seat. The error says what to do, and nothing was written on the server."
new_server web2
on web2 6 els-register --key "$key"
on web2 0 ls /etc/yum.repos.d /etc/dnf/vars

chapter "The seat moves to the second server" \
    "Unregistering releases the seat at once, and another server can take it. This can be repeated without limit." \
    "Installed packages stay."
on web1 0 els-register --unregister
on web1 0 dnf --quiet repolist --all
on web2 0 els-register --key "$key"
on web2 0 dnf --quiet --assumeyes install example
on web2 0 els-register --seats --key "$key"
on web2 0 els-register --unregister

chapter "A registration is interrupted and run again" \
    "The backend has assigned the seat, but the server loses power before it has written all its files (here strace kills" \
    "els-register when it renames a file for the third time). The next run continues with the same seat."
prompt web1 els-register --key "$key"
status=0
(
    strace -f -qq -o /dev/null -e trace=rename,renameat,renameat2 \
        -e inject=rename,renameat,renameat2:signal=KILL:when=3 \
        -- "$target/debug/els-register" --root "$place/web1" --ca-file "$place/ca.pem" --key "$key"
    exit $?
) >/dev/null 2>&1 || status=$?
((status == 137)) || fail "els-register was not killed: exit status $status"
printf '   Killed\n\n'
vendor seat list "$key_id"
on web1 0 dnf --quiet repolist
on web1 0 els-register --key "$key"
vendor seat list "$key_id"
seats=$("$target/debug/els-backend" seat list "$key_id" --json --database "sqlite://$place/els.db" | grep -c '"registration"')
((seats == 1)) || fail "$seats seats are taken by one registered machine"
on web1 0 dnf --quiet --assumeyes reinstall example

chapter "All seats are accounted for" \
    "The seat is released. \`els-backend check\` compares the seat counts with the registrations and the audit log."
on web1 0 els-register --unregister
vendor check
vendor key show "$key_id"

printf '\n%sdemo: SUCCESS: one seat was registered, used by dnf, refused to a second server, moved, and kept through a crash.%s\n' \
    "$bold" "$plain"
