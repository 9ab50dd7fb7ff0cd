# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For the cases tests/cases/cli-*, which tests/run-case runs: LKM_RUN, ROOT, an empty current folder.
set -euo pipefail

watcher=
trap '[[ -z $watcher ]] || kill "$watcher" 2>/dev/null || true' EXIT

fail() {
	printf 'FAIL: %s\n' "$1" >&2
	[[ ! -s watch.log ]] || sed 's/^/    watch: /' watch.log >&2
	exit 1
}

lkm() { "$LKM_RUN" "$@"; }

# expect CODE COMMAND...: it must end with that exit status; its output is in $said.
expect() {
	local code=0
	said=$("${@:2}" 2>&1) || code=$?
	((code == $1)) || fail "'${*:2}' ended with $code in place of $1: $said"
}

# says TEXT: $said must hold it.
says() { [[ $said == *"$1"* ]] || fail "this should say '$1': $said"; }

# prints REGEXP COMMAND...: whether a line of its output matches. Not by `COMMAND | grep -q`: that ends a command that
# still has something to say, and then the pipe has failed.
prints() {
	local text
	text=$("${@:2}" 2>&1) || return
	grep -qe "$1" <<<"$text"
}

# until_true SECONDS COMMAND...
until_true() {
	local deadline=$((SECONDS + $1))
	until "${@:2}"; do
		((SECONDS < deadline)) || fail "not within $1 s: ${*:2}"
		sleep 0.05
	done
}

# start_watch ARGUMENT...: its words go to watch.log.
start_watch() {
	: >watch.log # here, as what the last one said must not be taken for this one's
	"$LKM_RUN" watch "$@" >watch.log 2>&1 & # not by lkm(): that pid would be a subshell's
	watcher=$!
}
# start_watch_on_terminal ARGUMENT...: the same on a pseudo terminal, with press() as its keyboard. Its exit
# status goes to watch.code; the terminal's settings before and after it to stty.before and stty.after.
start_watch_on_terminal() {
	local command
	command=$(printf '%q ' "$LKM_RUN" watch "$@")
	rm -f keys
	: >watch.log
	mkfifo keys
	exec {keyboard}<>keys
	TERM=dumb script --quiet --flush --return /dev/null --command \
		"stty -g >stty.before; $command; echo \$? >watch.code; stty -g >stty.after" <keys >watch.log 2>&1 &
	watcher=$!
}
press() { printf '%s' "$1" >&"$keyboard"; }
# end_watch_on_terminal CODE: it has ended, with that exit status, and left the terminal as it was.
end_watch_on_terminal() {
	wait "$watcher" || true
	watcher=
	exec {keyboard}>&-
	[[ $(<watch.code) == "$1" ]] || fail "the watcher ended with $(<watch.code) in place of $1"
	[[ $(<stty.after) == "$(<stty.before)" ]] || fail "the terminal has other settings now"
}
watched() {
	kill -0 "$watcher" || fail "the watcher ended"
	(($(grep -c -- "$2" watch.log || true) >= $1))
}
# wait_watch COUNT PATTERN: until the watcher has said it COUNT times.
wait_watch() { until_true 150 watched "$1" "$2"; }

# Ctrl-C ends it with 130.
stop_watch() {
	local code=0
	kill -INT "$watcher"
	wait "$watcher" || code=$?
	watcher=
	((code == 130)) || fail "the watcher ended with $code in place of 130"
}

# start_flow ARGUMENT...: sets $flow to its number.
start_flow() {
	local json
	json=$(lkm flow start --json "$@")
	flow=$(sed -n 's/.*"id":\([0-9]*\).*/\1/p' <<<"$json")
	[[ -n $flow ]] || fail "no flow started: $json"
}

# end_flow ID: every byte must have arrived, and some must have been sent.
end_flow() {
	expect 0 lkm flow stop "$1" --json
	local verified
	verified=$(sed -n 's/.*"bytes_verified":\([0-9]*\).*/\1/p' <<<"$said")
	((verified > 100000)) || fail "flow $1 sent nothing: $said"
}

# generation MODULE: that is loaded now.
generation() {
	lkm ls --json | sed -n 's/.*"generation":\([0-9]*\),"name":"'"$1"'".*/\1/p'
}
