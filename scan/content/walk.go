package content

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// errHalt ends a walk whose verdict cannot change any more, or that may report
// no further object. The reason has been noted.
var errHalt = errors.New("unwrapping is over")

// kind is a sort of wrapping; each has a depth limit of its own.
type kind uint8

const (
	byCoding kind = iota
	byTransfer
	byMultipart
	byArchive
	byEmbedding
	kinds
)

// node is an object that is to be looked into.
type node struct {
	obj scan.Object
	up  *node
	// codings are still to be undone, the last one first.
	codings []string
	// transfer is a Content-Transfer-Encoding to be undone before the codings.
	transfer string
	// lenient says that n is read in every way instead of being refused when it
	// is malformed.
	lenient bool
	// whole says that all of n is one compressed file, so that what looks like an
	// archive within it is compressed data.
	whole  bool
	depth  int
	levels [kinds]uint8
}

// piece says what a found object is, beside its bytes.
type piece struct {
	word        string // our own word for the path
	name        string // sender's file name
	contentType string
	codings     []string
	transfer    string
	kind        kind
	lenient     bool
}

// visit identifies a node whose examination would repeat an earlier one.
type visit struct {
	digest                         [32]byte
	contentType, codings, transfer string
}

// walk is the unwrapping of one body. Nodes wait on a stack: nothing recurses.
type walk struct {
	ctx     context.Context //nolint:containedctx // a walk lives for one call of Unwrap
	u       *Unwrapper
	limits  scan.ContentLimits
	found   func(scan.Object)
	root    scan.Object
	verdict scan.Verdict
	layers  layers

	todo     []*node
	reported map[[32]byte]struct{}
	visited  map[visit]struct{}
	objects  int
	parts    int
	expanded int64 // bytes of all decoded layers
	windows  int64 // bytes of all windows
}

func newWalk(ctx context.Context, u *Unwrapper, body scan.Object, limits scan.ContentLimits, found func(scan.Object)) *walk {
	if body.Path == "" {
		body.Path = "body"
	}
	return &walk{
		ctx: ctx, u: u, limits: limits, found: found, root: body,
		verdict: scan.CleanVerdict(), objects: 1,
	}
}

// run looks into the body and everything found in it.
func (w *walk) run(labels scan.Labels) {
	if w.root.Size == 0 {
		w.verdict.Cause = scan.CauseEmpty
		return
	}
	root := &node{obj: w.root}
	root.obj.ContentType = w.typeOf(root, labels.ContentType)
	root.codings = w.codingsOf(root, labels.ContentEncoding)
	w.todo = append(w.todo, root)
	for len(w.todo) > 0 {
		n := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		err := w.examine(n)
		if errors.Is(err, errHalt) {
			return
		}
		if err != nil {
			w.fail(err)
			return
		}
	}
}

// note records a finding about n; the worst one becomes the verdict.
func (w *walk) note(n *node, o scan.Outcome, c scan.Cause, detail string) {
	w.verdict = w.limits.Worse(w.verdict, scan.Verdict{Outcome: o, Cause: c, Object: n.obj.Path, Detail: detail})
}

// refuse notes that n cannot be judged whole.
func (w *walk) refuse(n *node, c scan.Cause, detail string) {
	w.note(n, scan.OutcomeUnscannable, c, detail)
}

// bomb notes that n expands beyond reason and ends the walk: such a body is
// blocked whatever else is in it.
func (w *walk) bomb(n *node, detail string) error {
	w.note(n, scan.OutcomePolicy, scan.CauseBomb, detail)
	return errHalt
}

// fail records a failure of the infrastructure.
func (w *walk) fail(err error) {
	v := scan.ErrorVerdict(err)
	v.Object = w.root.Path
	w.verdict = w.limits.Worse(w.verdict, v)
}

// examine finds the objects directly inside n. Its error ends the walk.
func (w *walk) examine(n *node) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	switch {
	case n.transfer != "":
		return w.undoTransfer(n)
	case len(n.codings) > 0:
		return w.undoCoding(n)
	}
	return w.look(n)
}

// window reports the bytes [off, end) of n as an object, without copying them.
// They are written to the sums too.
func (w *walk) window(n *node, p piece, off, end int64, sums ...io.Writer) error {
	if off >= end || w.tooDeep(n, p) {
		return nil
	}
	// Windows cost no memory but are read again; overlapping ones, as lenient
	// readings have, must not multiply from layer to layer.
	if w.windows += end - off; w.windows/maxReadings > w.root.Size+w.expanded {
		w.refuse(n, scan.CauseExpansion, "the same bytes in too many objects")
		return errHalt
	}
	content := io.NewSectionReader(n.obj.Content, off, end-off)
	digest, err := w.digest(content, sums)
	if err != nil {
		return err
	}
	return w.report(n, p, scan.Object{Size: end - off, SHA256: digest, Content: content})
}

// layer reports a sealed body that was decoded from n.
func (w *walk) layer(n *node, p piece, b scan.Body) error {
	if b.Size() == 0 || w.tooDeep(n, p) {
		return nil
	}
	return w.report(n, p, scan.Object{Size: b.Size(), SHA256: b.SHA256(), Content: b})
}

func (w *walk) tooDeep(n *node, p piece) bool {
	if n.depth < w.limits.MaxDepth {
		return false
	}
	w.refuse(n, scan.CauseTooDeep, "more layers than the limit: "+p.word)
	return true
}

// report hands an object to the caller unless an equal one went before, and
// puts it on the stack.
func (w *walk) report(up *node, p piece, o scan.Object) error {
	o.Path = up.obj.Path + "/" + p.word
	o.Name = clip(p.name, maxName)
	o.ContentType = p.contentType
	w.knowRoot(up)
	for a := up; a != nil; a = a.up {
		if a.obj.SHA256 == o.SHA256 && (p.kind == byArchive || p.kind == byCoding) {
			return w.bomb(up, "contains itself: "+p.word)
		}
	}
	if err := w.announce(up, o); err != nil {
		return err
	}
	v := visit{digest: o.SHA256, contentType: p.contentType, codings: strings.Join(p.codings, ","), transfer: p.transfer}
	if _, done := w.visited[v]; done {
		return nil
	}
	if w.visited == nil {
		w.visited = make(map[visit]struct{})
	}
	w.visited[v] = struct{}{}
	n := &node{obj: o, up: up, codings: p.codings, transfer: p.transfer, lenient: p.lenient, depth: up.depth + 1, levels: up.levels}
	n.levels[p.kind]++
	w.todo = append(w.todo, n)
	return nil
}

// knowRoot takes the root's digest when there is something to compare it with: a
// body with nothing inside needs none.
func (w *walk) knowRoot(inside *node) {
	if w.root.SHA256 != [32]byte{} {
		return
	}
	w.root.SHA256 = w.root.Digest()
	for n := inside; n != nil; n = n.up {
		if n.up == nil {
			n.obj.SHA256 = w.root.SHA256
		}
	}
}

// announce calls found once a digest.
func (w *walk) announce(up *node, o scan.Object) error {
	if _, done := w.reported[o.SHA256]; done || o.SHA256 == w.root.SHA256 {
		return nil
	}
	if w.objects >= w.limits.MaxObjects {
		w.refuse(up, scan.CauseTooManyObjects, "more objects than the limit")
		return errHalt
	}
	if w.reported == nil {
		w.reported = make(map[[32]byte]struct{})
	}
	w.reported[o.SHA256] = struct{}{}
	w.objects++
	w.found(o)
	return nil
}

func (w *walk) digest(r *io.SectionReader, sums []io.Writer) ([32]byte, error) {
	buf := w.u.pools.block()
	defer w.u.pools.giveBlock(buf)
	src := newSource(w.ctx, r, 0, r.Size())
	h := sha256.New()
	for {
		k, err := src.Read(*buf)
		h.Write((*buf)[:k])
		for _, s := range sums {
			_, _ = s.Write((*buf)[:k]) // a hash never fails
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return [32]byte{}, err
		}
	}
	var sum [32]byte
	h.Sum(sum[:0])
	return sum, nil
}

func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(strings.Clone(s[:limit]), "")
}
