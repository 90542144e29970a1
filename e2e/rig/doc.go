// Package rig starts and watches the processes of the end-to-end tests and of
// the benchmark: Envoy and portcullis. It knows nothing of testing, of what is
// sent through them, or of what ought to happen; whoever starts a process stops
// it.
package rig
