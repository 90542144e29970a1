package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/nullproc"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
)

// Envoy's timers are derived from these two. An exchange with a frozen
// Portcullis ends by max_stream_duration, four times what one leg may take, or
// by the keepalive of Envoy's connection to Portcullis after some 35 s,
// whichever comes first. (stream_idle_timeout alone does not end an upload: the
// 504 it makes is a response, which the frozen Portcullis holds too. Measured,
// Envoy 1.40.0.)
const (
	faultScan   = time.Second
	faultUpload = 2 * time.Second
	faultBound  = 45 * time.Second
)

// faulty is a gate of its own, whose Portcullis can be hurt. Its engine is a
// Cloudmersive stand-in that can be told to hang.
type faulty struct {
	*gate
	cloud *cloudmersivetest.Server
}

func startFaulty(t *testing.T, profile envoy.Profile, policy string) *faulty {
	t.Helper()
	cloud, fields := startCloud(t)
	config := yaml(
		[]string{`{name: builtin, builtin: {}}`, fmt.Sprintf(`{name: cloud, cloudmersive: {%s}}`, fields)},
		[]string{
			fmt.Sprintf(`{name: default, engines: [builtin], scan_timeout: %v, upload_timeout: %v%s}`, faultScan, faultUpload, policy),
			fmt.Sprintf(`{name: cloud, engines: [cloud], scan_timeout: %v, upload_timeout: %v%s}`, faultScan, faultUpload, policy),
		},
	) + "drain: {grace: 0s, timeout: 10s}\n"
	p := startPortcullis(t, rig.PortcullisOptions{Config: config})
	g := startGate(t, p, envoy.Options{Profile: profile, ScanTimeout: faultScan, UploadTimeout: faultUpload})
	return &faulty{gate: g, cloud: cloud}
}

// ends requires that an exchange ends in time and without a success.
func (f *faulty) ends(t *testing.T, what, id string, p client.Protocol, r client.Request, a origin.Answer) exchange {
	t.Helper()
	start := time.Now()
	x, err := f.try(t, id, p, r, a)
	if took := time.Since(start); took > faultBound {
		t.Errorf("%s: ended after %v", what, took)
	}
	if err == nil && x.Err == nil && x.Status < http.StatusInternalServerError {
		t.Errorf("%s: status %d with %d bytes", what, x.Status, x.Bytes)
	}
	x.client, x.gate = orFresh(x.client, f.address), f.gate
	return x
}

// orFresh stands in for the client of an exchange that got no answer at all.
func orFresh(c *client.Client, address string) *client.Client {
	if c == nil {
		return client.New(address, client.HTTP1)
	}
	return c
}

// eachFaulty runs f for both profiles, each with processes of its own.
func eachFaulty(t *testing.T, f func(t *testing.T, g *faulty)) {
	t.Helper()
	for _, profile := range profiles() {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			f(t, startFaulty(t, profile, ""))
		})
	}
}

// A Portcullis that is not there lets nothing through, clean or not.
func TestKilledBefore(t *testing.T) {
	t.Parallel()
	eachFaulty(t, func(t *testing.T, g *faulty) {
		g.portcullis.Kill()
		id := newID()
		x := g.ends(t, "upload", id, client.HTTP1, client.Request{Path: "/x", Body: payload.InfectedForm(id, 1000)}, origin.Answer{})
		x.wantNoUpload(t, "upload")
		if x.Status != http.StatusServiceUnavailable {
			t.Errorf("status %d, want 503", x.Status)
		}
		g.ends(t, "bodiless", newID(), client.HTTP2, client.Request{Path: "/x"}, origin.Answer{})
		if n := g.origin.Tap().Bytes(); n != 0 {
			t.Errorf("LEAK: %d bytes reached the origin", n)
		}
	})
}

// Killed while a body arrives: what Envoy still has or gets goes nowhere.
func TestKilledDuringUpload(t *testing.T) {
	t.Parallel()
	eachFaulty(t, func(t *testing.T, g *faulty) {
		for _, p := range []client.Protocol{client.HTTP1, client.HTTP2} {
			id, cut := newID(), make(chan struct{})
			time.AfterFunc(300*time.Millisecond, func() {
				g.portcullis.Kill()
				close(cut)
			})
			x := g.ends(t, p.String(), id, p, client.Request{
				Path: "/x", Body: payload.InfectedForm(id, 200<<10), Gate: cut, GateAt: 100 << 10,
			}, origin.Answer{})
			x.wantNoUpload(t, p.String())
		}
		if n := g.origin.Tap().Bytes(); n != 0 {
			t.Errorf("LEAK: %d bytes reached the origin", n)
		}
	})
}

// Killed or frozen while an engine scans: neither the upload nor the download
// under scan goes on.
func TestHurtDuringScan(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		for _, leg := range []string{"upload", "download"} {
			t.Run(sig.String()+"/"+leg, func(t *testing.T) {
				t.Parallel()
				eachFaulty(t, func(t *testing.T, g *faulty) { g.hurtDuringScan(t, sig, leg) })
			})
		}
	}
}

func (f *faulty) hurtDuringScan(t *testing.T, sig syscall.Signal, leg string) {
	t.Helper()
	f.cloud.Always(cloudmersivetest.Hang())
	known := len(f.cloud.Requests())
	hurt := make(chan error)
	go func() {
		for len(f.cloud.Requests()) == known && t.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond) // the engine's side tells nobody
		}
		if sig == syscall.SIGSTOP {
			hurt <- f.portcullis.Freeze()
			return
		}
		hurt <- f.portcullis.Signal(sig)
	}()
	id := newID()
	r, a, form := client.Request{Path: "/cloud/x"}, origin.Answer{}, payload.InfectedForm(id, 50<<10)
	if leg == "upload" {
		r.Body = form
	} else {
		a.Body = form
	}
	x := f.ends(t, leg, id, client.HTTP1, r, a)
	if err := <-hurt; err != nil {
		t.Errorf("%v: %v", sig, err)
	}
	if leg == "upload" {
		x.wantNoUpload(t, leg)
	} else {
		x.wantNoDownload(t, leg)
	}
}

// A frozen Portcullis (SIGSTOP) holds everything back; Envoy's timers end the
// exchange, and after SIGCONT the gate works and nothing slips out.
func TestFrozen(t *testing.T) {
	t.Parallel()
	eachFaulty(t, func(t *testing.T, g *faulty) {
		if err := g.portcullis.Freeze(); err != nil {
			t.Fatal(err)
		}
		id := newID()
		x := g.ends(t, "frozen", id, client.HTTP2, client.Request{Path: "/x", Body: payload.InfectedForm(id, 50<<10)}, origin.Answer{})
		x.wantNoUpload(t, "frozen")
		if n := g.origin.Tap().Bytes(); n != 0 {
			t.Errorf("LEAK: %d bytes reached the origin", n)
		}
		if err := g.portcullis.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		g.recovers(t)
		if n := g.origin.Tap().Canaries(id); n != 0 {
			t.Errorf("LEAK: after SIGCONT %d canaries reached the origin", n)
		}
	})
}

// recovers waits until a clean exchange passes, and then requires that an
// infected one does not.
func (f *faulty) recovers(t *testing.T) {
	t.Helper()
	body := payload.Random(23, 5000)
	deadline := time.Now().Add(30 * time.Second) // Envoy probes every 3 s
	for {
		x, err := f.try(t, newID(), client.HTTP1, client.Request{Path: "/default/x", Body: body}, origin.Answer{})
		if err == nil && x.Status == http.StatusOK && x.seen.SHA256 == body.SHA256() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("clean exchanges still fail: status %d, error %v", x.Status, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	x := f.send(t, client.HTTP1, client.Request{Path: "/default/x", Body: payload.Bytes(payload.EICAR())}, origin.Answer{})
	x.wantNoUpload(t, "after the recovery")
	x.wantProblem(t, "after the recovery", refusal{http.StatusForbidden, "request", "INFECTED", "malware"})
}

// Started again on the same address, Portcullis is used again without a restart
// of Envoy.
func TestRestarted(t *testing.T) {
	t.Parallel()
	g := startFaulty(t, envoy.Duplex, "")
	g.portcullis.Kill()
	g.ends(t, "gone", newID(), client.HTTP1, client.Request{Path: "/x", Body: payload.Random(1, 100)}, origin.Answer{})
	startPortcullis(t, rig.PortcullisOptions{
		Config:  yaml([]string{`{name: builtin, builtin: {}}`}, []string{`{name: default, engines: [builtin]}`}),
		ExtProc: g.portcullis.ExtProc,
	})
	g.recovers(t)
}

// A processor that fails with whatever status at whatever message never opens
// the generated configuration.
func TestErroringProcessor(t *testing.T) {
	t.Parallel()
	for _, profile := range profiles() {
		for _, code := range []codes.Code{codes.Unavailable, codes.Internal, codes.ResourceExhausted, codes.Unknown, codes.Canceled} {
			t.Run(fmt.Sprintf("%s/%v", profile, code), func(t *testing.T) {
				t.Parallel()
				o, null := startOrigin(t), startNull(t, nullproc.Fault{At: 1, Code: code})
				e, address := startEnvoy(t, envoy.Options{Profile: profile, Upstream: o.Address(), Processor: null.Address()})
				g := &faulty{gate: &gate{address: address, envoy: e, origin: o}}
				id := newID()
				x := g.ends(t, "upload", id, client.HTTP1, client.Request{Path: "/x", Body: payload.InfectedForm(id, 1000)}, origin.Answer{})
				x.wantNoUpload(t, "upload")
				if x.Status != http.StatusServiceUnavailable {
					t.Errorf("status %d, want 503", x.Status)
				}
				if n := o.Tap().Bytes(); n != 0 {
					t.Errorf("LEAK: %d bytes reached the origin", n)
				}
			})
		}
	}
}

// An engine that fails in whatever way is an ERROR: blocked, with the cause.
func TestErroringEngine(t *testing.T) {
	t.Parallel()
	eachFaulty(t, func(t *testing.T, g *faulty) {
		for _, row := range []struct {
			name, cause string
			engine      cloudmersivetest.Behaviour
		}{
			{"500", "", cloudmersivetest.Status(http.StatusInternalServerError)},
			{"wrong key", "engine-refused", cloudmersivetest.Status(http.StatusUnauthorized)},
			{"empty", "engine-protocol", cloudmersivetest.JSON("")},
			{"not JSON", "engine-protocol", cloudmersivetest.Reply("text/html", "<p>CleanResult: true</p>")},
			{"no CleanResult", "engine-protocol", cloudmersivetest.JSON(`{"FoundViruses":null}`)},
			{"reset", "engine-unreachable", cloudmersivetest.Reset()},
			{"silent", "engine-timeout", cloudmersivetest.Hang()},
		} {
			g.cloud.Always(row.engine)
			id := newID()
			x := g.ends(t, row.name, id, client.HTTP1, client.Request{Path: "/cloud/x", Body: payload.Bytes(payload.Canaries(id, 3000))}, origin.Answer{})
			x.wantNoUpload(t, row.name)
			// The cause of a sick engine may be the breaker's after a while.
			if x.Status != http.StatusServiceUnavailable || x.Header.Get("Retry-After") == "" {
				t.Errorf("%s: status %d, Retry-After %q: %s", row.name, x.Status, x.Header.Get("Retry-After"), x.Head)
			}
		}
	})
}

// A body that never ends is given up after upload_timeout, and nothing of it passes.
func TestStalledUpload(t *testing.T) {
	t.Parallel()
	eachFaulty(t, func(t *testing.T, g *faulty) {
		id := newID()
		ctx, cancel := context.WithTimeout(t.Context(), faultBound)
		defer cancel()
		raw, err := client.Dial(ctx, g.address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = raw.Close() }()
		head := fmt.Sprintf("POST /x HTTP/1.1\r\nHost: x\r\n%s: %s\r\nContent-Length: 100000\r\n\r\n", origin.IDHeader, id)
		if err := raw.Send(head + string(payload.Canaries(id, 50000))); err != nil {
			t.Fatal(err)
		}
		res, err := raw.Receive(http.MethodPost)
		if err != nil || res.Status < 400 {
			t.Errorf("status %d, error %v", res.Status, err)
		}
		if n := g.origin.Tap().Bytes(); n != 0 {
			t.Errorf("LEAK: %d bytes reached the origin", n)
		}
	})
}

// SIGTERM lets exchanges under way end as they should, and the process then
// ends with status 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	eachFaulty(t, func(t *testing.T, g *faulty) {
		held := make(chan struct{})
		time.AfterFunc(300*time.Millisecond, func() {
			if err := g.portcullis.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			time.AfterFunc(300*time.Millisecond, func() { close(held) })
		})
		x := g.send(t, client.HTTP1, client.Request{
			Path: "/x", Body: payload.Bytes(payload.EICAR()), Gate: held, GateAt: 10,
		}, origin.Answer{})
		x.wantNoUpload(t, "infected")
		x.wantProblem(t, "infected", refusal{http.StatusForbidden, "request", "INFECTED", "malware"})
		status, err := g.portcullis.Exit(15 * time.Second)
		if err != nil || status != 0 {
			t.Errorf("exit status %d, error %v", status, err)
		}
		g.ends(t, "afterwards", newID(), client.HTTP1, client.Request{Path: "/x", Body: payload.Random(1, 10)}, origin.Answer{})
		if n := g.origin.Tap().Bytes(); n != 0 {
			t.Errorf("LEAK: %d bytes reached the origin", n)
		}
	})
}

// Clients that leave in the middle leave nothing behind: no stream, no open
// file, no spooled body.
func TestClientsLeave(t *testing.T) {
	t.Parallel()
	spool := t.TempDir()
	p := startPortcullis(t, rig.PortcullisOptions{Config: fmt.Sprintf(
		"spool: {disk_dir: %q, memory_bytes: 131072, body_memory_bytes: 65536}\n", spool)})
	g := startGate(t, p, envoy.Options{})
	g.crosses(t, "x", client.HTTP1, framing{name: "length"}, payload.Random(1, 1<<20))
	before, err := p.Usage()
	if err != nil {
		t.Skipf("no /proc on this system: %v", err)
	}
	id := newID()
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
		raw, err := client.Dial(ctx, g.address)
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Send(fmt.Sprintf("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n%s", payload.Canaries(id, i*40000))); err != nil {
			t.Fatal(err)
		}
		_ = raw.Close() // this is the test
		cancel()
	}
	awaitZero(t, "open streams at Envoy", func() (int64, error) { return g.envoy.Stat("cluster.portcullis.upstream_rq_active") })
	awaitZero(t, "open files more than before", func() (int64, error) {
		u, err := p.Usage()
		return int64(max(0, u.Files-before.Files)), err
	})
	if left, err := os.ReadDir(spool); err != nil || len(left) != 0 {
		t.Errorf("%d files in the spool, error %v", len(left), err)
	}
	if n := g.origin.Tap().Canaries(id); n != 0 {
		t.Errorf("LEAK: %d canaries", n)
	}
}

// A spool that cannot be written is an ERROR, never a pass, and never an end of
// the process.
func TestSpoolFails(t *testing.T) {
	t.Parallel()
	spool := filepath.Join(t.TempDir(), "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	p := startPortcullis(t, rig.PortcullisOptions{Config: fmt.Sprintf("spool: {disk_dir: %q, memory_bytes: 131072, body_memory_bytes: 65536}\n", spool)})
	g := startGate(t, p, envoy.Options{})
	if err := os.RemoveAll(spool); err != nil {
		t.Fatal(err)
	}
	x := g.send(t, client.HTTP1, client.Request{Path: "/x", Body: payload.Random(1, 500<<10)}, origin.Answer{})
	x.wantNoUpload(t, "upload")
	x.wantProblem(t, "upload", refusal{http.StatusServiceUnavailable, "request", "ERROR", "spool"})
	x = g.downloadCanaries(t, client.HTTP1, "/x", 500<<10)
	x.wantProblem(t, "download", refusal{http.StatusServiceUnavailable, "response", "ERROR", "spool"})
	g.crosses(t, "x", client.HTTP1, framing{name: "length"}, payload.Random(2, 1000)) // fits into memory
}
