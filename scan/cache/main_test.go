package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/portcullis-av/portcullis/scan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engineFunc is a scan.Engine made of a function.
type engineFunc func(ctx context.Context, o scan.Object) (scan.Verdict, error)

func (e engineFunc) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) { return e(ctx, o) }

// counter counts the scans of an engine.
type counter struct {
	scan.Engine
	scans atomic.Int64
}

func (c *counter) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	c.scans.Add(1)
	return c.Engine.Scan(ctx, o)
}

// marker is what the test engine calls malware.
const marker = "malware"

// judge reads the whole object and finds the marker.
func judge(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	if err := ctx.Err(); err != nil {
		return scan.Verdict{}, &scan.Error{Kind: scan.KindOf(err), Op: "scan", Err: err}
	}
	if o.Size <= 0 {
		return scan.Verdict{}, &scan.Error{Kind: scan.KindInternal, Op: "scan"}
	}
	content := make([]byte, o.Size)
	if _, err := io.ReadFull(o.Reader(), content); err != nil {
		kind := scan.KindOf(err)
		if kind == scan.KindInternal {
			kind = scan.KindSpool
		}
		return scan.Verdict{}, &scan.Error{Kind: kind, Op: "scan", Err: err}
	}
	if bytes.Contains(content, []byte(marker)) {
		return scan.InfectedVerdict("Test.Malware"), nil
	}
	return scan.CleanVerdict(), nil
}

func object(s string) scan.Object {
	return scan.Object{
		Path: "body", Size: int64(len(s)), SHA256: sha256.Sum256([]byte(s)), Content: bytes.NewReader([]byte(s)),
	}
}

func always(version string) func() string { return func() string { return version } }

func newCache(t testing.TB, c Config) *Cache {
	t.Helper()
	if c.MemoryEntries == 0 {
		c.MemoryEntries = 1000
	}
	made, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// newEngine returns an engine behind a cache of its own, with known signatures.
func newEngine(t testing.TB, e engineFunc) (*Engine, *counter) {
	t.Helper()
	c := &counter{Engine: e}
	return newCache(t, Config{}).Engine(Identity{Name: "av"}, c, always("v1")), c
}

func mustScan(t testing.TB, e scan.Engine, o scan.Object, want scan.Outcome) scan.Verdict {
	t.Helper()
	v, err := e.Scan(t.Context(), o)
	if err != nil || v.Outcome != want {
		t.Fatalf("got %+v, %v; want %v", v, err, want)
	}
	return v
}
