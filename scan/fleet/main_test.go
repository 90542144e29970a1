package fleet_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine is a scan.Engine made of a function.
type engine func(ctx context.Context, o scan.Object) (scan.Verdict, error)

func (e engine) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) { return e(ctx, o) }

// right detects the test file, as any engine should.
func right(_ context.Context, o scan.Object) (scan.Verdict, error) {
	b, err := io.ReadAll(o.Reader())
	if err != nil {
		return scan.Verdict{}, err
	}
	if bytes.Contains(b, []byte("EICAR")) {
		return scan.InfectedVerdict("Eicar"), nil
	}
	return scan.CleanVerdict(), nil
}

func blind(context.Context, scan.Object) (scan.Verdict, error) { return scan.CleanVerdict(), nil }

func failure(kind scan.Kind, what string) error {
	return &scan.Error{Kind: kind, Op: "scan", Err: errors.New(what)}
}

// dead refuses connections: it reads nothing.
func dead(context.Context, scan.Object) (scan.Verdict, error) {
	return scan.Verdict{}, failure(scan.KindUnreachable, "refused")
}

// dying reads the object and breaks the connection.
func dying(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	if _, err := right(ctx, o); err != nil {
		return scan.Verdict{}, err
	}
	return scan.Verdict{}, failure(scan.KindUnreachable, "connection closed after 0 bytes of a reply")
}

func garbled(context.Context, scan.Object) (scan.Verdict, error) {
	return scan.Verdict{}, failure(scan.KindProtocol, "garbage")
}

func busy(context.Context, scan.Object) (scan.Verdict, error) {
	return scan.Verdict{}, failure(scan.KindOverload, "busy")
}

func hanging(ctx context.Context, _ scan.Object) (scan.Verdict, error) {
	<-ctx.Done()
	return scan.Verdict{}, &scan.Error{Kind: scan.KindOf(ctx.Err()), Op: "wait for the verdict", Err: ctx.Err()}
}

// taking answers rightly after a while.
func taking(d time.Duration) engine {
	return func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return right(ctx, o)
		case <-ctx.Done():
			return hanging(ctx, o)
		}
	}
}

// changing is an engine that behaves as it is told, canaries included.
type changing struct{ is atomic.Pointer[engine] }

func newChanging(e engine) *changing {
	c := &changing{}
	c.set(e)
	return c
}

func (c *changing) set(e engine) { c.is.Store(&e) }

func (c *changing) scan(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	return (*c.is.Load())(ctx, o)
}

// counting counts what an engine is asked, canaries left out.
func counting(n *atomic.Int32, e engine) engine {
	return func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
		if o.Path != "canary" {
			n.Add(1)
		}
		return e(ctx, o)
	}
}

// sparing leaves canaries to an engine that is right.
func sparing(e engine) engine {
	return func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
		if o.Path == "canary" {
			return right(ctx, o)
		}
		return e(ctx, o)
	}
}

func object(s string) scan.Object {
	return scan.Object{Path: "body", Size: int64(len(s)), SHA256: sha256.Sum256([]byte(s)), Content: strings.NewReader(s)}
}

func newFleet(t *testing.T, o fleet.Options, engines ...engine) *fleet.Fleet {
	t.Helper()
	var is []fleet.Instance
	for i, e := range engines {
		is = append(is, fleet.Instance{Label: string(rune('a' + i)), Engine: e})
	}
	f, err := fleet.New("av", is, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// run runs the fleet's probes until the returned function is called. Within a
// bubble of synctest it must be.
func run(t *testing.T, f *fleet.Fleet) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	return func() { cancel(); <-done }
}

func wantClean(t *testing.T, f *fleet.Fleet, o scan.Object) {
	t.Helper()
	if v, err := f.Scan(t.Context(), o); err != nil || v.Outcome != scan.OutcomeClean {
		t.Errorf("got %+v, %v, want CLEAN", v, err)
	}
}

func wantKind(t *testing.T, f *fleet.Fleet, o scan.Object, want scan.Kind) {
	t.Helper()
	v, err := f.Scan(t.Context(), o)
	if err == nil || scan.KindOf(err) != want {
		t.Errorf("got %+v, %v, want an error of kind %v", v, err, want)
	}
}

func wantUnscannable(t *testing.T, v scan.Verdict, err error, want scan.Cause) {
	t.Helper()
	if err != nil || v.Outcome != scan.OutcomeUnscannable || v.Cause != want {
		t.Errorf("got %+v, %v, want UNSCANNABLE %s", v, err, want)
	}
}
