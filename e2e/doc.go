// Package e2e proves the promise with real parts: client, a real Envoy, the
// real portcullis binary, real clamd, a fake Cloudmersive and an origin that
// records what reached it.
//
// It is the only room that starts processes, and the only one whose tests may
// know every other room from outside. It must not reach into their insides: it
// asserts what a client, an origin, a log line and a metric show.
//
// The script install fetches what is missing. A test whose part is missing is
// skipped with the reason, and fails when CI=true.
package e2e
