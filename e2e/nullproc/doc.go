// Package nullproc is an ext_proc server that answers everything at once and
// scans nothing. The harness is tried with it, and the benchmark measures
// against it: it is the least that any processor costs. It shares no code with
// Portcullis.
package nullproc
