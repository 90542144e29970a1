// Package wrap generates the ways in which a body can hide a file: one [Vector]
// for each, by the classes of the threat model (multipart forms, content codings,
// archives, embedded encodings, transfer protocols, responses, sizes, caches,
// injection), and random nests of harmless wrappings. The same seed gives the
// same bytes.
//
// It must not know how Portcullis takes bodies apart: encoders only, and it
// shares no code with what it tests.
package wrap
