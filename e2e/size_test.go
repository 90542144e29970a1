package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// What Portcullis may take: the spool's memory and what a process needs besides.
const (
	spoolMemory = 64 << 20
	besides     = 64 << 20
)

// startSmall starts a gate whose spool has 64 MiB of memory and as much disk as
// told, from a binary without the race detector.
func startSmall(t *testing.T, diskBytes int64, o envoy.Options, more string) *gate {
	t.Helper()
	config := yaml([]string{`{name: builtin, builtin: {}}`}, []string{
		fmt.Sprintf(`{name: default, engines: [builtin], max_body_bytes: %d, scan_timeout: 60s}`, spoolMemory+diskBytes),
	}) + fmt.Sprintf("spool: {memory_bytes: %d, disk_dir: %q, disk_bytes: %d}\n", spoolMemory, t.TempDir(), diskBytes) + more
	return startGate(t, startPortcullis(t, rig.PortcullisOptions{Binary: needPlain(t), Config: config}), o)
}

// withinMemory requires that Portcullis never took more than it may, its own
// program (some 30 MiB of file pages) included.
func (g *gate) withinMemory(t *testing.T, what string) {
	t.Helper()
	g.within(t, what, func(u rig.Usage) int64 { return u.PeakRSS })
}

// withinOwnMemory is withinMemory without the file pages.
func (g *gate) withinOwnMemory(t *testing.T, what string) {
	t.Helper()
	g.within(t, what, func(u rig.Usage) int64 { return u.PeakRSS - u.FileRSS })
}

func (g *gate) within(t *testing.T, what string, counts func(rig.Usage) int64) {
	t.Helper()
	u, err := g.portcullis.Usage()
	if err != nil {
		t.Logf("%s: memory not measured, no /proc on this system: %v", what, err)
		return
	}
	t.Logf("%s: Portcullis took %d MiB at most, of which %d MiB pages of files", what, u.PeakRSS>>20, u.FileRSS>>20)
	if n := counts(u); n > spoolMemory+besides {
		t.Errorf("%s: peak memory %d MiB, the bound is %d MiB", what, n>>20, (spoolMemory+besides)>>20)
	}
}

// 1 GiB crosses unchanged in either direction, and Portcullis does not grow.
func TestGibibyte(t *testing.T) {
	const size = 1 << 30
	g := startSmall(t, 4<<30, envoy.Options{}, "")
	body := payload.Random(61, size)
	body.ContentType = "video/mp4"

	start := time.Now()
	x := g.send(t, client.HTTP1, client.Request{Path: "/default/up", Body: body}, origin.Answer{})
	if x.Status != http.StatusOK || x.seen.Bytes != size || x.seen.SHA256 != x.SentSHA256 || x.seen.ContentLength != size {
		t.Errorf("upload: status %d, the origin got %d bytes of %d, error %v: %s", x.Status, x.seen.Bytes, x.Sent, x.seen.Err, x.Head)
	}
	want := x.SentSHA256
	t.Logf("upload took %v", time.Since(start))
	start = time.Now()
	x = g.send(t, client.HTTP1, client.Request{Path: "/default/down"}, origin.Answer{Body: body})
	if x.Status != http.StatusOK || x.Err != nil || x.ContentLength != size || x.Bytes != size || x.SHA256 != want {
		t.Errorf("download: status %d, %d bytes, error %v", x.Status, x.Bytes, x.Err)
	}
	t.Logf("download took %v", time.Since(start))
	g.withinMemory(t, "1 GiB")
	g.spoolEmpty(t)
}

// 100 MiB with malware in the last bytes is stopped to the last byte, in both
// directions.
func TestInfectedEnd(t *testing.T) {
	const size = 100 << 20
	g := startSmall(t, 4<<30, envoy.Options{}, "")
	for _, f := range framings() {
		id := newID()
		bad := payload.Concat(payload.Bytes(payload.Canaries(id, 1<<20)), payload.Random(62, size), payload.Bytes(payload.EICAR()))
		x, err := g.try(t, id, client.HTTP1, client.Request{Path: "/default/up", Body: bad, Chunked: f.chunked, Trailer: f.trailers}, origin.Answer{})
		if err != nil {
			t.Fatal(err)
		}
		x.wantNoUpload(t, f.name)
		x.wantProblem(t, f.name+" upload", refusal{http.StatusForbidden, "request", "INFECTED", "malware"})
		if x.Sent != bad.Size() {
			t.Errorf("%s: judged after %d bytes of %d", f.name, x.Sent, bad.Size())
		}
		a := origin.Answer{Body: bad, Trailer: f.trailers}
		if f.chunked {
			a.Length = origin.Chunked
		}
		if x, err = g.try(t, id, client.HTTP1, client.Request{Path: "/default/down"}, a); err != nil {
			t.Fatal(err)
		}
		x.wantNoDownload(t, f.name)
		x.wantProblem(t, f.name+" download", refusal{http.StatusForbidden, "response", "INFECTED", "malware"})
		if x.Bytes > 4<<10 {
			t.Errorf("%s: the client got %d bytes", f.name, x.Bytes)
		}
	}
	g.withinMemory(t, "100 MiB")
	g.spoolEmpty(t)
}
