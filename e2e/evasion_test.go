package e2e_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/e2e/wrap"
	"github.com/portcullis-av/portcullis/envoy"
	"github.com/portcullis-av/portcullis/scan"
)

// evasionTable is where the table of outcomes goes; make test sets and prints it.
const evasionTable = "PORTCULLIS_EVASION_TABLE"

// evasionConfig has one policy for each setting that lets a refused body through.
func evasionConfig(t *testing.T) string {
	t.Helper()
	engines := []string{fmt.Sprintf(`{name: builtin, builtin: {hash_lists: [%q]}}`, knownList(t))}
	return yaml(engines, []string{
		`{name: default, engines: [builtin]}`,
		`{name: lenient, engines: [builtin], content: {multipart: lenient}}`,
		`{name: sfx, engines: [builtin], content: {self_extracting: true}}`,
		`{name: partial, engines: [builtin], partial_content: pass}`,
		`{name: unscannable, engines: [builtin], unscannable: pass}`,
		`{name: causes, engines: [builtin], pass_causes: [encrypted, bomb, ambiguous-archive, partial-archive]}`,
	})
}

// Through a real Envoy, in both directions: of no vector that wraps a known file
// does a byte reach the other side, and every clean twin arrives unchanged, or is
// refused for the reason listed and arrives unchanged with the setting listed.
func TestEvasion(t *testing.T) {
	t.Parallel()
	p := startPortcullis(t, rig.PortcullisOptions{Binary: needPlain(t), Config: evasionConfig(t)})
	e := &evasion{outcomes: map[string]map[string]string{}}
	for _, profile := range []envoy.Profile{envoy.Duplex, envoy.Buffered} {
		e.gates = append(e.gates, startGate(t, p, envoy.Options{Profile: profile, MaxBodyBytes: bufferedLimit}))
	}
	vectors := wrap.All(1)
	work := make(chan int)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for i := range work {
				e.vector(t, vectors[i], e.gatesOf(i))
			}
		})
	}
	for i := range vectors {
		work <- i
	}
	close(work)
	workers.Wait()
	e.report(t, vectors)
}

// gatesOf are the gates that vector i goes through: what the unwrapping makes of a
// body does not depend on the profile, so one in three goes through both, or each
// when more is asked for.
func (e *evasion) gatesOf(i int) []*gate {
	if i%3 == 0 || os.Getenv(moreSeeds) != "" {
		return e.gates
	}
	return e.gates[:1]
}

// evasion are the gates, and what became of every vector.
type evasion struct {
	gates    []*gate
	mu       sync.Mutex
	outcomes map[string]map[string]string // by vector, then by leg and twin
}

func (e *evasion) note(v wrap.Vector, where, outcome string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := v.Class + " " + v.Name
	if e.outcomes[key] == nil {
		e.outcomes[key] = map[string]string{}
	}
	if before := e.outcomes[key][where]; before != "" && before != outcome {
		outcome = before + " / " + outcome
	}
	e.outcomes[key][where] = outcome
}

func (e *evasion) vector(t *testing.T, v wrap.Vector, gates []*gate) {
	t.Helper()
	bad, good := payload.Bytes(v.Body(file(v, knownFile))), payload.Bytes(v.Body(file(v, cleanFile)))
	for _, g := range gates {
		if g.name == string(envoy.Buffered) && bad.Size() >= bufferedLimit/2 {
			continue // Envoy's own 413
		}
		for _, l := range legsOf(v) {
			what := fmt.Sprintf("%s: %s %s: %v", g.name, v.Class, v.Name, l)
			x := e.send(t, g, v, l, "default", bad)
			outcome := x.stopped(t, what, l)
			e.note(v, l.String()+" infected", outcome)
			if v.Refused == "" && outcome != "INFECTED malware" {
				t.Errorf("%s: blocked, yet as %q", what, outcome)
			}
			x = e.send(t, g, v, l, "default", good)
			if v.Refused == "" {
				e.note(v, l.String()+" clean", x.arrivedWhole(t, what+": clean", l, v, good))
				continue
			}
			outcome = x.stopped(t, what+": clean", l)
			if !strings.HasSuffix(outcome, " "+v.Refused) {
				t.Errorf("%s: the clean twin is %q, want a refusal for %s", what, outcome, v.Refused)
			}
			x = e.send(t, g, v, l, v.Setting, good)
			e.note(v, l.String()+" clean", outcome+"; with "+v.Setting+": "+x.arrivedWhole(t, what+": clean, with "+v.Setting, l, v, good))
			if v.Setting == wrap.SettingLenient || v.Setting == wrap.SettingSelfExtract {
				e.send(t, g, v, l, v.Setting, bad).stopped(t, what+": with "+v.Setting, l)
			}
		}
	}
}

// send sends a body on one leg of an exchange under a policy.
func (e *evasion) send(t *testing.T, g *gate, v wrap.Vector, l scan.Leg, policy string, body payload.Body) exchange {
	t.Helper()
	body.ContentType = ""
	protocol := client.HTTP1
	if (len(v.Name)+len(policy))%2 == 1 {
		protocol = client.HTTP2
	}
	r := client.Request{Method: v.Method, Path: "/" + policy + "/x" + v.Query, Header: http.Header{}}
	a := origin.Answer{Header: http.Header{"X-Origin-Secret": {"1"}}}
	if l == scan.Request {
		r.Header, r.Body = v.Header.Clone(), body
		if r.Method == "" {
			r.Method = http.MethodPost
		}
	} else {
		r.Method = http.MethodGet
		for name, values := range v.Header {
			a.Header[name] = values
		}
		if len(v.Header["Content-Type"]) == 0 {
			a.Header["Content-Type"] = nil // or the server guesses
		}
		a.Body, a.Status = body, v.Status
	}
	x, err := g.try(t, newID(), protocol, r, a)
	if err != nil {
		t.Errorf("%s: %s %s: %v", g.name, v.Class, v.Name, err)
	}
	return x
}

// stopped requires that nothing of the body crossed and that the client was told
// so, whole; it returns outcome and cause.
func (x exchange) stopped(t *testing.T, what string, l scan.Leg) string {
	t.Helper()
	if l == scan.Request && x.arrived {
		t.Errorf("%s: LEAK: the origin got the headers and %d bytes", what, x.seen.Bytes)
		return "LEAK"
	}
	if x.Header.Get("X-Origin-Secret") != "" {
		t.Errorf("%s: LEAK: the client got the origin's headers and %d bytes, status %d", what, x.Bytes, x.Status)
		return "LEAK"
	}
	outcome, cause, ok := strings.Cut(x.Header.Get("X-Portcullis-Verdict"), "; cause=")
	if !ok {
		t.Errorf("%s: status %d without a verdict, %d bytes: %.200s", what, x.Status, x.Bytes, x.Head)
		return "?"
	}
	var told struct{ Outcome string }
	if x.Header.Get("Grpc-Status") == "" && (json.Unmarshal(x.Head, &told) != nil || told.Outcome != outcome || int64(len(x.Head)) != x.Bytes) {
		t.Errorf("%s: the refusal is %d bytes: %.200s", what, x.Bytes, x.Head)
	}
	return outcome + " " + cause
}

// arrivedWhole requires that the body crossed byte for byte.
func (x exchange) arrivedWhole(t *testing.T, what string, l scan.Leg, v wrap.Vector, body payload.Body) string {
	t.Helper()
	got, bytes, status := x.SHA256, x.Bytes, max(v.Status, http.StatusOK)
	header := x.Header
	if l == scan.Request {
		got, bytes, status, header = x.seen.SHA256, x.seen.Bytes, http.StatusOK, x.seen.Header
	}
	switch {
	case x.Status != status || !x.arrived:
		t.Errorf("%s: refused with status %d, %s: %.300s", what, x.Status, x.Header.Get("X-Portcullis-Verdict"), x.Head)
		return "REFUSED"
	case got != body.SHA256() || x.Err != nil || x.seen.Err != nil || x.seen.Times != 1:
		t.Errorf("%s: altered: %d bytes of %d arrived, %d times, errors %v, %v", what, bytes, body.Size(), x.seen.Times, x.Err, x.seen.Err)
		return "ALTERED"
	}
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Disposition", "Content-Range", "Etag", "Digest"} {
		// Envoy itself joins several lines.
		if want := v.Header.Values(name); len(want) == 1 && strings.TrimSpace(want[0]) != header.Get(name) {
			t.Errorf("%s: %s is %q, was sent as %q", what, name, header.Get(name), want[0])
		}
	}
	return "passed"
}

// report writes the table, a summary by class first.
func (e *evasion) report(t *testing.T, vectors []wrap.Vector) {
	t.Helper()
	path := os.Getenv(evasionTable)
	var b strings.Builder
	fmt.Fprintf(&b, "%-5s %8s %10s %10s %12s\n", "class", "vectors", "infected", "refused", "clean pass")
	for _, class := range wrap.Classes() {
		n, infected, refused, pass := 0, 0, 0, 0
		for _, v := range vectors {
			if v.Class != class {
				continue
			}
			n++
			for where, outcome := range e.outcomes[v.Class+" "+v.Name] {
				switch {
				case strings.HasSuffix(where, " infected") && strings.HasPrefix(outcome, "INFECTED"):
					infected++
				case strings.HasSuffix(where, " infected"):
					refused++
				case outcome == "passed":
					pass++
				}
			}
		}
		fmt.Fprintf(&b, "%-5s %8d %10d %10d %12d\n", class, n, infected, refused, pass)
		if n == 0 {
			t.Errorf("class %s has no vector", class)
		}
	}
	b.WriteString("\n")
	for _, v := range vectors {
		for _, l := range legsOf(v) {
			o := e.outcomes[v.Class+" "+v.Name]
			fmt.Fprintf(&b, "%-5s %-60s %-9s %-28s clean: %s\n", v.Class, v.Name, l, o[l.String()+" infected"], o[l.String()+" clean"])
		}
	}
	if path == "" {
		return
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Error(err)
	}
}

// Every refusal of a clean twin has its reason, every setting that is named exists,
// and the same seed gives the same bytes.
func TestEvasionVectors(t *testing.T) {
	t.Parallel()
	settings := []string{
		wrap.SettingLenient, wrap.SettingSelfExtract, wrap.SettingPartial, wrap.SettingUnscannable, wrap.SettingCauses,
	}
	seen := map[string]bool{}
	again := wrap.All(1)
	for i, v := range wrap.All(1) {
		name := v.Class + " " + v.Name
		if seen[name] {
			t.Errorf("%s stands there twice", name)
		}
		seen[name] = true
		if !slices.Contains(wrap.Classes(), v.Class) || (v.Refused != "") != (v.Why != "" && slices.Contains(settings, v.Setting)) ||
			v.Refused != "" && !slices.Contains(scan.Causes(), scan.Cause(v.Refused)) {
			t.Errorf("%s: refused for %q, setting %q, why %q", name, v.Refused, v.Setting, v.Why)
		}
		p := file(v, knownFile)
		before := sha256.Sum256(p)
		if sha256.Sum256(v.Body(p)) != sha256.Sum256(again[i].Body(p)) || sha256.Sum256(p) != before {
			t.Errorf("%s: not the same bytes each time", name)
		}
	}
	if len(seen) < 300 {
		t.Errorf("only %d vectors", len(seen))
	}
}
