// Package gate decides about bodies, for every door: plan at the headers, hold
// what must be scanned, judge it when it is complete, and say whether it is
// released or refused.
//
// It must not know Envoy, gRPC or any other door's protocol, nor how bodies are
// kept, unwrapped or scanned: those parts are handed to it. A door creates one
// [Exchange] per HTTP transaction and uses it from one goroutine.
package gate
