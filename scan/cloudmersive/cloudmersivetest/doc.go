// Package cloudmersivetest is a stand-in for the Cloudmersive Virus Scan API on
// loopback: it checks and records every request, answers as the service does,
// and fails in the ways that a service, or what stands before it, can fail.
//
// It is written from the service's documentation and the measured wire form,
// and shares no code with the client it is used to test. It detects malware by
// literal patterns (EICAR unless told otherwise) and judges the advanced options
// by a few obvious signs; it opens no archive and no document.
package cloudmersivetest
