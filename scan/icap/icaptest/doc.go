// Package icaptest stands in for ICAP servers in tests: [Start] runs a fake in
// the test's own process, [StartReal] runs the installed c-icap with its
// virus_scan service.
//
// The fake is strict about framing, speaks the way each of several products
// does, misbehaves on demand, and shares no code with the client it tests. It
// must not import any other room.
package icaptest
