#!/bin/sh
# Starts three chat servers and two witnesses on this machine; Ctrl-C stops all.
# The same as "deno task cluster chat", whose flags it takes.
set -eu

# What runs Skein from a checkout where no Deno is installed.
deno_version=2.9.6

cluster=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/cluster.ts
if [ ! -f "$cluster" ]; then
  echo 'start_cluster.sh: It needs the checkout that it came with' >&2
  exit 2
fi
if command -v deno >/dev/null 2>&1; then
  exec deno run --quiet -A "$cluster" chat "$@"
fi
if command -v npx >/dev/null 2>&1; then
  exec npx -y "deno@$deno_version" run --quiet -A "$cluster" chat "$@"
fi
echo 'start_cluster.sh: There is neither deno nor npx: install Node or Deno' >&2
exit 2
