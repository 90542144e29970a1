// Package scantest is the conformance suite that every [scan.Engine] passes,
// fake backend and real one alike: what [scan.Engine] promises in words is here
// promised in tests.
//
// It knows the vocabulary of package scan only: no engine, no wire protocol and
// no backend. What a backend can do to an engine is handed in as a [Rig].
package scantest
