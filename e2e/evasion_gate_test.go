package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/wrap"
	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/builtin"
	"github.com/portcullis-av/portcullis/scan/content"
	scangate "github.com/portcullis-av/portcullis/scan/gate"
	"github.com/portcullis-av/portcullis/scan/spool"
)

// Seeds of the files: known ones stand in the hash list, so that they are found
// only as objects of exactly their bytes; their twins differ in some bytes.
const (
	knownFile byte = 1
	cleanFile byte = 2
)

// file is the file that a vector wraps, the smallest that it takes.
func file(v wrap.Vector, n byte) []byte {
	switch {
	case v.Text:
		return wrap.Script(n)
	case v.Long:
		return wrap.Binary(n)
	}
	return wrap.Tiny(n)
}

// knownList is a hash list of the known files.
func knownList(t testing.TB) string {
	t.Helper()
	var list bytes.Buffer
	for _, p := range [][]byte{wrap.Binary(knownFile), wrap.Script(knownFile), wrap.Tiny(knownFile)} {
		sum := sha256.Sum256(p)
		fmt.Fprintf(&list, "%s:%d:Test.Known\n", hex.EncodeToString(sum[:]), len(p))
	}
	path := filepath.Join(t.TempDir(), "known.hsb")
	if err := os.WriteFile(path, list.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// bareGate is the gate without a door: the embedded engine, the unwrapping and
// the spool as they are in production.
type bareGate struct {
	engine scan.Engine
	unwrap scan.Unwrapper
	store  *spool.Pool
}

func newBareGate(t testing.TB) *bareGate {
	t.Helper()
	engine, err := builtin.New(builtin.Config{HashLists: []string{knownList(t)}})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := spool.New(spool.Config{MemoryBytes: 512 << 20, BodyMemoryBytes: 1 << 20, DiskDir: t.TempDir(), DiskBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return &bareGate{engine: engine, unwrap: content.New(content.Config{Store: pool}), store: pool}
}

// defaultPolicy has the limits of the default configuration.
func defaultPolicy() scan.Policy {
	return scan.Policy{
		Name: "default", Engines: []string{"builtin"}, ScanRequest: true, ScanResponse: true, MaxBodyBytes: 100 << 20,
		ScanTimeout: 30 * time.Second, UploadTimeout: time.Minute, Enforce: true,
	}
}

// withSetting is the policy that lets a refused twin through.
func withSetting(v wrap.Vector) scan.Policy {
	p := defaultPolicy()
	switch v.Setting {
	case wrap.SettingLenient:
		p.Content.LenientMultipart = true
	case wrap.SettingSelfExtract:
		p.Content.SelfExtracting = true
	case wrap.SettingPartial:
		p.PassPartial = true
	case wrap.SettingUnscannable:
		p.PassUnscannable = true
	case wrap.SettingCauses:
		p.PassCauses = []scan.Cause{scan.Cause(v.Refused)}
	}
	return p
}

// judge asks about the body of a vector that wraps file n, on one leg.
func (g *bareGate) judge(t testing.TB, v wrap.Vector, p scan.Policy, l scan.Leg, body []byte) scangate.Decision {
	t.Helper()
	gate := scangate.New(scangate.Setup{
		Policies: alwaysDefault{p}, Engines: map[string]scan.Engine{"builtin": g.engine}, Store: g.store, Unwrap: g.unwrap, Observer: nobody{},
		Partial: partialContent,
	})
	head := scangate.Head{
		Attributes: scan.Attributes{Method: v.Method, Path: "/x" + v.Query, Headers: func() map[string]string { return nil }},
		Status:     v.Status, Header: func(name string) string { return joinedHeader(v.Header, name) }, ContentLength: int64(len(body)),
		Labels: scan.Labels{ContentType: v.Header["Content-Type"], ContentEncoding: v.Header["Content-Encoding"]},
	}
	if head.Method == "" {
		head.Method = "POST"
	}
	if head.Status == 0 {
		head.Status = 200
	}
	x := gate.Begin(t.Context(), head, "")
	defer x.Finish("test")
	plan := x.Plan(l, head, true)
	if !plan.Hold {
		return plan.Decision
	}
	if d, _, ok := x.Append(l, body); !ok {
		return d
	}
	done := make(chan scangate.Judgement, 1)
	x.Judge(context.Background(), l, func(j scangate.Judgement) { done <- j })
	return x.Decide(l, <-done)
}

// partialContent is what the program gives the gate.
func partialContent(l scan.Leg, h scangate.Head) (string, bool) {
	if l == scan.Response {
		return content.PartialResponse(h.Status, h.Header)
	}
	return content.PartialRequest(h.Method, h.Path, h.Header)
}

func joinedHeader(h map[string][]string, name string) string {
	for k, values := range h {
		if len(values) > 0 && equalFold(k, name) {
			joined := values[0]
			for _, v := range values[1:] {
				joined += "," + v
			}
			return joined
		}
	}
	return ""
}

func equalFold(a, b string) bool { return bytes.EqualFold([]byte(a), []byte(b)) }

// legsOf are the legs that a vector makes sense on.
func legsOf(v wrap.Vector) []scan.Leg {
	switch {
	case v.UpOnly:
		return []scan.Leg{scan.Request}
	case v.DownOnly:
		return []scan.Leg{scan.Response}
	}
	return []scan.Leg{scan.Request, scan.Response}
}

// moreSeeds is how many seeds TestEvasionAtTheGate takes; one without it.
const moreSeeds = "PORTCULLIS_EVASION_SEEDS"

// Without a proxy around, with other files and more nests than [TestEvasion]:
// every vector that wraps a known file is blocked, and INFECTED where its twin
// passes; every clean twin passes, or is refused for the reason listed and passes
// with the setting listed.
func TestEvasionAtTheGate(t *testing.T) {
	t.Parallel()
	g := newBareGate(t)
	seeds, err := strconv.ParseUint(cmp.Or(os.Getenv(moreSeeds), "1"), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range seeds {
		for _, v := range append(wrap.All(seed), wrap.Nests(seed+100, 60)...) {
			if seed > 0 {
				g.check(t, v, seed)
			}
			v.Long = true
			g.check(t, v, seed)
		}
	}
}

func (g *bareGate) check(t *testing.T, v wrap.Vector, seed uint64) {
	t.Helper()
	what := fmt.Sprintf("seed %d: %s %s", seed, v.Class, v.Name)
	bad, good := v.Body(file(v, knownFile)), v.Body(file(v, cleanFile))
	for _, l := range legsOf(v) {
		d := g.judge(t, v, defaultPolicy(), l, bad)
		if d.Action != scan.Block {
			t.Errorf("%s: %v: LEAK: %+v", what, l, d.Verdict)
		} else if v.Refused == "" && d.Verdict.Outcome != scan.OutcomeInfected {
			t.Errorf("%s: %v: blocked, yet not as infected: %+v", what, l, d.Verdict)
		}
		d = g.judge(t, v, defaultPolicy(), l, good)
		if v.Refused == "" {
			if d.Action != scan.Pass {
				t.Errorf("%s: %v: the clean twin is refused: %+v", what, l, d.Verdict)
			}
			continue
		}
		if d.Action != scan.Block || string(d.Verdict.Cause) != v.Refused {
			t.Errorf("%s: %v: the clean twin is %v, %+v, want a refusal for %s", what, l, d.Action, d.Verdict, v.Refused)
		}
		if d := g.judge(t, v, withSetting(v), l, good); d.Action != scan.Pass {
			t.Errorf("%s: %v: the clean twin does not pass with setting %s: %+v", what, l, v.Setting, d.Verdict)
		}
		if v.Setting == wrap.SettingLenient || v.Setting == wrap.SettingSelfExtract {
			if d := g.judge(t, v, withSetting(v), l, bad); d.Action != scan.Block {
				t.Errorf("%s: %v: LEAK with setting %s: %+v", what, l, v.Setting, d.Verdict)
			}
		}
	}
}
