#!/usr/bin/env bash
# Do what a newcomer does: `make run`, paste the curl line that it prints, end it with Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."
export PGSIDECAR_HTTP__PORT=${PGSIDECAR_HTTP__PORT:-17432} # a developer's own may be running
export PGSIDECAR_OPS__PORT=${PGSIDECAR_OPS__PORT:-17433}
unset PGSIDECAR_UPSTREAM__DSN
deadline_s=120
output=$(mktemp)

main() {
    make --no-print-directory run >"$output" 2>&1 &
    make=$!
    trap clean_up EXIT
    local line answer service family
    line=$(wait_for_curl_line)
    answer=$(bash -c "$line")
    grep -q '"row_count"' <<<"$answer" || fail "the pasted line answered: $answer"
    family=$(list_family $make)
    service=${family%% *}
    kill -INT "$service"
    wait $make || fail "make run ended with status $? after SIGINT"
    wait_until_gone $family
    echo "make run: $line answered, and SIGINT left no process."
}

wait_for_curl_line() {
    until grep -m1 -oE 'curl -s http://.*' "$output"; do
        kill -0 $make 2>/dev/null || fail "make run ended by itself"
        [ $SECONDS -lt $deadline_s ] || fail "make run printed no curl line within $deadline_s s"
        sleep 0.1
    done
}

list_family() { # pids below a process, the eldest first
    local child
    for child in $(cat /proc/"$1"/task/*/children); do
        echo -n "$child "
        list_family "$child"
    done
}

wait_until_gone() {
    local pid deadline=$((SECONDS + 10))
    for pid in "$@"; do
        while [ -d "/proc/$pid" ]; do
            [ $SECONDS -lt $deadline ] || fail "process $pid is left after SIGINT"
            sleep 0.1
        done
    done
}

fail() {
    echo "smoke test: $*; make run printed:" >&2
    cat "$output" >&2
    exit 1
}

clean_up() {
    kill -TERM $make 2>/dev/null || true # make hands it on
    rm -f "$output"
}

main
