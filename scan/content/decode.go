package content

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/portcullis-av/portcullis/scan"
)

// errTrailing is what a decoder ends with that left bytes unread.
var errTrailing = errors.New("bytes after the end of the data")

// decoder opens one format. The reader it returns ends with io.EOF only at a
// well-formed end; done gives its memory back.
type decoder struct {
	word string
	open func(src *bufio.Reader) (r io.Reader, done func(), err error)
}

// decoded is what a decoder made of a node.
type decoded struct {
	layer scan.Body // what came out, sealed; nil if the limits stopped it
	err   error     // what is wrong with the content; nil if it decoded whole
}

// decode runs d over all of n. Its error is a failure of our side or errHalt;
// what is wrong with the content is in the result, and limits are noted.
func (w *walk) decode(n *node, d decoder) (decoded, error) {
	return w.decodeRange(n, d, 0, n.obj.Size)
}

// decodeRange is decode over the bytes [off, end) of n. Ratios are judged
// against all of n.
func (w *walk) decodeRange(n *node, d decoder, off, end int64) (decoded, error) {
	src := newSource(w.ctx, n.obj.Content, off, end)
	buf := w.u.pools.buffer(src)
	defer w.u.pools.giveBuffer(buf)
	r, done, err := guarded(d, buf)
	if src.err != nil {
		return decoded{}, src.err
	}
	if err != nil {
		return decoded{err: err}, nil
	}
	defer done()
	res, err := w.expand(n, r, n.obj.Size)
	if src.err != nil {
		return decoded{}, src.err
	}
	if err != nil || res.layer == nil || res.err != nil {
		return res, err
	}
	if _, err := buf.ReadByte(); err == nil {
		res.err = errTrailing
	}
	return res, src.err
}

// errDefect is what a decoder ends with that panicked. The content made it do
// so, hence this is a fault of the content and no failure of ours.
var errDefect = errors.New("the decoder failed")

// guarded opens d so that no content can do worse than end the data.
func guarded(d decoder, src *bufio.Reader) (r io.Reader, done func(), err error) {
	defer func() {
		if recover() != nil {
			r, done, err = nil, nil, errDefect
		}
	}()
	r, done, err = d.open(src)
	return guard{r}, done, err
}

type guard struct{ r io.Reader }

func (g guard) Read(p []byte) (n int, err error) {
	defer func() {
		if recover() != nil {
			n, err = 0, errDefect
		}
	}()
	return g.r.Read(p)
}

// expand copies all that r yields into a new layer. wrapped is the number of
// bytes that r is made from.
func (w *walk) expand(n *node, r io.Reader, wrapped int64) (decoded, error) {
	block := w.u.pools.block()
	defer w.u.pools.giveBlock(block)
	layer := w.u.config.Store.Open(w.limits.MaxExpandedBytes-w.expanded, true)
	w.layers.bodies = append(w.layers.bodies, layer)
	for idle := 0; ; {
		if err := w.ctx.Err(); err != nil {
			return decoded{}, err
		}
		k, rerr := r.Read(*block)
		if idle++; k > 0 {
			idle = 0
		}
		ok, err := w.account(n, layer.Size(), int64(k), wrapped)
		if err != nil {
			return decoded{}, err
		}
		if !ok {
			return decoded{}, layer.Close()
		}
		if ok, err := w.keep(n, layer, (*block)[:k]); err != nil || !ok {
			return decoded{}, err
		}
		if idle > 100 {
			rerr = io.ErrNoProgress
		}
		if rerr == nil {
			continue
		}
		if err := layer.Seal(); err != nil {
			return decoded{}, fmt.Errorf("seal a decoded layer: %w", err)
		}
		if errors.Is(rerr, io.EOF) {
			rerr = nil
		}
		return decoded{layer: layer, err: rerr}, nil
	}
}

// keep writes p to a layer. A store with a smaller limit than ours makes a
// statement about the content.
func (w *walk) keep(n *node, layer scan.Body, p []byte) (bool, error) {
	switch _, err := layer.Write(p); {
	case errors.Is(err, scan.ErrTooLarge):
		w.refuse(n, scan.CauseExpansion, "expands to more bytes than the store takes")
		return false, nil
	case err != nil:
		return false, fmt.Errorf("keep a decoded layer: %w", err)
	}
	return true, nil
}

// account charges k more bytes of output to the limits: the absolute one first,
// since no ratio catches a coding that makes 600,000 bytes of one.
func (w *walk) account(n *node, before, k, wrapped int64) (ok bool, err error) {
	w.expanded += k
	if w.expanded > w.limits.MaxExpandedBytes {
		w.expanded -= k
		w.refuse(n, scan.CauseExpansion, "expands to more bytes than the limit")
		return false, nil
	}
	if out := before + k; out > ratioFrom && out/w.limits.MaxRatio >= max(wrapped, 1) {
		return false, w.bomb(n, "expands beyond the permitted ratio")
	}
	if w.expanded > ratioFrom && w.expanded/w.limits.MaxRatio >= w.root.Size {
		return false, w.bomb(n, "all layers together expand beyond the permitted ratio")
	}
	return true, nil
}
