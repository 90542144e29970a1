package content_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"io"
	"sync"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/content"
)

// eicar is the harmless test file of all antivirus programs, never written out
// in one piece.
func eicar() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD` + `-ANTIVIRUS-TEST-FILE!$H+H*`)
}

// memoryStore keeps bodies in memory and counts those that are open.
type memoryStore struct {
	mu   sync.Mutex
	open int
	kept int64 // bytes written to all bodies
	fail error // what every Write returns
}

func (s *memoryStore) Open(limit int64, _ bool) scan.Body {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	return &memoryBody{store: s, limit: limit}
}

type memoryBody struct {
	store  *memoryStore
	limit  int64
	data   []byte
	sealed bool
	closed bool
}

func (b *memoryBody) Append(p []byte) error { _, err := b.Write(p); return err }

func (b *memoryBody) Write(p []byte) (int, error) {
	switch {
	case b.store.fail != nil:
		return 0, b.store.fail
	case b.sealed || b.closed:
		return 0, errors.New("write after seal")
	case int64(len(b.data)+len(p)) > b.limit:
		return 0, scan.ErrTooLarge
	}
	b.data = append(b.data, p...)
	b.store.mu.Lock()
	b.store.kept += int64(len(p))
	b.store.mu.Unlock()
	return len(p), nil
}

func (b *memoryBody) Seal() error      { b.sealed = true; return nil }
func (b *memoryBody) Size() int64      { return int64(len(b.data)) }
func (b *memoryBody) SHA256() [32]byte { return sha256.Sum256(b.data) }
func (b *memoryBody) Checksum() uint32 {
	return crc32.Checksum(b.data, crc32.MakeTable(crc32.Castagnoli))
}

func (b *memoryBody) ReadAt(p []byte, off int64) (int, error) {
	if b.closed || !b.sealed {
		return 0, errors.New("read of a body that is not sealed or closed")
	}
	return bytes.NewReader(b.data).ReadAt(p, off)
}

func (b *memoryBody) Slice(off int64, limit int) ([]byte, error) {
	if off >= b.Size() {
		return nil, io.EOF
	}
	return b.data[off:min(b.Size(), off+int64(limit))], nil
}

func (b *memoryBody) Close() error {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	if !b.closed {
		b.store.open--
	}
	b.closed = true
	return nil
}

// unwrapped is what one call of Unwrap found.
type unwrapped struct {
	verdict scan.Verdict
	paths   []string
	objects map[string][]byte
	names   map[string]string
	kept    int64 // bytes put into the store
}

// has reports whether some object is exactly want.
func (u unwrapped) has(want []byte) bool {
	for _, o := range u.objects {
		if bytes.Equal(o, want) {
			return true
		}
	}
	return false
}

func bodyObject(data []byte) scan.Object {
	return scan.Object{Path: "body", Size: int64(len(data)), SHA256: sha256.Sum256(data), Content: bytes.NewReader(data)}
}

// unwrap runs Unwrap and asserts what holds of every call.
func unwrap(t testing.TB, data []byte, labels scan.Labels, limits scan.ContentLimits, config content.Config) unwrapped {
	t.Helper()
	store := &memoryStore{}
	config.Store = store
	got := unwrapped{objects: map[string][]byte{}, names: map[string]string{}}
	digests := map[[32]byte]string{sha256.Sum256(data): "body"}
	v, closer := content.New(config).Unwrap(context.Background(), bodyObject(data), labels, limits, func(o scan.Object) {
		b, err := io.ReadAll(o.Reader())
		if err != nil || int64(len(b)) != o.Size || len(b) == 0 || sha256.Sum256(b) != o.SHA256 {
			t.Errorf("object %s: read %d of %d bytes, error %v, digest agrees: %v", o.Path, len(b), o.Size, err, sha256.Sum256(b) == o.SHA256)
		}
		if before, dup := digests[o.SHA256]; dup {
			t.Errorf("object %s equals %s, which was reported before", o.Path, before)
		}
		digests[o.SHA256] = o.Path
		got.paths = append(got.paths, o.Path)
		got.objects[o.Path] = b
		got.names[o.Path] = o.Name
	})
	if closer == nil {
		t.Fatal("the closer is nil")
	}
	if err := closer.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if store.open != 0 {
		t.Errorf("%d layers are open after Close", store.open)
	}
	if v.Outcome == scan.OutcomeUndecided || v.Outcome == scan.OutcomeInfected || v.Cause == "" {
		t.Errorf("verdict %+v is none that an Unwrapper may return", v)
	}
	got.verdict = v
	got.kept = store.kept
	return got
}

func (u unwrapped) wantVerdict(t testing.TB, o scan.Outcome, c scan.Cause) {
	t.Helper()
	if u.verdict.Outcome != o || u.verdict.Cause != c {
		t.Errorf("verdict is %s/%s (%s: %s), want %s/%s; objects %q", u.verdict.Outcome, u.verdict.Cause, u.verdict.Object, u.verdict.Detail, o, c, u.paths)
	}
}

func (u unwrapped) wantClean(t testing.TB) {
	t.Helper()
	u.wantVerdict(t, scan.OutcomeClean, scan.CauseScanned)
}

func (u unwrapped) wantObject(t testing.TB, path string, data []byte) {
	t.Helper()
	if got, ok := u.objects[path]; !ok || !bytes.Equal(got, data) {
		t.Errorf("object %s is %.80q (found: %v), want %.80q; objects %q", path, got, ok, data, u.paths)
	}
}

func labelled(contentType string, codings ...string) scan.Labels {
	l := scan.Labels{ContentEncoding: codings}
	if contentType != "" {
		l.ContentType = []string{contentType}
	}
	return l
}
