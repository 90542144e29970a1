package scan

import (
	"context"
	"errors"
	"io"
)

// ErrTooLarge is returned by [Body] when the limit it was opened with is passed.
// It is a statement about content (UNSCANNABLE), not an [*Error].
var ErrTooLarge = errors.New("body is larger than its limit")

// Body is the one owner of bytes being held: a wire body while it arrives and
// is released, or a decoded layer of it. It has one writer; once sealed it may
// be read by many at once.
type Body interface {
	// Write adds a copy of p to the end. The error is [ErrTooLarge], or an
	// [*Error] of KindOverload (budget) or KindSpool (disk); then nothing of p
	// was added and the body keeps what it had. After an overload the same Write
	// may be tried again, after the others the body takes no more.
	io.Writer
	// Seal ends the writing; the digest of all bytes is known from then on.
	Seal() error
	// Size is the number of bytes held so far.
	Size() int64
	// SHA256 is the digest of all bytes, valid once sealed: what the object is.
	// A body that was opened without it reads itself once, by whoever asks first;
	// it is zero if that fails.
	SHA256() [32]byte
	// Checksum is the CRC-32C (Castagnoli) of the bytes held so far. Whoever
	// reads the body back to send it on compares: it tells whether memory or
	// disk gave back what was scanned, at a tenth of the cost of a digest.
	// Nobody but this process can write to either, so there is no adversary
	// against whom a digest would do more.
	Checksum() uint32
	// ReadAt may be called concurrently, once nothing is added any more. An error
	// that is not io.EOF is an [*Error] of KindSpool.
	io.ReaderAt
	// Close gives memory, disk and budget back; reading afterwards is a defect
	// that returns an error. Closing twice is fine.
	Close() error
}

// Store opens bodies against one shared budget of memory and disk.
type Store interface {
	// Open returns an empty body that takes at most limit bytes. digest says that
	// its SHA256 will be wanted, so that it is taken while the body arrives.
	Open(limit int64, digest bool) Body
}

// Labels are what the sender says about a body; all of it untrusted.
type Labels struct {
	// ContentType and ContentEncoding hold every header line of that name, in
	// order, unparsed.
	ContentType, ContentEncoding []string
}

// Unwrapper finds the objects inside a complete body.
type Unwrapper interface {
	// Unwrap calls found once for every object inside body, in any order and
	// from the calling goroutine, and never for body itself. It returns what
	// the wrapping alone proves: CLEAN when everything was unwrapped, else the
	// reason it could not be (UNSCANNABLE, POLICY) or the failure (ERROR).
	// Objects found stay readable until the closer is closed; it is never nil.
	Unwrap(ctx context.Context, body Object, labels Labels, limits ContentLimits, found func(Object)) (Verdict, io.Closer)
}
