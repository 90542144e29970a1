// Package clamdtest stands in for ClamAV's daemon in tests: [Start] runs a fake
// in the test's own process, [StartReal] runs the installed clamd with a tiny
// database of its own.
//
// The fake does what clamd 1.4.6 was seen to do, and shares no code with the
// client it tests. It must not import any other room.
package clamdtest
