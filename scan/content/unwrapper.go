package content

import (
	"context"
	"errors"
	"io"

	"github.com/portcullis-av/portcullis/scan"
)

// Config is what an [Unwrapper] is made of.
type Config struct {
	// Store keeps decoded layers. Required.
	Store scan.Store
}

// Unwrapper finds the objects inside bodies. It may be used by many goroutines
// at once; each call is independent.
type Unwrapper struct {
	config Config
	pools  *pools
	tables *tables
}

var _ scan.Unwrapper = (*Unwrapper)(nil)

// New returns an Unwrapper. It starts no goroutine and needs no closing.
func New(config Config) *Unwrapper {
	return &Unwrapper{config: config, pools: newPools(), tables: newTables()}
}

// Unwrap implements [scan.Unwrapper].
//
// The path of an object begins with body.Path ("body" if empty) and adds one
// word a layer: "body/gzip", "body/part[2]". Objects equal in SHA-256 to body
// or to an earlier one are not reported again, empty ones not at all. Windows
// of body (identity parts) are readable as long as body is; decoded layers
// until the closer is closed.
//
// The verdict is CLEAN only when nothing was left unread. Its outcome is
// UNSCANNABLE or POLICY for what the content does, and ERROR when ctx ended,
// the store failed or the body could not be read back; the cause is that of the
// [scan.Error]. Zero limits stand for [DefaultLimits].
func (u *Unwrapper) Unwrap(ctx context.Context, body scan.Object, labels scan.Labels, limits scan.ContentLimits, found func(scan.Object)) (verdict scan.Verdict, closer io.Closer) {
	w := newWalk(ctx, u, body, effective(limits), found)
	closer = &w.layers
	defer func() {
		if p := recover(); p != nil {
			w.fail(&scan.Error{Kind: scan.KindInternal, Op: "unwrap a body", Err: errors.New("panic: " + scan.PanicText(p))})
			verdict = w.verdict
		}
	}()
	w.run(labels)
	return w.verdict, closer
}
