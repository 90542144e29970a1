package builtin

import (
	"context"
	"crypto/md5"  //nolint:gosec // what the lists are made of
	"crypto/sha1" //nolint:gosec // what the lists are made of
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/portcullis-av/portcullis/scan"
)

// version changes with what this code itself detects.
const version = "builtin-1"

// readSize is how much content is looked at at once: it fits into a core's
// cache and keeps the number of reads low.
const readSize = 256 << 10

// Config says what the engine knows beside EICAR.
type Config struct {
	// HashLists are paths of files; see [List] for their form.
	HashLists []string
}

// Engine is immutable; to load changed lists make a new one.
type Engine struct {
	eicar      *pairs
	known      *digests
	lists      []List
	signatures scan.Signatures
	windows    sync.Pool // of *window
}

var (
	_ scan.Engine = (*Engine)(nil)
	_ scan.Signer = (*Engine)(nil)
)

// window is the part of the content being looked at, with the end of the part
// before it in front, so that nothing is missed at the seam.
type window [overlap + readSize]byte

// New reads the lists. The error names the file and line of everything that is
// wrong with them, up to a few lines a file; a list without entries is no error.
func New(c Config) (*Engine, error) {
	e := &Engine{eicar: eicarPairs(), known: newDigests()}
	all := sha256.New()
	_, _ = io.WriteString(all, version)
	var errs []error
	for _, path := range c.HashLists {
		list, err := load(path, e.known)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		_, _ = all.Write(list.SHA256[:])
		e.lists = append(e.lists, list)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	e.signatures.Version = version + "/" + hex.EncodeToString(all.Sum(nil)[:16])
	e.windows.New = func() any { return new(window) }
	return e, nil
}

// Lists tells what was loaded, in the order of the configuration, so that a
// list without entries can be reported.
func (e *Engine) Lists() []List { return e.lists }

// Signatures never fails. The version is a digest over the lists' contents, and
// Built is zero: lists do not say how old they are.
func (e *Engine) Signatures(context.Context) (scan.Signatures, error) { return e.signatures, nil }

var errNoDigest = errors.New("the content has no SHA-256 to compare with the hash lists")

// Scan reads the object once and does not wait for anything. CLEAN means that
// all o.Size bytes were read, that the EICAR test file is nowhere in them, and
// that no list has the object's digest. SHA-256 is o.Digest; it, MD5 and
// SHA-1 are taken if a list has an entry of the object's size.
//
// Errors are [*scan.Error]: KindSpool if the content could not be read whole,
// unless the reader's own error carries a kind; KindTimeout or KindCanceled if
// ctx ended; KindInternal for an empty object.
func (e *Engine) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	if o.Size <= 0 {
		return scan.Verdict{}, &scan.Error{
			Kind: scan.KindInternal, Op: "scan with the builtin engine", Err: fmt.Errorf("object of %d bytes", o.Size),
		}
	}
	if err := ctx.Err(); err != nil {
		return scan.Verdict{}, ended(err)
	}
	if e.known.sha256.concerns(o.Size) {
		sum := o.Digest()
		if sum == [32]byte{} {
			return scan.Verdict{}, &scan.Error{Kind: scan.KindSpool, Op: "take the digest of an object", Err: errNoDigest}
		}
		if name, ok := e.known.sha256.find(sum, o.Size); ok {
			return scan.InfectedVerdict(name), nil
		}
	}
	w := e.windows.Get().(*window)
	defer e.windows.Put(w)
	legacy := e.known.legacy(o.Size)
	found, err := e.inspect(ctx, o, w[:], legacy)
	switch {
	case err != nil:
		return scan.Verdict{}, err
	case found:
		return scan.InfectedVerdict(eicarName), nil
	}
	if name, ok := legacy.find(o.Size); ok {
		return scan.InfectedVerdict(name), nil
	}
	return scan.CleanVerdict(), nil
}

// inspect looks for EICAR in the whole object and, without EICAR, gives every
// byte to sums. The buffer is longer than overlap.
func (e *Engine) inspect(ctx context.Context, o scan.Object, buffer []byte, sums *legacySums) (found bool, err error) {
	kept := 0 // bytes in front that the window before ended with
	for off := int64(0); off < o.Size; {
		if err := ctx.Err(); err != nil {
			return false, ended(err)
		}
		n := int(min(int64(len(buffer)-kept), o.Size-off))
		fresh := buffer[kept : kept+n]
		if err := readFull(o.Content, fresh, off); err != nil {
			return false, err
		}
		if e.eicar.inside(buffer[:kept+n]) {
			return true, nil
		}
		sums.write(fresh)
		off += int64(n)
		seen := buffer[:kept+n]
		kept = copy(buffer, seen[max(len(seen)-overlap, 0):])
	}
	return false, nil
}

// readFull fills p from off. io.EOF beside a full p is no error; content that
// ends early is one.
func readFull(content io.ReaderAt, p []byte, off int64) error {
	n, err := content.ReadAt(p, off)
	if n == len(p) && (err == nil || err == io.EOF) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	kind := scan.KindOf(err)
	if kind == scan.KindInternal {
		kind = scan.KindSpool // a reader's error without a kind of its own
	}
	return &scan.Error{Kind: kind, Op: "read the object to scan", Err: err}
}

func ended(err error) error {
	return &scan.Error{Kind: scan.KindOf(err), Op: "scan with the builtin engine", Err: err}
}

// legacySums computes the older digests that lists know for one size; nil
// computes nothing.
type legacySums struct {
	known     *digests
	md5, sha1 hash.Hash // nil when no list has such an entry of the size
}

// legacy returns nil unless a list has an MD5 or SHA-1 entry of that size.
func (d *digests) legacy(size int64) *legacySums {
	needMD5, needSHA1 := d.md5.concerns(size), d.sha1.concerns(size)
	if !needMD5 && !needSHA1 {
		return nil
	}
	s := &legacySums{known: d}
	if needMD5 {
		s.md5 = md5.New() //nolint:gosec // what the lists are made of
	}
	if needSHA1 {
		s.sha1 = sha1.New() //nolint:gosec // what the lists are made of
	}
	return s
}

func (s *legacySums) write(p []byte) {
	if s == nil {
		return
	}
	if s.md5 != nil {
		_, _ = s.md5.Write(p)
	}
	if s.sha1 != nil {
		_, _ = s.sha1.Write(p)
	}
}

func (s *legacySums) find(size int64) (string, bool) {
	if s == nil {
		return "", false
	}
	if s.md5 != nil {
		if name, ok := s.known.md5.find([md5.Size]byte(s.md5.Sum(nil)), size); ok {
			return name, true
		}
	}
	if s.sha1 != nil {
		return s.known.sha1.find([sha1.Size]byte(s.sha1.Sum(nil)), size)
	}
	return "", false
}
