#!/bin/sh
# Puts the one foreign .proto file that ours import where buf.yaml looks for it.
# It comes out of a Go module, so that the ordinary Go proxy and checksum
# database serve it and buf needs no registry. Run from anywhere; then run
# "buf lint" or "buf generate" at the top.
set -eu
module=github.com/bufbuild/protovalidate@v1.2.2
cd "$(dirname "$0")/../../.."
target=.cache/proto/buf/validate/validate.proto
stamp=.cache/proto/$(basename "$module")
[ -f "$target" ] && [ -f "$stamp" ] && exit 0
# Outside our own module, whose go.mod must not learn of it.
dir=$(cd / && GOFLAGS=-mod=mod GOWORK=off go mod download -json "$module" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
[ -n "$dir" ] || { echo "protodeps: cannot get $module" >&2; exit 1; }
mkdir -p "$(dirname "$target")"
cat "$dir/proto/protovalidate/buf/validate/validate.proto" > "$target"
: > "$stamp"
