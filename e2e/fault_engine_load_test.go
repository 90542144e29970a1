package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// loadFault is a case of many bodies, with a gate of its own.
type loadFault struct {
	id, fault, engine string
	run               func(t *testing.T) (outcome string)
}

// loadFaults run one after the other: they measure time.
func loadFaults() []loadFault {
	return []loadFault{
		{"F-03", "SIGSTOP under load", "real clamd", stoppedUnderLoad},
		{"F-07", "reply cut after every byte", "fake clamd", cutReplies},
		{"F-11", "reload under load, concurrent", "real clamd", reloading("ConcurrentDatabaseReload yes")},
		{"F-11", "reload under load, blocking", "real clamd", reloading("ConcurrentDatabaseReload no")},
		{"F-13", "limits in silence", "real clamd", silentLimits},
		{"F-14", "30 stalled uploads", "real clamd", stalledUploads},
		{"F-15", "a scan that never ends", "fake clamd", endlessScan},
		{"F-19", "all instances down", "fake clamd", allDown},
		{"F-20", "one of three 2 s slower", "fake clamd", oneSlow},
		{"F-21", "flaps every 2 s", "fake clamd", flapping},
		{"F-22", "30 % of the calls fail", "fake clamd", randomFailures},
	}
}

// scanning asks a gate through ScanService, under the policies closed and open.
type scanning struct {
	gate   *rig.Portcullis
	client scanv1.ScanServiceClient
}

// scanned is what came of one body.
type scanned struct {
	*scanv1.ScanResponse
	took time.Duration
}

func startScanning(t *testing.T, addresses []string, more string, timeout time.Duration) *scanning {
	t.Helper()
	engine := fmt.Sprintf(`{name: av, clamd: {addresses: ["%s"]%s}}`, strings.Join(addresses, `", "`), more)
	config := yaml([]string{engine}, []string{
		fmt.Sprintf(`{name: default, engines: [av], scan_timeout: %v}`, timeout),
		fmt.Sprintf(`{name: open, engines: [av], scan_timeout: %v, fail: open}`, timeout),
	}) + "cache: {memory_entries: 0}\n"
	p := startPortcullis(t, rig.PortcullisOptions{Config: config})
	conn, err := grpc.NewClient(p.ExtProc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s := &scanning{p, scanv1.NewScanServiceClient(conn)}
	awaitZero(t, "instances that are not up", func() (int64, error) {
		m, err := p.Metrics()
		return int64(len(addresses)) - int64(m.Sum("portcullis_engine_up")), err
	})
	return s
}

func (s *scanning) scan(t *testing.T, mode string, content []byte) scanned {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
	defer cancel()
	start := time.Now()
	stream, err := s.client.Scan(ctx)
	if err != nil {
		t.Error(err)
		return scanned{&scanv1.ScanResponse{}, 0}
	}
	policy := "default"
	if mode == open {
		policy = open
	}
	_ = stream.Send(&scanv1.ScanRequest{Options: &scanv1.ScanOptions{Policy: policy}, Chunk: content}) // the answer says why
	r, err := stream.CloseAndRecv()
	if err != nil {
		t.Error(err)
		return scanned{&scanv1.ScanResponse{}, 0}
	}
	return scanned{r, time.Since(start)}
}

// wantERROR requires an ERROR that blocks where the policy fails closed, and
// passes where it fails open.
func (r scanned) wantERROR(t *testing.T, mode string) {
	t.Helper()
	action := scanv1.Action_ACTION_BLOCK
	if mode == open {
		action = scanv1.Action_ACTION_PASS
	}
	if r.GetOutcome() != scanv1.Outcome_OUTCOME_ERROR || r.GetAction() != action {
		t.Errorf("fail %s: %v", mode, r.ScanResponse)
	}
}

func (r scanned) clean() bool { return r.GetOutcome() == scanv1.Outcome_OUTCOME_CLEAN }

func (s *scanning) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	m, err := s.gate.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	return m.Sum("portcullis_engine_"+name, labels...)
}

// idle requires that nothing is left in flight or in the queue.
func (s *scanning) idle(t *testing.T) {
	t.Helper()
	awaitZero(t, "scans in flight or queued", func() (int64, error) {
		return int64(s.metric(t, "scans_in_flight") + s.metric(t, "queued")), nil
	})
}

// backAfter returns how long it takes until clean bodies are judged again.
func (s *scanning) backAfter(t *testing.T, within time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	for i := 0; !s.scan(t, closed, fmt.Appendf(nil, "back yet? %d", i)).clean(); i++ {
		if time.Since(start) > within+slack {
			t.Errorf("not back after %v", time.Since(start))
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(start).Round(10 * time.Millisecond)
}

var modes = [2]string{closed, open}

func percentile(took []time.Duration, percent int) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, len(took)*percent/100)]
}

// stoppedUnderLoad is a clamd that stands still and goes on: after the first
// scans nobody waits for it any more.
func stoppedUnderLoad(t *testing.T) string {
	daemon := clamdtest.StartReal(t, clamdtest.RealOptions{})
	s := startScanning(t, []string{daemon.Unix()}, "", engineScan)
	daemon.Signal(syscall.SIGSTOP)
	var first sync.WaitGroup
	for i := range 5 {
		first.Go(func() {
			r := s.scan(t, modes[i%2], fmt.Appendf(nil, "first %d", i))
			r.wantERROR(t, modes[i%2])
			if r.GetCause() != "engine-timeout" || r.took > engineScan+slack {
				t.Errorf("got %v after %v", r.ScanResponse, r.took)
			}
		})
	}
	first.Wait()
	var took []time.Duration
	for i := range 100 {
		r := s.scan(t, modes[i%2], fmt.Appendf(nil, "later %d", i))
		r.wantERROR(t, modes[i%2])
		took = append(took, r.took)
	}
	p99 := percentile(took, 99)
	if !raceDetector && p99 > 50*time.Millisecond {
		t.Errorf("p99 of the refusals is %v", p99)
	}
	daemon.Signal(syscall.SIGCONT)
	back := s.backAfter(t, 5*time.Second)
	s.idle(t)
	return fmt.Sprintf("5 times engine-timeout, then ERROR with a p99 of %v; back in %v", p99.Round(100*time.Microsecond), back)
}

func cutReplies(t *testing.T) string {
	clamd := clamdtest.Start(t, clamdtest.Options{})
	s := startScanning(t, []string{clamd.Address()}, "", engineScan)
	cuts := 0
	for _, reply := range []string{"stream: OK\x00", "stream: Some.Very.Long.And.Telling.Name.Of.A.Threat-1234567 FOUND\x00"} {
		for n := range len(reply) {
			for _, mode := range modes {
				clamd.Set(clamdtest.Fault{Reply: []byte(reply[:n])})
				r := s.scan(t, mode, []byte("cut"))
				r.wantERROR(t, mode)
				if r.GetCause() != "engine-unreachable" {
					t.Errorf("cut after %d bytes: %v", n, r.ScanResponse)
				}
				cuts++
				clamd.Set(clamdtest.Fault{})
				for range 2 { // so that the breaker lets the next one reach the engine
					if r := s.scan(t, mode, []byte("whole")); !r.clean() {
						t.Fatalf("after a cut at %d: %v", n, r.ScanResponse)
					}
				}
			}
		}
	}
	if n := s.metric(t, "scans_total", "result", "unreachable"); int(n) != cuts {
		t.Errorf("%v of %d cut replies were received", n, cuts)
	}
	return fmt.Sprintf("ERROR engine-unreachable, %d of %d cuts", cuts, cuts)
}

// reloading has clamd load its signatures again and again while bodies are scanned.
func reloading(setting string) func(t *testing.T) string {
	return func(t *testing.T) string {
		conf := []string{setting}
		daemon := clamdtest.StartReal(t, clamdtest.RealOptions{MaxThreads: 12, Conf: conf})
		s := startScanning(t, []string{daemon.Unix()}, "", engineScan)
		var reloads, wrong atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		var load, reloader sync.WaitGroup
		reloader.Go(func() {
			for ctx.Err() == nil {
				if err := tellClamd(daemon.TCP(), "zRELOAD\x00"); err == nil {
					reloads.Add(1)
				}
				time.Sleep(30 * time.Millisecond)
			}
		})
		var mu sync.Mutex
		var took []time.Duration
		for worker := range 4 {
			load.Go(func() {
				for i := range 60 {
					content, want := fmt.Appendf(nil, "clean %d %d", worker, i), scanv1.Outcome_OUTCOME_CLEAN
					if i%2 == 0 {
						content, want = append(clamdtest.EICAR(), content...), scanv1.Outcome_OUTCOME_INFECTED
					}
					r := s.scan(t, closed, content)
					if r.GetOutcome() != want {
						wrong.Add(1)
						t.Errorf("got %v, want %v", r.ScanResponse, want)
					}
					mu.Lock()
					took = append(took, r.took)
					mu.Unlock()
				}
			})
		}
		load.Wait()
		cancel()
		reloader.Wait()
		if reloads.Load() == 0 {
			t.Error("clamd did not reload")
		}
		s.idle(t)
		return fmt.Sprintf("%d of %d judged rightly, %d reloads, p99 %v",
			len(took)-int(wrong.Load()), len(took), reloads.Load(), percentile(took, 99).Round(time.Millisecond))
	}
}

func tellClamd(address, command string) error {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, command); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 100))
	return err
}

// silentLimits is a clamd that calls clean what it has not looked at: the check
// command tells, and is content with one that is set up as the docs say.
func silentLimits(t *testing.T) string {
	const limit = 4 << 20
	for name, c := range map[string]struct {
		o    clamdtest.RealOptions
		code int
		says string
	}{
		"strict":    {clamdtest.RealOptions{}, 0, "passed"},
		"limits":    {clamdtest.RealOptions{IgnoreLimits: true}, 1, "AlertExceedsMax yes"},
		"encrypted": {clamdtest.RealOptions{IgnoreEncrypted: true}, 1, "AlertEncrypted yes"},
		"streams":   {clamdtest.RealOptions{StreamMaxLength: limit / 2}, 1, "set StreamMaxLength to 4194304"},
	} {
		file := filepath.Join(t.TempDir(), "portcullis.yaml")
		text := fmt.Sprintf("engines: [{name: av, clamd: {addresses: [%q]}}]\npolicies: [{name: default, engines: [av], max_body_bytes: %d}]\n",
			clamdtest.StartReal(t, c.o).Unix(), limit)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, complaints, code := command(t, "check", "--config", file, "--engines"); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%s: status %d\n%s%s", name, code, out, complaints)
		}
	}
	return "check --engines says which setting"
}

// stalledUploads keeps 30 bodies from being complete: engines see none of them.
func stalledUploads(t *testing.T) string {
	daemon := clamdtest.StartReal(t, clamdtest.RealOptions{MaxThreads: 4})
	p := startPortcullis(t, rig.PortcullisOptions{Config: yaml(
		[]string{fmt.Sprintf(`{name: av, clamd: {addresses: [%q], max_in_flight: 3}}`, daemon.Unix())},
		[]string{`{name: default, engines: [av]}`}) + "cache: {memory_entries: 0}\n"})
	g := startGate(t, p, envoy.Options{})
	id := newID()
	ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
	defer cancel()
	for i := range 30 {
		raw, err := client.Dial(ctx, g.address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = raw.Close() }()
		if err := raw.Send(fmt.Sprintf("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n%s", payload.Canaries(id, 1000*(i+1)))); err != nil {
			t.Fatal(err)
		}
	}
	awaitZero(t, "stalled uploads not at the gate yet", func() (int64, error) {
		m, err := p.Metrics()
		return 30 - int64(m.Sum("portcullis_exchanges_open")), err
	})
	m, err := p.Metrics()
	if n := m.Sum("portcullis_engine_scans_total"); err != nil || n != 0 {
		t.Errorf("the engine was given %v of them, %v", n, err)
	}
	start := time.Now()
	g.crosses(t, "x", client.HTTP1, framing{name: "length"}, payload.Random(5, 50000))
	took := time.Since(start)
	if took > 2*time.Second { // both legs: two scans
		t.Errorf("good scans took %v", took)
	}
	if n := g.origin.Tap().Canaries(id); n != 0 {
		t.Errorf("LEAK: %d canaries", n)
	}
	return fmt.Sprintf("two good scans in %v, no stalled body at the engine", took.Round(time.Millisecond))
}

// endlessScan is a body over which the engine never ends, while others are served.
func endlessScan(t *testing.T) string {
	var fakes [2]*clamdtest.Server
	var addresses []string
	for i := range fakes {
		fakes[i] = clamdtest.Start(t, clamdtest.Options{})
		addresses = append(addresses, fakes[i].Address())
	}
	s := startScanning(t, addresses, ", max_in_flight: 2", engineScan)
	bomb := []byte("a body that never ends")
	var first time.Duration
	for try := range 3 {
		for _, f := range fakes {
			f.Set(clamdtest.Fault{Delay: time.Hour})
		}
		before, left := s.metric(t, "scans_total"), fakes[0].Open()+fakes[1].Open()
		var r scanned
		var wait sync.WaitGroup
		wait.Go(func() { r = s.scan(t, modes[try%2], bomb) })
		if try < 2 {
			awaitZero(t, "bombs missing at an engine", func() (int64, error) {
				return int64(left + 1 - fakes[0].Open() - fakes[1].Open()), nil
			})
		}
		for _, f := range fakes {
			f.Set(clamdtest.Fault{})
		}
		for i := range 4 {
			if good := s.scan(t, closed, fmt.Appendf(nil, "good %d", i)); !good.clean() || good.took > time.Second {
				t.Errorf("beside the bomb: %v after %v", good.ScanResponse, good.took)
			}
		}
		wait.Wait()
		if r.GetOutcome() != scanv1.Outcome_OUTCOME_UNSCANNABLE || r.GetCause() != "scan-timeout" || r.GetAction() != scanv1.Action_ACTION_BLOCK {
			t.Errorf("the bomb, try %d: %v", try, r.ScanResponse)
		}
		asked := s.metric(t, "scans_total") - before - 4
		switch {
		case try < 2 && (asked != 1 || r.took > engineScan+slack):
			t.Errorf("try %d: %v scans of the bomb, %v", try, asked, r.took)
		case try == 2 && (asked != 0 || r.took > time.Second):
			t.Errorf("known to be a bomb, %v scans of it, %v", asked, r.took)
		}
		if try == 0 {
			first = r.took
		}
	}
	if n := s.metric(t, "harmful_objects_total"); n != 1 {
		t.Errorf("%v harmful objects counted", n)
	}
	s.idle(t)
	return fmt.Sprintf("UNSCANNABLE scan-timeout after %v on one instance, at once from the third time on", first.Round(10*time.Millisecond))
}

// wires starts fakes and a wire to each.
func wires(t *testing.T, n int, f clamdtest.Fault) (all []*wire, addresses []string) {
	t.Helper()
	for range n {
		fake := clamdtest.Start(t, clamdtest.Options{Network: "tcp"})
		fake.Set(f)
		w := startWire(t, fake.Address())
		all, addresses = append(all, w), append(addresses, w.address())
	}
	return all, addresses
}

// allDown cuts every wire for some seconds of load.
func allDown(t *testing.T) string {
	all, addresses := wires(t, 3, clamdtest.Fault{})
	s := startScanning(t, addresses, "", engineScan)
	for _, w := range all {
		w.cut()
	}
	for i := range 30 { // 5 for each instance, and retries
		s.scan(t, closed, fmt.Appendf(nil, "found out %d", i)).wantERROR(t, closed)
	}
	if n := s.metric(t, "breaker_open"); n != 3 {
		t.Errorf("%v instances are out of use", n)
	}
	var mu sync.Mutex
	var took []time.Duration
	var load sync.WaitGroup
	const requests, rate = 1000, 200
	before := s.metric(t, "scans_total")
	for i := range requests {
		load.Go(func() {
			mode := modes[i%2]
			r := s.scan(t, mode, fmt.Appendf(nil, "down %d", i))
			r.wantERROR(t, mode)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, r.took)
		})
		time.Sleep(time.Second / rate)
	}
	load.Wait()
	if n := s.metric(t, "scans_total") - before; n != 0 {
		t.Errorf("%v scans were tried", n)
	}
	p99 := percentile(took, 99)
	if !raceDetector && p99 > 50*time.Millisecond {
		t.Errorf("p99 of the refusals is %v", p99)
	}
	s.idle(t)
	for _, w := range all {
		w.mend(t, "")
	}
	back := s.backAfter(t, 5*time.Second)
	return fmt.Sprintf("%d at %d/s: ERROR engine-unreachable, blocked or passed, p99 %v; back in %v", requests, rate, p99.Round(100*time.Microsecond), back)
}

// pressure has clients scan one thing after the other and returns how long each took.
func (s *scanning) pressure(t *testing.T, clients int, d time.Duration) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var load sync.WaitGroup
	end := time.Now().Add(d)
	for c := range clients {
		load.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				r := s.scan(t, closed, fmt.Appendf(nil, "body %d of client %d", i, c))
				if !r.clean() {
					t.Errorf("got %v", r.ScanResponse)
				}
				mu.Lock()
				took = append(took, r.took)
				mu.Unlock()
			}
		})
	}
	load.Wait()
	return took
}

// oneSlow adds 2 s to one of three instances.
func oneSlow(t *testing.T) string {
	all, addresses := wires(t, 3, clamdtest.Fault{Delay: 30 * time.Millisecond})
	s := startScanning(t, addresses, "", 10*time.Second)
	before := s.pressure(t, 4, 5*time.Second)
	slow := []string{"instance", addresses[2]}
	share := s.metric(t, "scans_total", slow...)
	all[2].spoil(t, toxic{Type: "latency", Stream: "downstream", Attributes: map[string]int{"latency": 2000}})
	during := s.pressure(t, 4, 10*time.Second)
	got := s.metric(t, "scans_total", slow...) - share
	healthy, hurt := percentile(before, 99), percentile(during, 99)
	// The exact ratio is a test of scan/fleet, where time is not real; here a busy
	// machine adds to it, though never as much as the slow instance would.
	if hurt > healthy*3/2+200*time.Millisecond {
		t.Errorf("p99 is %v, was %v", hurt, healthy)
	}
	if got > float64(len(during))/9 {
		t.Errorf("the slow one got %v of %d", got, len(during))
	}
	if n := s.metric(t, "ejections_total", slow...); n == 0 {
		t.Error("it was never called an outlier")
	}
	return fmt.Sprintf("p99 %v, healthy %v; the slow one got %v of %d", hurt.Round(time.Millisecond), healthy.Round(time.Millisecond), got, len(during))
}

// flapping cuts and mends the only wire every 2 s.
func flapping(t *testing.T) string {
	all, addresses := wires(t, 1, clamdtest.Fault{})
	s := startScanning(t, addresses, "", engineScan)
	const seconds = 16
	failures, requests := 0, 0
	start := time.Now()
	up := true
	for time.Since(start) < seconds*time.Second {
		if want := int(time.Since(start)/(2*time.Second))%2 == 0; want != up {
			up = want
			if up {
				all[0].mend(t, "")
			} else {
				all[0].cut()
			}
		}
		requests++
		if r := s.scan(t, closed, fmt.Appendf(nil, "body %d", requests)); !r.clean() {
			failures++
			r.wantERROR(t, closed)
		}
		time.Sleep(20 * time.Millisecond)
	}
	changes := s.metric(t, "breaker_transitions_total")
	if changes > seconds {
		t.Errorf("%v changes of the breaker in %d s", changes, seconds)
	}
	// Down half of the time, and until the next probe after each return.
	if failures > requests*8/10 || failures < requests/4 {
		t.Errorf("%d of %d failed", failures, requests)
	}
	if !up {
		all[0].mend(t, "")
	}
	s.backAfter(t, 5*time.Second)
	return fmt.Sprintf("%d of %d failed, the breaker changed %v times in %d s", failures, requests, changes, seconds)
}

// randomFailures resets 30 % of the connections to each of three instances.
func randomFailures(t *testing.T) string {
	all, addresses := wires(t, 3, clamdtest.Fault{})
	s := startScanning(t, addresses, "", engineScan)
	before := s.metric(t, "scans_total")
	for _, w := range all {
		w.spoil(t, toxic{Type: "reset_peer", Stream: "upstream", Toxicity: 0.3})
	}
	const requests = 500
	clean, blamed := 0, 0
	for i := range requests {
		mode := modes[i%2]
		r := s.scan(t, mode, fmt.Appendf(nil, "body %d", i))
		time.Sleep(10 * time.Millisecond) // by bad luck an instance may be out of use for a second
		switch {
		case r.clean():
			clean++
		case r.GetOutcome() == scanv1.Outcome_OUTCOME_UNSCANNABLE:
			blamed++
		default:
			r.wantERROR(t, mode)
		}
	}
	calls := s.metric(t, "scans_total") - before
	if calls > requests*1.1+3 {
		t.Errorf("%v calls for %d requests", calls, requests)
	}
	if clean < requests/2 || blamed > 2 { // the first breaks may look like the body's doing
		t.Errorf("%d of %d clean, %d blamed on the body", clean, requests, blamed)
	}
	s.idle(t)
	return fmt.Sprintf("%d of %d served, %v calls, the rest ERROR", clean, requests, calls)
}
