package scantest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// backend is the switchable other side of the model engine.
type backend struct {
	mu           sync.Mutex
	broken, hung bool
}

func (b *backend) set(broken, hung bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken, b.hung = broken, hung
}

func (b *backend) state() (broken, hung bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.broken, b.hung
}

// model keeps every promise of scan.Engine.
type model struct{ backend *backend }

func (m model) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	if o.Size == 0 {
		return scan.Verdict{}, &scan.Error{Kind: scan.KindInternal, Op: "scan an empty object"}
	}
	broken, hung := m.backend.state()
	if broken {
		return scan.Verdict{}, &scan.Error{Kind: scan.KindUnreachable, Op: "connect"}
	}
	if hung {
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return scan.Verdict{}, &scan.Error{Kind: scan.KindOf(err), Op: "scan", Err: err}
	}
	content := make([]byte, o.Size)
	if _, err := io.ReadFull(o.Reader(), content); err != nil {
		return scan.Verdict{}, &scan.Error{Kind: scan.KindOf(err), Op: "read content", Err: err}
	}
	if bytes.Contains(content, EICAR()) {
		return scan.InfectedVerdict("EICAR"), nil
	}
	return scan.CleanVerdict(), nil
}

func modelRig(spoil func(scan.Engine) scan.Engine) func(t *testing.T) Rig {
	return func(*testing.T) Rig {
		b := &backend{}
		return Rig{
			Engine: spoil(model{b}),
			Break:  func(t *testing.T) { b.set(true, false); t.Cleanup(func() { b.set(false, false) }) },
			Hang:   func(t *testing.T) { b.set(false, true); t.Cleanup(func() { b.set(false, false) }) },
		}
	}
}

func TestConformanceAcceptsTheModel(t *testing.T) {
	Conformance(t, modelRig(func(e scan.Engine) scan.Engine { return e }))
}

// engineFunc is one faulty engine.
type engineFunc func(ctx context.Context, o scan.Object) (scan.Verdict, error)

func (f engineFunc) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) { return f(ctx, o) }

// defects are engines that break one promise each, and the subtest that says so.
var defects = map[string]struct {
	caughtBy string
	spoil    func(scan.Engine) scan.Engine
}{
	"calls everything clean": {"bad_is_INFECTED", func(scan.Engine) scan.Engine {
		return engineFunc(func(context.Context, scan.Object) (scan.Verdict, error) { return scan.CleanVerdict(), nil })
	}},
	"calls everything bad": {"clean_is_CLEAN", func(scan.Engine) scan.Engine {
		return engineFunc(func(context.Context, scan.Object) (scan.Verdict, error) { return scan.InfectedVerdict("x"), nil })
	}},
	"names no threat": {"bad_is_INFECTED", after(func(v scan.Verdict, err error) (scan.Verdict, error) {
		v.Threats = nil
		return v, err
	})},
	"gives no cause": {"clean_is_CLEAN", after(func(v scan.Verdict, err error) (scan.Verdict, error) {
		v.Cause = ""
		return v, err
	})},
	"fails open": {"backend_unreachable", after(func(v scan.Verdict, err error) (scan.Verdict, error) {
		if scan.KindOf(err) == scan.KindUnreachable {
			return scan.CleanVerdict(), nil
		}
		return v, err
	})},
	"says clean beside an error": {"content_shorter_than_its_size", after(func(v scan.Verdict, err error) (scan.Verdict, error) {
		if err != nil {
			v = scan.CleanVerdict()
		}
		return v, err
	})},
	"returns plain errors": {"content_fails_in_the_middle", after(func(v scan.Verdict, err error) (scan.Verdict, error) {
		if err != nil {
			err = errors.New(err.Error())
		}
		return v, err
	})},
	"trusts an empty object": {"empty_object", before(func(_ context.Context, o scan.Object) bool { return o.Size == 0 })},
	"skips by name":          {"labels_change_nothing", before(func(_ context.Context, o scan.Object) bool { return o.Name == "image.png" })},
	"ignores its context": {"backend_hangs", func(e scan.Engine) scan.Engine {
		return engineFunc(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hurry+2*grace)
			defer cancel()
			return e.Scan(ctx, o)
		})
	}},
	"starts with an ended context": {"context_ended_before", before(func(ctx context.Context, _ scan.Object) bool { return ctx.Err() != nil })},
	"takes what it can read": {"content_shorter_than_its_size", func(e scan.Engine) scan.Engine {
		return engineFunc(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			content, err := io.ReadAll(o.Reader())
			if err == nil && len(content) > 0 {
				o.Content, o.Size = bytes.NewReader(content), int64(len(content))
			}
			return e.Scan(ctx, o)
		})
	}},
	"scans up to a failing read": {"content_fails_in_the_middle", func(e scan.Engine) scan.Engine {
		return engineFunc(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			content, err := io.ReadAll(o.Reader())
			if err != nil && len(content) > 0 {
				o.Content, o.Size = bytes.NewReader(content), int64(len(content))
			}
			return e.Scan(ctx, o)
		})
	}},
	"takes EOF for failure": {"EOF_with_the_last_byte", func(e scan.Engine) scan.Engine {
		return engineFunc(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			if o.Size > 0 {
				if _, err := o.Content.ReadAt(make([]byte, 1), o.Size-1); err == io.EOF {
					return scan.Verdict{}, &scan.Error{Kind: scan.KindSpool, Op: "read", Err: err}
				}
			}
			return e.Scan(ctx, o)
		})
	}},
	"mixes up concurrent scans": {"concurrent_scans", func(e scan.Engine) scan.Engine {
		var mu sync.Mutex
		busy := 0
		return engineFunc(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			mu.Lock()
			busy++
			crowd := busy > 1
			mu.Unlock()
			defer func() { mu.Lock(); busy--; mu.Unlock() }()
			time.Sleep(time.Millisecond) // what a backend takes, so that scans overlap
			v, err := e.Scan(ctx, o)
			if crowd && v.Outcome == scan.OutcomeInfected {
				return scan.CleanVerdict(), nil
			}
			return v, err
		})
	}},
	"leaves a goroutine": {"", func(e scan.Engine) scan.Engine {
		return engineFunc(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			go func() { select {} }()
			return e.Scan(ctx, o)
		})
	}},
}

func after(change func(scan.Verdict, error) (scan.Verdict, error)) func(scan.Engine) scan.Engine {
	return func(e scan.Engine) scan.Engine {
		return engineFunc(func(ctx context.Context, o scan.Object) (scan.Verdict, error) { return change(e.Scan(ctx, o)) })
	}
}

func before(clean func(context.Context, scan.Object) bool) func(scan.Engine) scan.Engine {
	return func(e scan.Engine) scan.Engine {
		return engineFunc(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			if clean(ctx, o) {
				return scan.CleanVerdict(), nil
			}
			return e.Scan(ctx, o)
		})
	}
}

// defectEnv names the defect that a child run of this test binary suffers from.
const defectEnv = "SCANTEST_DEFECT"

// TestDefect is what the child runs; by itself it has nothing to do.
func TestDefect(t *testing.T) {
	defect, ok := defects[os.Getenv(defectEnv)]
	if !ok {
		return
	}
	Conformance(t, modelRig(defect.spoil))
}

// TestConformanceCatches runs the suite over faulty engines, in a child process
// because a failing suite fails the test it runs in.
func TestConformanceCatches(t *testing.T) {
	for name, defect := range defects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0], "-test.run=^TestDefect$", "-test.timeout=2m")
			child.Env = append(os.Environ(), defectEnv+"="+name)
			out, err := child.CombinedOutput()
			if err == nil {
				t.Fatalf("the suite accepts an engine that %s", name)
			}
			want := "--- FAIL: TestDefect/" + defect.caughtBy
			if defect.caughtBy == "" {
				want = "goroutines left behind"
			}
			if !strings.Contains(string(out), want) {
				t.Errorf("no %q in the output of an engine that %s:\n%.3000s", want, name, out)
			}
		})
	}
}
