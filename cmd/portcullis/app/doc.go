// Package app is the composition root: the command line, and the only place
// that hands the rooms their parts (build.go is the only file that names
// engines). It is importable, so that its own tests run whole commands in
// process.
//
// It holds no decision about bodies; those are the gate's and the policy's.
package app
