// Package clamd scans objects with one ClamAV daemon, by INSTREAM over a unix
// socket or TCP.
//
// It knows clamd's wire protocol and the vocabulary of package scan. It must
// not know where objects come from, other engines, or how many daemons there
// are: one [Engine] is one daemon, used without any retry; package fleet makes
// more of it. The limits of the daemon cannot be read over the wire, so whoever
// builds the engine has to prove them by canaries.
package clamd
