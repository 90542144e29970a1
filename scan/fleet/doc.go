// Package fleet makes one dependable engine out of instances. It
//
//   - spreads scans over them, with a bound on those in flight on each and one
//     queue, bounded in time, before all of them (dispatch.go),
//   - leaves out an instance that breaks (breaker.go) or is much slower than the
//     others (pace.go),
//   - asks a second one when the first breaks, within a budget (budget.go),
//   - tells a slow body from a dead engine, and does not let the same body hurt
//     one instance after the other (poison.go),
//   - proves by canaries that detection works (health.go, watch.go).
//
// It must not know any engine's wire protocol, nor what a verdict leads to.
//
// Why a canary and not a ping: an engine can answer its ping and scan nothing
// (clamd without signatures, measured), so health is a known-bad object called
// infected and a clean one called clean.
package fleet
