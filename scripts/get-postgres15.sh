#!/usr/bin/env bash
# Unpack Postgres 15 into .cache/postgresql-15, once, where it isn't installed.
#
# It comes as packages of Debian 12, with the libraries that it needs. This machine's own apt entries
# are copied into a private folder with the release's name replaced, so apt downloads from where it
# always does and checks the signatures. Needs no root and installs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
release=bookworm
installed=/usr/lib/postgresql/15/bin/postgres
home=$PWD/.cache/postgresql-15

main() {
    local log=$PWD/.cache/postgresql-15.log failed
    if [ -x $installed ] || [ -x "$home$installed" ]; then return; fi
    mkdir -p "$PWD/.cache"
    echo "Fetching Postgres 15 ..." >&2
    set +e # in a condition bash would ignore errors inside fetch
    (set -e; fetch) >"$log" 2>&1
    failed=$?
    set -e
    if [ $failed = 0 ]; then return; fi
    echo "Postgres 15 can't be fetched here ($(tail -n 1 "$log"); see $log): install it with" \
        "apt-get install postgresql-15, or put its programs into $(dirname $installed)." >&2
    exit 1
}

fetch() { # prints what goes wrong
    local tool work now names
    for tool in apt-get dpkg-deb; do
        command -v "$tool" >/dev/null || { echo "$tool is missing"; return 1; }
    done
    work=$(mktemp -d "$home.XXXXXX")
    # shellcheck disable=SC2064  # $work is local: expand it now
    trap "rm -rf '$work'" EXIT
    now=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mkdir -p "$work"/{parts,lists/partial,cache/archives/partial,packages,root}
    : >"$work/status" # without the real list of packages apt offers what is installed, too
    copy_one_line_entries "$now" >"$work/parts/copied.list"
    copy_stanzas "$now" >"$work/parts/copied.sources"
    local apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts"
        -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status"
        -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none)
    "${apt[@]}" update
    names=$("${apt[@]}" -s install --no-install-recommends postgresql-15 | list_needed)
    cd "$work/packages"
    # shellcheck disable=SC2086  # one word per package
    "${apt[@]}" download $names
    for package in *.deb; do dpkg-deb -x "$package" "$work/root"; done
    arrange "$work/root"
    mv "$work/root" "$home"
}

copy_one_line_entries() { # this release
    find /etc/apt -name '*.list' -exec grep -hE "^deb .* $1(-security|-updates)? +main" {} + |
        sed -E "s/ $1( |-)/ $release\1/"
}

copy_stanzas() { # this release
    local stanzas
    stanzas=$(find /etc/apt -name '*.sources' -exec awk -v RS= -v ORS='\n\n' -v release="$1" '
        "\n" $0 "\n" ~ "\nSuites:[^\n]* " release "(-security|-updates)?[ \n]" && /Components:.* main/
        ' {} +)
    sed -E "s/^Types:.*/Types: deb/; /^Suites:/s/\b$1\b/$release/g" <<<"$stanzas"
}

list_needed() { # programs and libraries; no libc of another release, no compiler, no Perl
    awk '$1 == "Inst" {print $2}' | grep -E '^(postgresql-(client-)?15|lib.*)$' |
        grep -vE '^libc6$|^libc-|^libllvm|^libz3|perl'
}

arrange() { # make the programs find their libraries, wherever the folder goes
    local root=$1 program
    rm -rf "$root"/usr/share/{doc,man,locale} "$root/usr/lib/postgresql/15/lib/llvmjit.so"
    find "$root" -xtype l -delete
    for program in postgres initdb psql; do
        program=$root/usr/lib/postgresql/15/bin/$program
        mv "$program" "$program.real"
        cat >"$program" <<'EOF'
#!/bin/sh
root=${0%/usr/lib/*}
libraries=$(echo "$root"/usr/lib/*-linux-* "$root"/lib/*-linux-* | tr ' ' :)
LD_LIBRARY_PATH=$libraries exec "$0.real" "$@"
EOF
        chmod 755 "$program"
    done
}

main
