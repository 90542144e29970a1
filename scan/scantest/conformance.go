package scantest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/portcullis-av/portcullis/scan"
)

// Rig is one engine together with what it is known to detect. Whatever the rig
// starts ends with the test it was made for (t.Cleanup), goroutines included.
type Rig struct {
	Engine scan.Engine
	// Bad is what the engine names as malware; EICAR when nil.
	Bad []byte
	// Break, when not nil, makes the engine's backend unreachable until the
	// test ends. It is nil when the engine has no backend.
	Break func(t *testing.T)
	// Hang, when not nil, makes the backend accept and never answer until the
	// test ends.
	Hang func(t *testing.T)
}

const (
	// patience bounds every scan that is expected to end by itself.
	patience = 30 * time.Second
	// grace is how long after its deadline a scan may return.
	grace = time.Second
	// hurry is the deadline given to scans of a backend that hangs.
	hurry = 300 * time.Millisecond
)

// Conformance holds an engine to what [scan.Engine] promises. It calls newRig
// once for every subtest, and fails when goroutines are left after the last.
func Conformance(t *testing.T, newRig func(t *testing.T) Rig) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	for _, c := range []struct {
		name string
		test func(t *testing.T, rig Rig)
	}{
		{"bad is INFECTED", testBad},
		{"clean is CLEAN", testClean},
		{"labels change nothing", testLabels},
		{"EOF with the last byte", testEagerEOF},
		{"empty object", testEmpty},
		{"context ended before", testEndedContext},
		{"backend hangs", testHang},
		{"backend unreachable", testBroken},
		{"content fails in the middle", testFailingContent},
		{"content shorter than its size", testShortContent},
		{"concurrent scans", testConcurrent},
	} {
		t.Run(c.name, func(t *testing.T) {
			rig := newRig(t)
			if rig.Bad == nil {
				rig.Bad = EICAR()
			}
			c.test(t, rig)
		})
	}
	if err := goleak.Find(before); err != nil {
		t.Errorf("goroutines left behind: %v", err)
	}
}

func testBad(t *testing.T, rig Rig) {
	wantInfected(t, rig.Engine, Object(rig.Bad))
}

func testClean(t *testing.T, rig Rig) {
	for _, size := range []int{1, 1 << 10, 1 << 20, 5 << 20} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			wantClean(t, rig.Engine, Object(Text(size, 1)))
		})
	}
}

func testLabels(t *testing.T, rig Rig) {
	for name, label := range map[string]string{
		"line ends":   "a\r\nX-Injected: yes\r\n\r\nb",
		"NUL":         "a\x00b.txt",
		"not ASCII":   "Прайс-лист \u202e\u00a0“fdp”.exe",
		"not UTF-8":   "\xff\xfe\x80",
		"quotes":      `a"; filename="b`,
		"path":        "../../../../etc/passwd",
		"very long":   strings.Repeat("long", 64<<10),
		"innocuous":   "image.png",
		"only spaces": "   ",
	} {
		t.Run(name, func(t *testing.T) {
			bad, clean := Object(rig.Bad), Object(Text(1<<10, 2))
			bad.Name, bad.ContentType = label, label
			clean.Name, clean.ContentType = label, label
			wantInfected(t, rig.Engine, bad)
			wantClean(t, rig.Engine, clean)
		})
	}
}

// testEagerEOF: io.ReaderAt allows io.EOF together with the last byte.
func testEagerEOF(t *testing.T, rig Rig) {
	bad, clean := Object(rig.Bad), Object(Text(100_000, 3))
	bad.Content = eagerEOF{bad.Content, bad.Size}
	clean.Content = eagerEOF{clean.Content, clean.Size}
	wantInfected(t, rig.Engine, bad)
	wantClean(t, rig.Engine, clean)
}

func testEmpty(t *testing.T, rig Rig) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	wantKind(t, ctx, rig.Engine, Object(nil), scan.KindInternal)
}

func testEndedContext(t *testing.T, rig Rig) {
	for _, size := range []int{1 << 10, 5 << 20} {
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		wantKind(t, canceled, rig.Engine, Object(Text(size, 4)), scan.KindCanceled)
		late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		wantKind(t, late, rig.Engine, Object(Text(size, 4)), scan.KindTimeout)
	}
}

func testHang(t *testing.T, rig Rig) {
	if rig.Hang == nil {
		t.Log("not applicable: the engine has no backend that could hang")
		return
	}
	rig.Hang(t)
	// The small object is taken whole by socket buffers, the large one is not:
	// the engine waits once in reading and once in writing.
	for _, size := range []int{1 << 10, 5 << 20} {
		o := Object(Text(size, 5))
		t.Run(fmt.Sprintf("deadline, %d bytes", size), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), hurry)
			defer cancel()
			began := time.Now()
			wantKind(t, ctx, rig.Engine, o, scan.KindTimeout)
			wantSoon(t, began.Add(hurry))
		})
		t.Run(fmt.Sprintf("cancel, %d bytes", size), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			began := time.Now()
			time.AfterFunc(hurry, cancel)
			wantKind(t, ctx, rig.Engine, o, scan.KindCanceled)
			wantSoon(t, began.Add(hurry))
		})
	}
}

func testBroken(t *testing.T, rig Rig) {
	if rig.Break == nil {
		t.Log("not applicable: the engine has no backend that could be unreachable")
		return
	}
	wantClean(t, rig.Engine, Object(Text(1<<10, 6))) // a connection may be kept from here
	rig.Break(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, size := range []int{1 << 10, 5 << 20} {
		wantKind(t, ctx, rig.Engine, Object(Text(size, 6)), scan.KindUnreachable)
	}
}

func testFailingContent(t *testing.T, rig Rig) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, size := range []int{2, 1 << 10, 5 << 20} {
		o := Object(Text(size, 7))
		whole := o.Content
		spool := &scan.Error{Kind: scan.KindSpool, Op: "read spooled body"}
		o.Content = failingAt{whole, o.Size / 2, spool}
		wantKind(t, ctx, rig.Engine, o, scan.KindSpool)
		o.Content = failingAt{whole, o.Size / 2, errors.New("plain failure")}
		wantError(t, ctx, rig.Engine, o)
	}
}

func testShortContent(t *testing.T, rig Rig) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, size := range []int{1, 1 << 10, 5 << 20} {
		for _, missing := range []int64{1, 100_000} {
			o := Object(Text(size, 8))
			o.Size += missing
			wantError(t, ctx, rig.Engine, o)
		}
	}
}

func testConcurrent(t *testing.T, rig Rig) {
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			if i%2 == 0 {
				wantInfected(t, rig.Engine, Object(rig.Bad))
				return
			}
			wantClean(t, rig.Engine, Object(Text(i<<12, uint64(i))))
		})
	}
	wg.Wait()
}
