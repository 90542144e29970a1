// Package origin is the server behind the gate. It does what a test told it to
// do for an exchange and records what reached it: headers, bytes, digest,
// trailers and when the first byte came; its tap counts every raw byte besides.
// It must not know what stands in front of it.
package origin
