# How scripts/test, scripts/newcomer and .ci/run do their parts: say what is done, count what came of it, go on after a
# failure. To be sourced by bash.

passed=0
failed=0
skipped=0

# say WORD TEXT: one line of the report.
say() {
    printf '%-8s %s\n' "$1" "$2"
}

skip() {
    skipped=$((skipped + 1))
    say skipped "$1"
}

# part NAME COMMAND…: runs a command whose output matters only when it fails.
part() {
    local name=$1 log began=$SECONDS
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1 </dev/null; then
        passed=$((passed + 1))
        say passed "$name ($((SECONDS - began)) s)"
    else
        failed=$((failed + 1))
        cat "$log"
        say FAILED "$name"
    fi
    rm -f "$log"
}

# count_from LOG: adds what the last "N passed, N failed[, N skipped]" of a log says. False if it has no such line.
count_from() {
    local line
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$1" | tail -n 1)
    [ -n "$line" ] || return 1
    # shellcheck disable=SC2086
    set -- ${line//[!0-9]/ }
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + ${3:-0}))
}

# counted COMMAND…: a command that prints as it goes and closes with its counts.
counted() {
    local log code
    log=$(mktemp)
    "$@" 2>&1 </dev/null | tee "$log"
    code=${PIPESTATUS[0]}
    if ! count_from "$log" || { [ "$code" -ne 0 ] && [ "$failed" -eq 0 ]; }; then
        failed=$((failed + 1))
        say FAILED "$*: exit code $code"
    fi
    rm -f "$log"
}

# The closing line, and the exit code to end with.
close() {
    if [ "$skipped" -gt 0 ]; then
        echo "$passed passed, $failed failed, $skipped skipped"
    else
        echo "$passed passed, $failed failed"
    fi
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
