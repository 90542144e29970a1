// Package scan holds the words every other room shares: an [Object] is given
// to an [Engine], which answers with a [Verdict] (an [Outcome] and the [Cause]
// that names why), and a [Policy] turns the verdict into an [Action].
//
// It must not know any protocol (Envoy, gRPC, HTTP, clamd …), any storage and
// any configuration format, and imports the standard library only. Rooms below
// it import this package and never each other; the composition root
// (cmd/portcullis/app) hands them their parts.
package scan
