// Package config reads the one YAML file that sets Portcullis up. The file is
// defined by the proto portcullis.config.v1 beside this package: its comments
// are the user's manual (REFERENCE.md is made from them), its options hold the
// defaults and the ranges.
//
// Reading is strict, and every mistake is reported at once with its line, its
// column, the path of the field and what to do. The steps, each in the file of
// its name: source (is it one sane YAML document), shape (does the tree fit the
// proto), decode, defaults, rules (the proto's ranges), meaning (names, addresses
// and sizes that must fit together), and for [Load] files (what the configuration
// points at can be read).
//
// It must not know what the settings do: no engine, policy or listener is built
// here, and CEL is compiled by a [Check] that the composition root hands in.
//
// Why words and not enums: `fail: closed` is what people write; a proto enum
// would want FAIL_CLOSED.
package config

//go:generate ./protodeps.sh
//go:generate sh -c "cd ../../.. && buf generate"
//go:generate go test -run ^TestReference$ . -update
