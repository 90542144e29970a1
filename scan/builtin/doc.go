// Package builtin is the embedded engine, which needs no daemon: it finds the
// EICAR test file and objects whose digest stands in a list. It is no
// replacement for an antivirus, and its CLEAN says no more than that neither
// was found.
//
// It knows bytes and hash lists. It must not know where objects come from, what
// is inside them, or other engines.
package builtin
