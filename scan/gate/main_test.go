package gate_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// golden compares got with a file of testdata, or rewrites it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if that is meant, run the test with -update\n%s", path, diff)
	}
}

// rig is a gate whose parts the test chooses.
type rig struct {
	policy  scan.Policy
	broken  error // what choosing the policy fails with
	engines map[string]scan.Engine
	store   *store
	unwrap  unwrapper

	mu      sync.Mutex
	records []*gate.Record
}

func newRig() *rig {
	r := &rig{
		policy: scan.Policy{
			Name: "default", Engines: []string{"av"}, ScanRequest: true, ScanResponse: true, Enforce: true,
			MaxBodyBytes: 1000, ScanTimeout: 30 * time.Second, UploadTimeout: time.Minute,
		},
		engines: map[string]scan.Engine{"av": clean},
		store:   &store{},
	}
	r.unwrap = finds()
	return r
}

func (r *rig) setup() gate.Setup {
	return gate.Setup{Policies: r, Engines: r.engines, Store: r.store, Unwrap: r.unwrap, Observer: r}
}

func (r *rig) Choose(scan.Attributes, string) (*scan.Policy, error) {
	if r.broken != nil {
		return nil, r.broken
	}
	return &r.policy, nil
}

func (r *rig) Observe(rec *gate.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, rec)
}

// begin starts an exchange about whose request nothing is known but headers.
func (r *rig) begin() *gate.Exchange {
	return gate.New(r.setup()).Begin(context.Background(), gate.Head{}, "")
}

// body is what most tests hold and judge.
const body = "a body of an exchange"

// hold plans the request leg and holds a body on it.
func hold(t *testing.T, x *gate.Exchange) {
	t.Helper()
	if p := x.Plan(scan.Request, gate.Head{ContentLength: -1}, true); !p.Hold {
		t.Fatalf("the plan is %+v, want hold", p)
	}
	if d, _, ok := x.Append(scan.Request, []byte(body)); !ok {
		t.Fatalf("the body was not held: %+v", d)
	}
}

// judge holds a body, has it judged and returns the decision; the exchange is
// finished then.
func (r *rig) judge(t *testing.T) gate.Decision {
	t.Helper()
	x := r.begin()
	defer x.Finish("complete")
	hold(t, x)
	done := make(chan gate.Judgement, 1)
	x.Judge(t.Context(), scan.Request, func(j gate.Judgement) { done <- j })
	return x.Decide(scan.Request, <-done)
}

// engine is a scan.Engine made of a function.
type engine func(ctx context.Context, o scan.Object) (scan.Verdict, error)

func (e engine) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) { return e(ctx, o) }

func says(v scan.Verdict) engine {
	return func(context.Context, scan.Object) (scan.Verdict, error) { return v, nil }
}

func fails(k scan.Kind) engine {
	return func(context.Context, scan.Object) (scan.Verdict, error) {
		return scan.Verdict{}, &scan.Error{Kind: k, Op: "scan", Err: errors.New("evil text")}
	}
}

var (
	clean    = says(scan.CleanVerdict())
	infected = says(scan.InfectedVerdict("Eicar"))
	panics   = engine(func(context.Context, scan.Object) (scan.Verdict, error) { panic("a decoder broke") })
	// waits until it is told to stop, as a slow engine that heeds its context.
	waits = engine(func(ctx context.Context, _ scan.Object) (scan.Verdict, error) {
		<-ctx.Done()
		return scan.Verdict{}, &scan.Error{Kind: scan.KindOf(ctx.Err()), Op: "scan", Err: ctx.Err()}
	})
)

// unwrapper is a scan.Unwrapper made of a function.
type unwrapper func(ctx context.Context, o scan.Object, found func(scan.Object)) (scan.Verdict, io.Closer)

func (u unwrapper) Unwrap(ctx context.Context, o scan.Object, _ scan.Labels, _ scan.ContentLimits, found func(scan.Object)) (scan.Verdict, io.Closer) {
	return u(ctx, o, found)
}

// finds returns an unwrapper that finds objects of these paths and proves that
// it was everything.
func finds(paths ...string) unwrapper {
	return func(_ context.Context, _ scan.Object, found func(scan.Object)) (scan.Verdict, io.Closer) {
		for _, p := range paths {
			content := []byte(p)
			found(scan.Object{Path: p, Size: int64(len(content)), SHA256: sha256.Sum256(content), Content: bytes.NewReader(content)})
		}
		return scan.CleanVerdict(), io.NopCloser(nil)
	}
}

// store opens bodies in memory and remembers them.
type store struct {
	appendErr, sealErr error  // what every body fails with
	closing            func() // called before a body is closed

	mu     sync.Mutex
	bodies []*memory
}

func (s *store) Open(limit int64, _ bool) scan.Body {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &memory{store: s, limit: limit}
	s.bodies = append(s.bodies, b)
	return b
}

// closes tells how often each body was closed.
func (s *store) closes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []int
	for _, b := range s.bodies {
		b.mu.Lock()
		all = append(all, b.closed)
		b.mu.Unlock()
	}
	return all
}

// memory is a scan.Body that tells what was done with it.
type memory struct {
	store *store
	limit int64

	mu     sync.Mutex
	data   []byte
	closed int
}

func (b *memory) Append(p []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.store.appendErr != nil {
		return b.store.appendErr
	}
	if int64(len(b.data)+len(p)) > b.limit {
		return scan.ErrTooLarge
	}
	b.data = append(b.data, p...)
	return nil
}

func (b *memory) Write(p []byte) (int, error) { return len(p), b.Append(p) }
func (b *memory) Seal() error                 { return b.store.sealErr }
func (b *memory) SHA256() [32]byte            { return sha256.Sum256(b.data) }
func (b *memory) Checksum() uint32            { return crc32.Checksum(b.data, crc32.MakeTable(crc32.Castagnoli)) }

func (b *memory) Size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(len(b.data))
}

func (b *memory) ReadAt(p []byte, off int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed > 0 {
		return 0, &scan.Error{Kind: scan.KindInternal, Op: "read a closed body"}
	}
	return bytes.NewReader(b.data).ReadAt(p, off)
}

func (b *memory) Slice(off int64, limit int) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if off >= int64(len(b.data)) {
		return nil, io.EOF
	}
	return b.data[off:min(off+int64(limit), int64(len(b.data)))], nil
}

func (b *memory) Close() error {
	if b.store.closing != nil {
		b.store.closing()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed++
	return nil
}
