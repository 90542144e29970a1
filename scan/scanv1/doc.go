// Package scanv1 is ScanService: scanning single objects over gRPC, without
// Envoy. It holds the proto portcullis.scan.v1 (below portcullis/scan/v1, where
// its package name wants it), the code generated from it, and the server, which
// turns a stream of chunks into one reader and a verdict into a message.
//
// It must not know how objects are held, judged or counted: a [Scanner] and a
// [Lister] are handed in. TLS, reflection, health, recovery and logging are the
// composition root's.
package scanv1

//go:generate sh -c "cd ../.. && cmd/portcullis/config/protodeps.sh && buf generate"
