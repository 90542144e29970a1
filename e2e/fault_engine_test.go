package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// The faults of engines: what a client sees, what the origin gets and what the
// metrics say while an engine dies, hangs, lies or comes back, under both modes
// of failing. The numbers F-01 and on are this project's names for the cases.

const (
	closed = "closed"
	open   = "open"
)

// engineScan is the scan_timeout of these tests; slack is what a busy machine
// may add to any bound.
const (
	engineScan = 2 * time.Second
	slack      = 2 * time.Second
)

// faultRows is what became of each case of the whole run; TestMain prints it.
var faultRows = &faultTable{}

// faultTable collects what became of each case, for people.
type faultTable struct {
	mu   sync.Mutex
	rows []string
}

func (f *faultTable) add(id, fault, engine, mode, outcome string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = append(f.rows, strings.Join([]string{id, fault, engine, mode, outcome}, "\t"))
}

// tableFile names the environment variable with the file that the table is
// written to as well: go test shows the output of a passing test with -v only.
const tableFile = "PORTCULLIS_FAULT_TABLE"

// print shows the table to people. It is written to the file that [tableFile]
// names as well.
func (f *faultTable) print() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rows) == 0 {
		return nil
	}
	slices.Sort(f.rows)
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CASE\tFAULT\tENGINE\tFAIL\tOUTCOME")
	for _, row := range f.rows {
		fmt.Fprintln(w, row)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if testing.Verbose() {
		fmt.Printf("faults:\n%s", b.String())
	}
	if file := os.Getenv(tableFile); file != "" {
		return os.WriteFile(file, b.Bytes(), 0o600)
	}
	return nil
}

// want is what must become of a body.
type want struct {
	outcome string   // "served", or the outcome of a refusal
	causes  []string // one of them
	status  int      // of a refusal
	passes  bool     // where the policy fails open
}

func served() want { return want{outcome: "served", passes: true} }

// failed is an ERROR: refused where the policy fails closed, passed where open.
func failed(causes ...string) want {
	return want{outcome: "ERROR", causes: causes, status: http.StatusServiceUnavailable, passes: true}
}

// blocked is refused in both modes.
func blocked(status int, outcome, cause string) want {
	return want{outcome: outcome, causes: []string{cause}, status: status}
}

// engineFault is one case. Start is called once for each mode, before the gate.
type engineFault struct {
	id, fault, engine string
	start             func(t *testing.T) *hurtEngine
}

// hurtEngine is the engine of a case, and what is done to it.
type hurtEngine struct {
	addresses []string // of clamd
	settings  string   // of an engine of another kind
	// hurt is done before the body is sent, during while it is being scanned.
	hurt, during func(t *testing.T, f *faultRun)
	want         want
	within       time.Duration // of the first byte sent to the answer; 0 for 2 s
	// results are those of portcullis_engine_scans_total that must have been
	// counted for the engine.
	results []string
	// after is done when the body has been answered, and says more for the table.
	after func(t *testing.T, f *faultRun) string
}

// faultRun is a case under way.
type faultRun struct {
	gate *gate
	name string // of engine and policy
}

func (f *faultRun) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	m, err := f.gate.portcullis.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	return m.Sum("portcullis_engine_"+name, append([]string{"engine", f.name}, labels...)...)
}

// await waits until a metric of the engine has a value, or a higher one.
func (f *faultRun) await(t *testing.T, value float64, name string, labels ...string) {
	t.Helper()
	awaitZero(t, fmt.Sprintf("%s: %s missing to %v", f.name, name, value), func() (int64, error) {
		return int64(max(0, value-f.metric(t, name, labels...))), nil
	})
}

// back returns how long it takes until clean bodies are judged again.
func (f *faultRun) back(t *testing.T, within time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	for i := uint64(0); ; i++ {
		x, err := f.gate.try(t, newID(), client.HTTP1, client.Request{Path: "/" + f.name + "/again", Body: payload.Random(1000+i, 500)}, origin.Answer{})
		took := time.Since(start)
		if err == nil && x.Status == http.StatusOK && strings.HasPrefix(x.seen.Header.Get("X-Portcullis-Verdict"), "CLEAN") {
			if took > within+slack {
				t.Errorf("%s: back after %v", f.name, took)
			}
			return took
		}
		if took > within+2*slack {
			t.Errorf("%s: not back after %v: status %d, %s", f.name, took, x.Status, x.Head)
			return took
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestEngineFaults runs every case through a real Envoy and prints what became of
// it.
func TestEngineFaults(t *testing.T) {
	needEnvoy(t)
	table := faultRows
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			far := startPortcullis(t, rig.PortcullisOptions{})
			all := append(engineFaults(), kindFaults(far.ExtProc)...)
			for cases := range slices.Chunk(all, maxEngines) {
				t.Run(cases[0].id, func(t *testing.T) { table.oneByOne(t, mode, cases) })
			}
		})
	}
	for _, c := range loadFaults() {
		t.Run(c.id+"/"+c.fault, func(t *testing.T) {
			if reason := lacking(c.engine); reason != "" {
				table.add(c.id, c.fault, c.engine, "both", "SKIPPED: "+reason)
				missing(t, reason)
			}
			table.add(c.id, c.fault, c.engine, "both", marked(t, c.run(t)))
		})
	}
}

// lacking says why an engine cannot be had, or nothing.
func lacking(engine string) string {
	if engine == "real clamd" && !hasClamd() {
		return "no clamd on this machine"
	}
	return ""
}

func marked(t *testing.T, outcome string) string {
	t.Helper()
	if t.Failed() {
		return "FAILED: " + outcome
	}
	return outcome
}

// maxEngines is how many a gate of these tests has, within what a configuration
// may have.
const maxEngines = 50

// oneByOne runs the cases of one body at a time side by side, each with an engine
// of its own behind the same gate.
func (f *faultTable) oneByOne(t *testing.T, mode string, cases []engineFault) {
	engines := []string{`{name: builtin, builtin: {}}`}
	policies := []string{`{name: default, engines: [builtin]}`}
	hurt := map[string]*hurtEngine{}
	for i, fault := range cases {
		if lacking(fault.engine) != "" {
			continue
		}
		name := fmt.Sprintf("fault%d", i)
		h := fault.start(t)
		engines = append(engines, fmt.Sprintf(`{name: %s, %s}`, name, h.engine(t)))
		policies = append(policies, fmt.Sprintf(`{name: %s, engines: [%s], scan_timeout: %v, fail: %s, max_body_bytes: %d}`,
			name, name, engineScan, mode, engineObject))
		hurt[name] = h
	}
	p := startPortcullis(t, rig.PortcullisOptions{Config: yaml(engines, policies) + "cache: {memory_entries: 0}\n"})
	g := startGate(t, p, envoy.Options{ScanTimeout: engineScan})
	for i, c := range cases {
		t.Run(c.id+"/"+c.fault+"/"+c.engine, func(t *testing.T) {
			t.Parallel()
			if reason := lacking(c.engine); reason != "" {
				f.add(c.id, c.fault, c.engine, mode, "SKIPPED: "+reason)
				missing(t, reason)
			}
			r := &faultRun{gate: g, name: fmt.Sprintf("fault%d", i)}
			f.add(c.id, c.fault, c.engine, mode, marked(t, r.check(t, hurt[r.name], mode)))
		})
	}
}

// engine are the settings of the engine.
func (h *hurtEngine) engine(t *testing.T) string {
	t.Helper()
	if h.settings != "" {
		return h.settings
	}
	addresses, err := json.Marshal(h.addresses)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`clamd: {addresses: %s}`, addresses)
}

// check sends a body under a fault: one that is heard wherever it goes where the
// policy fails closed (infected, if an instance is there to say so), a clean one
// where it fails open, so that a leak and a wrong refusal both show.
func (f *faultRun) check(t *testing.T, h *hurtEngine, mode string) string {
	t.Helper()
	id := newID()
	body := payload.Bytes(payload.Canaries(id, 200<<10))
	switch {
	case mode == open:
		body = payload.Random(77, 200<<10)
	case h.want.outcome == "served":
		body = payload.InfectedForm(id, 100<<10)
	}
	if h.hurt != nil {
		h.hurt(t, f)
	}
	var beside sync.WaitGroup
	if h.during != nil {
		beside.Go(func() { h.during(t, f) })
	}
	start := time.Now()
	x, err := f.gate.try(t, id, client.HTTP1, client.Request{Path: "/" + f.name + "/up", Body: body}, origin.Answer{})
	took := time.Since(start)
	beside.Wait()
	if err != nil || x.Err != nil {
		t.Fatalf("no answer: %v, %v", err, x.Err)
	}
	outcome := f.judged(t, x, body, h.want, mode)
	within := h.within
	if within == 0 {
		within = 2 * time.Second
	}
	if took > within+slack {
		t.Errorf("answered after %v, want at most %v", took, within)
	}
	for _, result := range h.results {
		if f.metric(t, "scans_total", "result", result) == 0 {
			t.Errorf("no scan is counted as %s", result)
		}
	}
	scans, retries := f.metric(t, "scans_total"), f.metric(t, "retries_total")
	if retries > scans/2 || len(h.addresses) <= 1 && retries > 0 {
		t.Errorf("%v retries among %v scans", retries, scans)
	}
	outcome += fmt.Sprintf(" in %v", took.Round(10*time.Millisecond))
	if h.after != nil {
		outcome += h.after(t, f)
	}
	return outcome
}

// judged holds the answer, and what the origin got, to what must become of it.
func (f *faultRun) judged(t *testing.T, x exchange, body payload.Body, w want, mode string) string {
	t.Helper()
	if mode == open && w.passes {
		verdict := x.seen.Header.Get("X-Portcullis-Verdict")
		prefix := w.outcome
		if prefix == "served" {
			prefix = "CLEAN"
		}
		if x.Status != http.StatusOK || x.seen.SHA256 != body.SHA256() || !strings.HasPrefix(verdict, prefix) {
			t.Errorf("status %d, the origin got %d bytes of %d and the verdict %q, want %+v", x.Status, x.seen.Bytes, body.Size(), verdict, w)
		}
		return "passed, " + verdict
	}
	if w.outcome == "served" {
		w = blocked(http.StatusForbidden, "INFECTED", "malware")
	}
	x.wantNoUpload(t, f.name)
	var told struct{ Outcome, Cause string }
	if err := json.Unmarshal(x.Head, &told); err != nil {
		t.Errorf("status %d, %q: %v", x.Status, x.Head, err)
	}
	if x.Status != w.status || told.Outcome != w.outcome || !slices.Contains(w.causes, told.Cause) {
		t.Errorf("status %d, told %+v, want %+v", x.Status, told, w)
	}
	return fmt.Sprintf("%d %s %s", x.Status, told.Outcome, told.Cause)
}
