package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
)

const (
	soakScan  = 5 * time.Second // scan_timeout
	soakEvery = 10 * time.Second
	// soakEnd bounds an exchange: a scan on each leg, and what a busy machine adds.
	soakEnd = 2*(soakScan+time.Second) + slack
)

// soak is a gate with every kind of engine, each of which can be hurt.
type soak struct {
	*gate
	seed    uint64
	rand    *rand.Rand
	clamds  []*clamdtest.Server
	wires   map[string][]*wire // by engine
	cloud   *cloudmersivetest.Server
	icap    *icaptest.Server
	configs int
}

func soakDuration(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SOAK")
	if text == "" {
		return 2 * time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("SOAK: %v", err)
	}
	return d
}

func startSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{seed: rand.Uint64(), wires: map[string][]*wire{}}
	if text := os.Getenv("SOAK_SEED"); text != "" {
		var err error
		if s.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SOAK_SEED: %v", err)
		}
	}
	s.rand = rand.New(rand.NewPCG(s.seed, 0))
	for range 3 {
		c := clamdtest.Start(t, clamdtest.Options{Network: "tcp"})
		s.clamds = append(s.clamds, c)
		s.wires["clamav"] = append(s.wires["clamav"], startWire(t, c.Address()))
	}
	s.cloud = cloudmersivetest.New(cloudmersivetest.Forgetful())
	t.Cleanup(s.cloud.Close)
	s.wires["cloud"] = []*wire{startWire(t, strings.TrimPrefix(s.cloud.URL(), "http://"))}
	s.icap = icaptest.Start(t, icaptest.Options{Forgetful: true})
	s.wires["icap"] = []*wire{startWire(t, strings.TrimSuffix(strings.TrimPrefix(s.icap.URL(), "icap://"), "/scan"))}
	s.icap.Behind(s.wires["icap"][0].address())
	far := startPortcullis(t, rig.PortcullisOptions{Binary: needPlain(t), Config: "log: {level: warn}\n"})
	s.wires["far"] = []*wire{startWire(t, far.ExtProc)}
	p := startPortcullis(t, rig.PortcullisOptions{Binary: needPlain(t), Config: s.config(t)})
	s.gate = startGate(t, p, envoy.Options{ScanTimeout: soakScan})
	return s
}

// config differs a little each time, so that a reload changes something.
func (s *soak) config(t *testing.T) string {
	t.Helper()
	s.configs++
	var clamds []string
	for _, w := range s.wires["clamav"] {
		clamds = append(clamds, strconv.Quote(w.address()))
	}
	engines := []string{
		`{name: builtin, builtin: {}}`,
		fmt.Sprintf(`{name: clamav, clamd: {addresses: [%s]}}`, strings.Join(clamds, ", ")),
		fmt.Sprintf(`{name: cloud, %s}`, cloudAt(t, "http://"+s.wires["cloud"][0].address(), ", max_in_flight: 32")),
		fmt.Sprintf(`{name: icap, %s}`, icapAt("icap://"+s.wires["icap"][0].address()+"/scan")),
		fmt.Sprintf(`{name: far, remote: {address: %q}}`, s.wires["far"][0].address()),
	}
	var policies []string
	for _, p := range append(s.policies(), "default") {
		name, fail, _ := strings.Cut(p, "-")
		if name == "default" {
			name = "builtin"
		}
		if fail == "" {
			fail = closed
		}
		policies = append(policies, fmt.Sprintf(`{name: %s, engines: [%s], fail: %s, scan_timeout: %v, max_body_bytes: %d}`,
			p, name, fail, soakScan+time.Duration(s.configs)*time.Millisecond, engineObject))
	}
	return yaml(engines, policies) + "log: {level: warn}\ncache: {memory_entries: 5000}\n"
}

func (s *soak) policies() []string {
	return []string{"builtin", "clamav", "cloud", "icap", "far", "clamav-open", "cloud-open", "icap-open", "far-open"}
}

// fault hurts something and returns how to mend it.
type soakFault struct {
	name string
	hurt func(s *soak, t *testing.T) (what string, mend func())
}

func soakFaults() []soakFault {
	wired := func(id, kind, stream, attribute string, value int) soakFault {
		return soakFault{id, func(s *soak, t *testing.T) (string, func()) {
			name, w := s.someWire()
			w.spoil(t, toxic{Type: kind, Stream: stream, Attributes: map[string]int{attribute: value}})
			return fmt.Sprintf("%s %s on %s", kind, stream, name), w.clear
		}}
	}
	return []soakFault{
		{"F-01 refuses", func(s *soak, t *testing.T) (string, func()) {
			name, w := s.someWire()
			w.cut()
			return name, func() { w.mend(t, "") }
		}},
		{"F-19 all clamds refuse", func(s *soak, t *testing.T) (string, func()) {
			for _, w := range s.wires["clamav"] {
				w.cut()
			}
			return "clamav", func() {
				for _, w := range s.wires["clamav"] {
					w.mend(t, "")
				}
			}
		}},
		wired("F-03 silent", "timeout", "upstream", "timeout", 0),
		wired("F-06 reset", "reset_peer", "upstream", "timeout", 50),
		wired("F-06 upload cut", "limit_data", "upstream", "bytes", 3000),
		wired("F-07 reply cut", "limit_data", "downstream", "bytes", 9),
		wired("F-20 slow", "latency", "downstream", "latency", 1500),
		wired("F-20 narrow", "bandwidth", "upstream", "rate", 50),
		{"F-08 garbage", func(s *soak, _ *testing.T) (string, func()) {
			c := s.clamds[s.rand.IntN(len(s.clamds))]
			c.Set(clamdtest.Fault{Reply: []byte("stream: OKAY\x00")})
			return "a clamd", func() { c.Set(clamdtest.Fault{}) }
		}},
		{"F-17 answers", func(s *soak, _ *testing.T) (string, func()) {
			all := []cloudmersivetest.Behaviour{
				cloudmersivetest.Status(500), cloudmersivetest.Status(429), cloudmersivetest.Status(401), cloudmersivetest.JSON("{}"),
				cloudmersivetest.Reset(), cloudmersivetest.Drip(time.Second, `{"CleanResult":true}`), cloudmersivetest.Huge(1 << 20),
			}
			n := s.rand.IntN(len(all))
			s.cloud.Always(all[n])
			return fmt.Sprintf("cloud, number %d", n), func() { s.cloud.Always(cloudmersivetest.Answer()) }
		}},
		{"F-18 answers", func(s *soak, _ *testing.T) (string, func()) {
			all := []icaptest.Fault{{DieAtEnd: true}, {CutReply: 12}, {Hang: true}, {CloseAfter: true}, {Reply: []byte("ICAP/1.0 500 x\r\n\r\n")}, {ContinueThenClose: true}}
			n := s.rand.IntN(len(all))
			s.icap.Set(all[n])
			return fmt.Sprintf("icap, number %d", n), func() { s.icap.Set(icaptest.Fault{}) }
		}},
		{"F-23 clients leave", (*soak).clientsLeave},
		{"F-14 stalled uploads", (*soak).stalledUploads},
		{"F-37 reload", func(s *soak, t *testing.T) (string, func()) {
			writeFile(t, s.portcullis.ConfigFile, s.portcullis.Text(s.config(t)))
			return "good", func() { writeFile(t, s.portcullis.ConfigFile, s.portcullis.Text("nonsense: 1\n")) }
		}},
		{"F-37 SIGHUP", func(s *soak, t *testing.T) (string, func()) {
			writeFile(t, s.portcullis.ConfigFile, s.portcullis.Text(s.config(t)))
			if err := s.portcullis.Signal(syscall.SIGHUP); err != nil {
				t.Error(err)
			}
			return "good", func() {}
		}},
		{"F-42 origin resets", func(s *soak, t *testing.T) (string, func()) {
			for i := range uint64(20) {
				a := origin.Answer{Body: payload.Random(i, 500<<10), ResetAt: 100 << 10}
				if i%2 == 0 {
					a = origin.Answer{ResetAt: origin.AtOnce, Early: true}
				}
				id := newID()
				_, _ = s.try(t, id, client.HTTP1, client.Request{Path: "/clamav/x", Body: payload.Random(i, 20<<10)}, a)
				s.origin.Forget(id)
			}
			return "20 times", func() {}
		}},
	}
}

func (s *soak) someWire() (string, *wire) {
	names := []string{"clamav", "cloud", "icap", "far"}
	name := names[s.rand.IntN(len(names))]
	all := s.wires[name]
	return name, all[s.rand.IntN(len(all))]
}

func (s *soak) clientsLeave(t *testing.T) (string, func()) {
	t.Helper()
	for i := range 30 {
		r := s.raw(t)
		_ = r.Send(fmt.Sprintf("POST /clamav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n%s", payload.Canaries(newID(), 1000*(i+1))))
		_ = r.Close()
	}
	return "30 of them", func() {}
}

func (s *soak) stalledUploads(t *testing.T) (string, func()) {
	t.Helper()
	var all []*client.Raw
	for range 30 {
		r := s.raw(t)
		_ = r.Send("POST /clamav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\nx")
		all = append(all, r)
	}
	return "30 of them", func() {
		for _, r := range all {
			_ = r.Close()
		}
	}
}

// capacity is how many exchanges a second the machine can do right now.
func (s *soak) capacity(t *testing.T) int {
	t.Helper()
	const seconds = 3
	var done sync.WaitGroup
	var mu sync.Mutex
	n := 0
	end := time.Now().Add(seconds * time.Second)
	for w := range 8 {
		done.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				p := s.policies()[(w+i)%5]
				id := newID()
				x, err := s.try(t, id, client.HTTP1, client.Request{Path: "/" + p + "/up", Body: payload.Random(uint64(w<<32+i), 9000)}, origin.Answer{})
				s.origin.Forget(id)
				if err != nil || x.Status != http.StatusOK {
					t.Errorf("before any fault: status %d, %v: %s", x.Status, err, x.Head)
					return
				}
				mu.Lock()
				n++
				mu.Unlock()
			}
		})
	}
	done.Wait()
	return n / seconds
}

// A random fault every ten seconds at 70 % load: nothing infected passes where the
// policy fails closed, no clean body is changed, nothing hangs, and memory,
// goroutines, files and spool are what they were (F-44). SOAK=1h makes it longer,
// SOAK_SEED=N repeats a run's faults.
func TestSoak(t *testing.T) {
	duration := soakDuration(t)
	s := startSoak(t)
	t.Logf("seed %d", s.seed)
	awaitZero(t, "instances that are not up", func() (int64, error) {
		m, err := s.portcullis.Metrics()
		return 7 - int64(m.Sum("portcullis_engine_up")), err
	})
	capacity := s.capacity(t)
	s.spoolEmpty(t)
	before := s.baseline(t)
	load := &traffic{gate: s.gate, policies: s.policies(), rate: max(capacity*7/10, 20), open: map[string]bool{}, broken: true}
	for _, p := range s.policies() {
		load.open[p] = strings.HasSuffix(p, "-open")
	}
	ctx, stop := context.WithTimeout(t.Context(), duration)
	defer stop()
	var sending sync.WaitGroup
	sending.Go(func() { load.run(ctx, t) })
	var memory samples
	sending.Go(func() { memory.take(ctx, s.portcullis) })
	done := map[string]int{}
	for end := time.Now().Add(duration); time.Now().Add(soakEvery).Before(end); {
		f := soakFaults()[s.rand.IntN(len(soakFaults()))]
		next := time.Now().Add(soakEvery)
		what, mend := f.hurt(s, t)
		t.Logf("%s: %s", f.name, what)
		done[f.name]++
		time.Sleep(time.Until(next.Add(-soakEvery * 3 / 10)))
		mend()
		time.Sleep(time.Until(next))
	}
	sending.Wait()
	writeFile(t, s.portcullis.ConfigFile, s.portcullis.Text(s.config(t)))
	s.settled(t, before)
	load.mu.Lock()
	longest := percentile(load.took, 100)
	load.mu.Unlock()
	if longest > soakEnd {
		t.Errorf("an exchange took %v", longest)
	}
	outcome := load.right(t)
	slope := memory.slope()
	if duration >= 30*time.Minute && slope > 0.01 {
		t.Errorf("memory grows by %.1f %% in 10 minutes", 100*slope)
	}
	faultRows.add("F-44", fmt.Sprintf("soak, %v, %d faults, seed %d", duration, sum(done), s.seed), "all", "both", marked(t, fmt.Sprintf(
		"%d/s of %d/s: %s, longest %v; memory %+.1f %% in 10 min (counts from 30 min on), %d MiB at most",
		load.rate, capacity, outcome, longest.Round(time.Millisecond), 100*slope, memory.most()>>20)))
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// settled requires that all engines are back within 5 s, that bodies are judged
// again under every policy, and that nothing is left.
func (s *soak) settled(t *testing.T, before baseline) {
	t.Helper()
	start := time.Now()
	awaitZero(t, "instances that are not back", func() (int64, error) {
		m, err := s.portcullis.Metrics()
		return 7 - int64(m.Sum("portcullis_engine_up")), err
	})
	if took := time.Since(start); took > 5*time.Second+slack {
		t.Errorf("all engines are back after %v", took)
	}
	for _, p := range s.policies() {
		f := &faultRun{gate: s.gate, name: p}
		f.back(t, 5*time.Second)
	}
	awaitZero(t, "scans in flight", func() (int64, error) { return s.gauge("portcullis_engine_scans_in_flight") })
	// Connections to engines are kept for later scans.
	s.calm(t, baseline{files: before.files + 30, goroutines: before.goroutines + 60})
}
