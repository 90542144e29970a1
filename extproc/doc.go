// Package extproc is the ext_proc door: it speaks Envoy's external-processing
// protocol (envoy.service.ext_proc.v3) and brings bodies to the gate.
//
// It knows Envoy's messages and nothing of engines, content or storage. Inside,
// the exchange is a pure state machine (machine.go: events in, actions out; no
// gRPC, clock or goroutine), messages become events in message.go, answers are
// built in answer.go only, and one goroutine per stream (stream.go) owns the
// machine, performs its actions and is the only sender.
//
// Why a clean end is never returned early: when an ext_proc server ends the
// stream with OK, Envoy passes the rest of the exchange unscanned, whatever its
// failure mode says (measured with Envoy 1.40.0). A stream of ours ends with OK
// only after Envoy has closed its side, or after the exchange was refused.
package extproc
