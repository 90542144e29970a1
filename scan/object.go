package scan

import (
	"context"
	"io"
	"time"
)

// Object is one thing to scan: a raw body, or a part, decoded layer, archive
// member or embedded file of it. It is complete: engines never see a body that
// is still arriving.
type Object struct {
	// Path says where in the body the object was found, in our own words:
	// "body", "body/gzip", "body/part[2]".
	Path string
	// Name is the file name the sender gave, if any. Untrusted: never a path,
	// never logged or sent unescaped.
	Name string
	// ContentType is the label the sender gave, if any. Untrusted: it may add
	// checks, never skip one.
	ContentType string
	// Size is the number of bytes in Content.
	Size int64
	// SHA256 is the digest of Content, if it is known already; see Digest.
	SHA256 [32]byte
	// Content is read by several engines at once; it stays readable until the
	// Scan call that was given the object returns.
	Content io.ReaderAt
}

// Reader returns a new reader over the whole content.
func (o Object) Reader() *io.SectionReader { return io.NewSectionReader(o.Content, 0, o.Size) }

// Digest is the SHA-256 of the content, taken now if it has to be and the content
// can (a [Body] does it once). Zero: it is not to be had. An engine that needs it
// for its verdict must take that for an error.
func (o Object) Digest() [32]byte {
	if o.SHA256 != [32]byte{} {
		return o.SHA256
	}
	if c, ok := o.Content.(interface{ SHA256() [32]byte }); ok {
		return c.SHA256()
	}
	return [32]byte{}
}

// Engine judges one object.
//
// Scan returns [OutcomeClean] only by positive proof that all bytes were judged. What
// the content itself provokes (over a limit, encrypted, malformed) is a verdict;
// what the infrastructure does (unreachable, time-out, a reply that proves
// nothing) is an error, always an [*Error]. An object of 0 bytes must not be
// given to an engine; engines answer it with an error of [KindInternal]. When
// ctx ends, Scan returns soon with an error of [KindCanceled] or [KindTimeout],
// having freed its connection. Scan is safe for concurrent use.
type Engine interface {
	Scan(ctx context.Context, o Object) (Verdict, error)
}

// Signatures says how old and which an engine's knowledge is.
type Signatures struct {
	// Version is opaque and compared for equality only.
	Version string
	// Built is zero when unknown.
	Built time.Time
}

// Signer is an [Engine] that can tell its signature version.
type Signer interface {
	Signatures(ctx context.Context) (Signatures, error)
}
