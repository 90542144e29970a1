package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
)

// Faults of what is around the gate: Envoy, disk, descriptors, whoever reads its
// log and metrics, and a replica that is out of date.

// reported adds a row with what became of a case to the table of the whole run.
func reported(t *testing.T, id, fault, mode string, outcome func() string) {
	t.Helper()
	faultRows.add(id, fault, "-", mode, marked(t, outcome()))
}

// An Envoy that is killed while bodies arrive and while one is scanned leaves
// nothing behind: no stream, body, slot, descriptor or goroutine (F-24).
func TestEnvoyKilled(t *testing.T) {
	t.Parallel()
	cloud, fields := startCloud(t)
	p := startPortcullis(t, rig.PortcullisOptions{Config: yaml(
		[]string{`{name: builtin, builtin: {}}`, fmt.Sprintf(`{name: cloud, cloudmersive: {%s}, canary: {timeout: 2s}}`, fields)},
		[]string{`{name: default, engines: [builtin]}`, `{name: cloud, engines: [cloud], scan_timeout: 60s}`},
	) + fmt.Sprintf("spool: {disk_dir: %q, body_memory_bytes: 65536}\n", t.TempDir())})
	behind := startOrigin(t)
	start := func() (*gate, *rig.Envoy) {
		config, err := envoy.StaticYAML(envoy.Options{Upstream: behind.Address(), Processor: p.ExtProc, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		e, err := rig.StartEnvoy(rig.EnvoyOptions{Binary: needEnvoy(t), Dir: t.TempDir(), Config: config})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Kill)
		address, err := e.Address()
		if err != nil {
			t.Fatal(err)
		}
		return &gate{address: address, envoy: e, portcullis: p, origin: behind}, e
	}
	g, e := start()
	g.crosses(t, "cloud", client.HTTP1, framing{name: "length"}, payload.Random(1, 200<<10))
	e.Kill() // so that the baseline has no connection of an Envoy
	until(t, "the first Envoy's streams to end", func() bool { n, err := g.gauge("portcullis_extproc_streams_open"); return err == nil && n == 0 })
	time.Sleep(200 * time.Millisecond)
	before := g.baseline(t)

	g, e = start()
	id := newID()
	cloud.Always(cloudmersivetest.Hang())
	asked := len(cloud.Requests())
	for i, path := range []string{"/default/x", "/default/x", "/cloud/x"} {
		r := g.raw(t)
		defer func() { _ = r.Close() }()
		size, length := 300_000, 400_000
		if i == 2 {
			length = size
		}
		if err := r.Send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, length, payload.Canaries(id, size)[:size])); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "three exchanges, one of them being scanned", func() bool {
		n, err := g.gauge("portcullis_exchanges_open")
		return err == nil && n == 3 && len(cloud.Requests()) > asked
	})
	e.Kill()
	g.spoolEmpty(t)
	cloud.Always(cloudmersivetest.Answer())
	awaitZero(t, "scans in flight", func() (int64, error) { return g.gauge("portcullis_engine_scans_in_flight") })
	awaitZero(t, "open files more than before", func() (int64, error) {
		u, err := p.Usage()
		return int64(max(0, u.Files-before.files)), err
	})
	awaitZero(t, "goroutines more than before", func() (int64, error) {
		n, err := g.gauge("go_goroutines")
		return max(0, n-before.goroutines), err
	})
	if n := behind.Tap().Canaries(id); n != 0 {
		t.Errorf("LEAK: %d canaries", n)
	}
	reported(t, "F-24", "Envoy killed amid uploads and a scan", closed, func() string { return "exchanges, bodies, slots, files and goroutines gone" })
}

// 1,100 exchanges at once, more than Envoy's default of 1,024, are all held, and
// one more is served (F-31).
func TestManyStreams(t *testing.T) {
	const many = 1100
	g := startGate(t, startPortcullis(t, rig.PortcullisOptions{Binary: needPlain(t)}), envoy.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	held := g.trickles(ctx, t, many, "/x")
	awaitZero(t, "exchanges missing", func() (int64, error) {
		n, err := g.gauge("portcullis_exchanges_open")
		return many - n, err
	})
	g.crosses(t, "x", client.HTTP1, framing{name: "length"}, payload.Random(3, 10<<10))
	for _, stat := range []string{"cluster.portcullis.upstream_rq_pending_overflow", "cluster.portcullis.upstream_cx_overflow", "ext_proc.streams_failed"} {
		if n, err := g.envoy.Stat(stat); err != nil || n != 0 {
			t.Errorf("%s is %d, error %v", stat, n, err)
		}
	}
	for _, r := range held {
		_ = r.Close()
	}
	g.spoolEmpty(t)
	reported(t, "F-31", "1,100 exchanges at once", closed, func() string { return "all held, one more served, upstream_rq_pending_overflow 0" })
}

// spoolGate has bodies of more than 64 KiB on disk, under the policies default
// and open.
func spoolGate(t *testing.T, dir string) *gate {
	t.Helper()
	return startGate(t, startPortcullis(t, rig.PortcullisOptions{Config: yaml(
		[]string{`{name: builtin, builtin: {}}`},
		[]string{`{name: default, engines: [builtin]}`, `{name: open, engines: [builtin], fail: open}`},
	) + fmt.Sprintf("spool: {disk_dir: %q, memory_bytes: 131072, body_memory_bytes: 65536}\n", dir)}), envoy.Options{})
}

// notKept sends what the spool cannot keep: refused where the policy fails closed,
// whole or not at all where it fails open.
func (g *gate) notKept(t *testing.T, what string) string {
	t.Helper()
	id := newID()
	x, err := g.try(t, id, client.HTTP2, client.Request{Path: "/default/x", Body: payload.Bytes(payload.Canaries(id, 500<<10))}, origin.Answer{})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	x.wantNoUpload(t, what)
	x.wantProblem(t, what, refusal{http.StatusServiceUnavailable, "request", "ERROR", "spool"})
	body := payload.Random(9, 500<<10)
	x, err = g.try(t, newID(), client.HTTP2, client.Request{Path: "/open/x", Body: body}, origin.Answer{})
	switch {
	case err != nil || x.Status != http.StatusOK:
		if x.seen.Bytes == body.Size() && x.seen.Err == nil {
			t.Errorf("%s, open: status %d although the origin got all", what, x.Status)
		}
		return fmt.Sprintf("closed 503 ERROR spool, open %d", x.Status)
	case x.seen.SHA256 != body.SHA256() || !strings.HasPrefix(x.seen.Header.Get("X-Portcullis-Verdict"), "ERROR"):
		t.Errorf("%s, open: the origin got %d bytes of %d as %q", what, x.seen.Bytes, body.Size(), x.seen.Header.Get("X-Portcullis-Verdict"))
	}
	return "closed 503 ERROR spool, open passed whole as ERROR"
}

// A spool without a file to be had, on a full disk, on one that became read-only,
// and without its folder: a body that cannot be kept is refused, or passes whole;
// and when the fault is over, bodies are kept again (F-34).
func TestSpoolFaults(t *testing.T) {
	t.Parallel()
	mount := func(t *testing.T) string {
		dir := t.TempDir()
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k", "none", dir).CombinedOutput(); err != nil {
			faultRows.add("F-34", "spool: "+t.Name(), "-", "both", "SKIPPED: a file system cannot be mounted here")
			t.Skipf("mount: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
		return dir
	}
	for _, c := range []struct {
		name string
		dir  func(t *testing.T) string
		hurt func(t *testing.T, g *gate, dir string) (mend func())
	}{
		{"ENOSPC", mount, func(t *testing.T, _ *gate, dir string) func() {
			fill := filepath.Join(dir, "fill")
			f, err := os.Create(fill)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(f, io.LimitReader(zeros{}, 1<<20)) // until it is full
			_ = f.Close()
			return func() { _ = exec.Command("mount", "-o", "remount,size=8m", dir).Run() }
		}},
		{"read-only", mount, func(t *testing.T, _ *gate, dir string) func() {
			if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			return func() { _ = exec.Command("mount", "-o", "remount,rw,size=8m", dir).Run() }
		}},
		{"deleted", func(t *testing.T) string { return filepath.Join(t.TempDir(), "spool") }, func(t *testing.T, _ *gate, dir string) func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Mkdir(dir, 0o700) }
		}},
		{"EMFILE", func(t *testing.T) string { return t.TempDir() }, func(t *testing.T, g *gate, _ string) func() {
			limit := func(n string) {
				if out, err := exec.Command("prlimit", "--pid", strconv.Itoa(g.portcullis.PID()), "--nofile="+n+":").CombinedOutput(); err != nil {
					faultRows.add("F-34", "spool: EMFILE", "-", "both", "SKIPPED: no prlimit here")
					t.Skipf("prlimit: %v: %s", err, out)
				}
			}
			g.crosses(t, "default", client.HTTP1, framing{name: "length"}, payload.Random(5, 200<<10)) // Envoy's connection stands
			limit("8")                                                                                 // of which all are taken
			return func() { limit("4096") }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := c.dir(t)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			g := spoolGate(t, dir)
			g.crosses(t, "default", client.HTTP1, framing{name: "length"}, payload.Random(4, 1000))
			mend := c.hurt(t, g, dir)
			outcome := g.notKept(t, c.name)
			g.crosses(t, "default", client.HTTP1, framing{name: "length"}, payload.Random(2, 1000)) // fits into memory
			mend()
			g.crosses(t, "default", client.HTTP1, framing{name: "length"}, payload.Random(6, 500<<10))
			g.spoolEmpty(t)
			reported(t, "F-34", "spool: "+c.name, "both", func() string { return outcome + ", kept again afterwards" })
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// Nobody reads the log, those who ask for metrics do not take the answer, and the
// collector takes connections and no span: no exchange waits for any of them (F-40).
func TestDeafReaders(t *testing.T) {
	binary, dir := needPlain(t), t.TempDir()
	pipe := filepath.Join(dir, "log")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	deaf, err := os.OpenFile(pipe, os.O_RDWR, 0) // both ends, so that nobody waits for the other
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deaf.Close() }()
	script := filepath.Join(dir, "portcullis.sh")
	if err := os.WriteFile(script, []byte(fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" >%s 2>&1\n", binary, pipe)), 0o700); err != nil {
		t.Fatal(err)
	}
	// The median is asserted: who waits for a reader waits every time, and on a busy
	// machine a p99 says more about the machine.
	measure := func(binary, config string, deafen func(*rig.Portcullis)) (median, p99 time.Duration) {
		g := startGate(t, startPortcullis(t, rig.PortcullisOptions{Binary: binary, Config: config}), envoy.Options{})
		if deafen != nil {
			deafen(g.portcullis)
			time.Sleep(time.Second) // until no more answers fit into their connections
		}
		var took []time.Duration
		for i := range 800 {
			body := payload.Random(uint64(i), 5000)
			start := time.Now()
			x := g.send(t, client.HTTP1, client.Request{Path: "/x", Body: body}, origin.Answer{})
			took = append(took, time.Since(start))
			if x.Status != http.StatusOK || x.seen.SHA256 != body.SHA256() {
				t.Errorf("status %d, the origin got %d bytes", x.Status, x.seen.Bytes)
			}
		}
		return percentile(took, 50), percentile(took, 99)
	}
	heard, heardMost := measure(binary, "", nil)
	unheard, unheardMost := measure(script, fmt.Sprintf("tracing: {otlp: {address: %q}}\n", deafListener(t)), func(p *rig.Portcullis) {
		for range 20 {
			c, err := net.Dial("tcp", p.Admin)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			for range 50 {
				_, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
			}
		}
	})
	if unheard > 2*heard+50*time.Millisecond {
		t.Errorf("the median is %v with deaf readers, %v without", unheard, heard)
	}
	reported(t, "F-40", "log pipe full, 20 deaf readers of metrics, a collector that takes no trace", closed, func() string {
		return fmt.Sprintf("median %v, p99 %v; %v, %v without", unheard.Round(100*time.Microsecond), unheardMost.Round(100*time.Microsecond),
			heard.Round(100*time.Microsecond), heardMost.Round(100*time.Microsecond))
	})
}

// deafListener is where connections are taken by the kernel and by nobody else.
func deafListener(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// Of two replicas one has an old policy: which one judged is to be seen in the
// metrics and in the log (F-43).
func TestOldReplica(t *testing.T) {
	t.Parallel()
	config := func(timeout string) string {
		return yaml([]string{`{name: builtin, builtin: {}}`}, []string{fmt.Sprintf(`{name: default, engines: [builtin], scan_timeout: %s}`, timeout)})
	}
	replicas := []*rig.Portcullis{
		startPortcullis(t, rig.PortcullisOptions{Config: config("10s")}), startPortcullis(t, rig.PortcullisOptions{Config: config("20s")}),
	}
	g := startRewired(t, replicas[0], envoy.Options{}, func(b bootstrap) { b.processors(t, replicas[0].ExtProc, replicas[1].ExtProc) })
	const exchanges = 40
	for i := range uint64(exchanges) {
		g.crosses(t, "default", client.HTTP1, framing{name: "length"}, payload.Random(i, 1000))
	}
	hash := func(p *rig.Portcullis) string {
		line, err := p.AwaitLog(10*time.Second, func(l map[string]any) bool { return l["msg"] == "exchange" })
		if err != nil {
			t.Fatal(err)
		}
		s, _ := line["policy_hash"].(string)
		return s
	}
	first, second := hash(replicas[0]), hash(replicas[1])
	if first == "" || first == second {
		t.Errorf("the policies' hashes are %q and %q", first, second)
	}
	awaitZero(t, "exchanges not counted under a hash", func() (int64, error) {
		sum := 0.0
		for i, p := range replicas {
			m, err := p.Metrics()
			if err != nil {
				return 0, err
			}
			sum += m.Sum("portcullis_policy_exchanges_total", "policy", "default", "hash", []string{first, second}[i])
		}
		return exchanges - int64(sum), nil
	})
	reported(t, "F-43", "two replicas, one with an old policy", closed, func() string { return "two hashes in portcullis_policy_exchanges_total and the log" })
}
