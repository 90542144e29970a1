// Package cloudmersive is a [scan.Engine] that has objects judged by the
// Cloudmersive Virus Scan API, hosted or private: one HTTP POST an object, to
// /virus/scan/file or /virus/scan/file/advanced.
//
// It must not know where objects come from, which other engines exist, or how
// its settings are written down. It keeps no queue and no breaker: at most one
// retry an object is all it does by itself (see [Config.Retry]); how many scans
// run at once is the caller's business.
//
// What it relies on of the service is taken from the vendor's JavaScript SDK
// 1.4.0 (paths, header and member names, the multipart form as measured on the
// wire). What the service does on errors is not documented, so nothing but an
// exact positive reply counts as clean.
//
// # Why the transport is driven without an http.Client
//
// An http.Client follows redirects unless told otherwise, carries the Apikey
// header to the other host and posts the body again on a 307. A bare
// http.RoundTripper cannot: every 3xx comes back as the failure it is.
package cloudmersive
