// Package fleet makes one dependable engine out of instances: it bounds the
// scans in flight on each, fails over to another instance when one breaks, tells
// a slow body from a dead engine, and proves by canaries that detection works.
//
// It must not know any engine's wire protocol, nor what a verdict leads to.
//
// Why a canary and not a ping: an engine can answer its ping and scan nothing
// (clamd without signatures, measured), so health is a known-bad object called
// infected and a clean one called clean.
package fleet
