package builtin

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

// newEngine returns an engine with one list of these lines, or with none.
func newEngine(t testing.TB, lines ...string) *Engine {
	t.Helper()
	var c Config
	if len(lines) > 0 {
		c.HashLists = []string{writeList(t, lines...)}
	}
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func writeList(t testing.TB, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known.hsb")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wantThreat expects INFECTED with that name, or CLEAN when it is empty.
func wantThreat(t *testing.T, e *Engine, content []byte, name string) {
	t.Helper()
	v, err := e.Scan(t.Context(), scantest.Object(content))
	if err != nil {
		t.Errorf("%d bytes: %v", len(content), err)
		return
	}
	want := scan.CleanVerdict()
	if name != "" {
		want = scan.InfectedVerdict(name)
	}
	if v.Outcome != want.Outcome || v.Cause != want.Cause || !slices.Equal(v.Threats, want.Threats) {
		t.Errorf("%d bytes: %+v, want %+v", len(content), v, want)
	}
}

func TestConformance(t *testing.T) {
	// Without a list nothing but EICAR is looked for; with these every digest
	// is computed over every object.
	for name, lines := range map[string][]string{
		"no list": nil,
		"lists": {
			fmt.Sprintf("%x:*:Any.MD5", md5.Sum([]byte("listed"))),
			fmt.Sprintf("%x:*:Any.SHA1:73", sha1.Sum([]byte("listed"))),
		},
	} {
		t.Run(name, func(t *testing.T) {
			scantest.Conformance(t, func(t *testing.T) scantest.Rig {
				return scantest.Rig{Engine: newEngine(t, lines...)}
			})
		})
	}
	t.Run("listed object", func(t *testing.T) {
		bad := scantest.Text(300_000, 9)
		scantest.Conformance(t, func(t *testing.T) scantest.Rig {
			return scantest.Rig{Engine: newEngine(t, fmt.Sprintf("%x:300000:Listed", sha1.Sum(bad))), Bad: bad}
		})
	})
}

func TestEICARAnywhere(t *testing.T) {
	e, eicar := newEngine(t), scantest.EICAR()
	for _, before := range []int{0, 1, 19, 67, 68, readSize - 68, readSize - 1, readSize, readSize + 1, 3*readSize + 11} {
		for _, after := range []int{0, 1, 60, readSize} {
			wantThreat(t, e, slices.Concat(scantest.Text(before, 1), eicar, scantest.Text(after, 2)), eicarName)
		}
	}
	wantThreat(t, e, append(slices.Clone(eicar), " \t\r\n\x1a"...), eicarName)
	wantThreat(t, e, slices.Concat(eicar[:40], eicar), eicarName)
	wantThreat(t, e, slices.Concat(eicar[19:], eicar[19:], eicar), eicarName)
}

func TestEICARNearly(t *testing.T) {
	e, eicar := newEngine(t), scantest.EICAR()
	for i := range eicar {
		changed := slices.Clone(eicar)
		changed[i] ^= 0x20
		wantThreat(t, e, changed, "")
		wantThreat(t, e, slices.Insert(slices.Clone(eicar), i, changed[i]), map[bool]string{true: eicarName}[i == 0])
		wantThreat(t, e, slices.Delete(slices.Clone(eicar), i, i+1), "")
	}
}

// TestSeams puts EICAR at every place around the seams of small windows.
func TestSeams(t *testing.T) {
	e, eicar := newEngine(t), scantest.EICAR()
	for size := overlap + 1; size < overlap+140; size += 3 {
		buffer := make([]byte, size)
		for before := range 3 * size {
			content := slices.Concat(bytes.Repeat(eicar[:40], before/40+1)[:before], eicar, []byte("after"))
			found, err := e.inspect(t.Context(), scantest.Object(content), buffer, nil)
			if err != nil || !found {
				t.Fatalf("window of %d bytes, EICAR at %d: found %v, error %v", size, before, found, err)
			}
		}
	}
}

// FuzzSeams: a search through windows finds what a search of the whole finds.
func FuzzSeams(f *testing.F) {
	e, eicar := newEngine(f), scantest.EICAR()
	f.Add(eicar, eicar, uint8(1))
	f.Add(eicar[:40], eicar[40:], uint8(0))
	f.Add([]byte("^^^"), eicar[1:], uint8(200))
	f.Fuzz(func(t *testing.T, a, b []byte, room uint8) {
		for _, content := range [][]byte{slices.Concat(a, b), slices.Concat(a, eicar, b), slices.Concat(a, eicar[:len(eicar)-1], b)} {
			if len(content) == 0 {
				continue
			}
			buffer := make([]byte, overlap+1+int(room))
			found, err := e.inspect(t.Context(), scantest.Object(content), buffer, nil)
			if want := bytes.Contains(content, eicar); err != nil || found != want {
				t.Errorf("%q in windows of %d bytes: found %v, error %v, want %v", content, len(buffer), found, err, want)
			}
		}
	})
}

func TestListed(t *testing.T) {
	bad := scantest.Text(readSize+5, 3)
	other := scantest.Text(readSize+5, 4)
	sum5, sum1, sum256 := md5.Sum(bad), sha1.Sum(bad), sha256.Sum256(bad)
	size := len(bad)
	for _, c := range []struct{ line, want string }{
		{fmt.Sprintf("%x:%d:By.MD5", sum5, size), "By.MD5"},
		{fmt.Sprintf("%x:*:By.MD5:73", sum5), "By.MD5"},
		{fmt.Sprintf("%x:%d:By.MD5", sum5, size+1), ""},
		{fmt.Sprintf("%X:%d:By.SHA1", sum1, size), "By.SHA1"},
		{fmt.Sprintf("%x:*:By.SHA1:73", sum1), "By.SHA1"},
		{fmt.Sprintf("%x:%d:By.SHA1", sum1, size-1), ""},
		{fmt.Sprintf("%x:%d:By.SHA256", sum256, size), "By.SHA256"},
		{fmt.Sprintf("%x:*:By.SHA256:73:255", sum256), "By.SHA256"},
		{fmt.Sprintf("%x:%d:By.SHA256", sum256, size+1), ""},
		{fmt.Sprintf("%x  evil.exe", sum256), "evil.exe"},
		{fmt.Sprintf("%x *./dir/evil.exe\r", sum256), "evil.exe"},
		{fmt.Sprintf("\\%x  evil\\\\n.exe", sum256), `evil\\n.exe`},
		{fmt.Sprintf("%x\tevil.exe", sum256), "evil.exe"},
		{fmt.Sprintf("%x", sum256), fmt.Sprintf("Listed.SHA256.%x", sum256[:8])},
		{"# only a comment", ""},
	} {
		e := newEngine(t, "# header", "", c.line, "")
		wantThreat(t, e, bad, c.want)
		wantThreat(t, e, other, "")
	}
}

func TestListedTwice(t *testing.T) {
	bad := []byte("listed twice")
	e := newEngine(t, fmt.Sprintf("%x:*:First:73", sha256.Sum256(bad)), fmt.Sprintf("%x:*:Second:73", sha256.Sum256(bad)))
	wantThreat(t, e, bad, "First")
	if n := e.Lists()[0].Entries; n != 2 {
		t.Errorf("%d entries, want 2", n)
	}
}

// TestUnlistedSizesCostNothing: older digests are computed for listed sizes only.
func TestUnlistedSizesCostNothing(t *testing.T) {
	e := newEngine(t, fmt.Sprintf("%x:12:x", md5.Sum(nil)), fmt.Sprintf("%x:13:x", sha1.Sum(nil)))
	if s := e.known.legacy(11); s != nil {
		t.Errorf("size 11: %+v, want nothing", s)
	}
	if s := e.known.legacy(12); s == nil || s.md5 == nil || s.sha1 != nil {
		t.Errorf("size 12: %+v, want MD5 only", s)
	}
	if s := e.known.legacy(13); s == nil || s.md5 != nil || s.sha1 == nil {
		t.Errorf("size 13: %+v, want SHA-1 only", s)
	}
}

func TestSignatures(t *testing.T) {
	version := func(e *Engine) string {
		s, err := e.Signatures(t.Context())
		if err != nil || s.Version == "" || !s.Built.IsZero() {
			t.Fatalf("signatures %+v, error %v", s, err)
		}
		return s.Version
	}
	none, one, same, other := newEngine(t), newEngine(t, "# a"), newEngine(t, "# a"), newEngine(t, "# b")
	if version(none) == version(one) || version(one) == version(other) {
		t.Error("different lists have the same version")
	}
	if version(one) != version(same) {
		t.Error("the same list has two versions")
	}
	if l := one.Lists(); len(l) != 1 || l[0].Entries != 0 {
		t.Errorf("lists %+v, want one without entries", l)
	}
}

// TestAllocations: the hot path takes no memory that the garbage collector has
// to find again.
func TestAllocations(t *testing.T) {
	e := newEngine(t)
	o := scantest.Object(scantest.Text(10<<10, 1))
	ctx := context.Background()
	n := testing.AllocsPerRun(100, func() {
		if v, err := e.Scan(ctx, o); err != nil || v.Outcome != scan.OutcomeClean {
			t.Fatal(v, err)
		}
	})
	if n >= 1 && !raceDetector {
		t.Errorf("%v allocations a scan, want none", n)
	}
}

// endingContext is cancelled by the object's own second read.
type endingContext struct {
	io.ReaderAt
	cancel context.CancelFunc
}

func (e endingContext) ReadAt(p []byte, off int64) (int, error) {
	if off > 0 {
		e.cancel()
	}
	return e.ReaderAt.ReadAt(p, off)
}

func TestCanceledBetweenWindows(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := scantest.Object(scantest.Text(5*readSize, 1))
	o.Content = endingContext{o.Content, cancel}
	v, err := newEngine(t).Scan(ctx, o)
	if scan.KindOf(err) != scan.KindCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("verdict %+v, error %v, want canceled", v, err)
	}
}

// digested is content that takes its digest when it is asked for.
type digested struct {
	*bytes.Reader
	sum [32]byte
}

func (d digested) SHA256() [32]byte { return d.sum }

// A digest that was not taken yet is asked for, and without one there is no CLEAN
// where a list could name the content.
func TestListedWithoutADigestYet(t *testing.T) {
	bad := []byte("listed")
	sum := sha256.Sum256(bad)
	e := newEngine(t, fmt.Sprintf("%x:%d:Listed:73", sum, len(bad)))
	scanned := func(content []byte, sum [32]byte) (scan.Verdict, error) {
		return e.Scan(t.Context(), scan.Object{Size: int64(len(content)), Content: digested{bytes.NewReader(content), sum}})
	}
	if v, err := scanned(bad, sum); err != nil || v.Outcome != scan.OutcomeInfected {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := scanned(bad, [32]byte{}); scan.KindOf(err) != scan.KindSpool {
		t.Errorf("without a digest: %+v, %v", v, err)
	}
	if v, err := scanned([]byte("of another size"), [32]byte{}); err != nil || v.Outcome != scan.OutcomeClean {
		t.Errorf("no list concerns it: %+v, %v", v, err)
	}
}
