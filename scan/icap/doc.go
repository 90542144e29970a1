// Package icap scans objects with one service of an ICAP server (RFC 3507):
// c-icap, or the appliances that scanning vendors sell.
//
// An object travels as the body of an HTTP message made up for it. What the
// server answers is a verdict only in a few exact forms, because ICAP has no
// word for "clean": status 204 says "unchanged", and so does the object sent
// back byte for byte, which a server also does with what it did not scan. So
// CLEAN needs one of these two forms, every byte sent, and a recent proof that
// the server finds a known-bad file of the largest size given to it.
//
// It knows ICAP and the vocabulary of package scan. It must not know where
// objects come from, other engines, or how many servers there are: one [Engine]
// is one service, used without any retry but that on a connection which had
// gone stale; package fleet makes more of it.
package icap
