package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// buildDir is where the program under test is built; it lives as long as the run.
var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "portcullis-e2e-")
	if err != nil {
		panic(err)
	}
	buildDir = dir
	goleak.VerifyTestMain(m,
		// A server that cut an upload lingers half a second, which nobody can await.
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"),
		// Toxiproxy 2.5.0 forgets the middle of a chain of toxics, which waits for
		// ever to hand on what it has, when both ends of a connection are cut at once.
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
		// It also forgets who reads for a toxic that has ended by itself.
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
		goleak.Cleanup(func(status int) {
			if err := faultRows.print(); err != nil {
				fmt.Println("the table of faults:", err)
				status = max(status, 1)
			}
			_ = os.RemoveAll(dir) // the system's own folder for such things
			os.Exit(status)
		}))
}

// Every exchange that has nothing to wait for ends long before this, also with
// the race detector on a busy machine; longer is a hang.
const exchangeTimeout = 60 * time.Second

// missing skips the test for want of an installable part, which is a failure
// where everything is promised to be installed.
func missing(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s (CI=true)", reason)
	}
	t.Skipf("%s; e2e/install fetches it", reason)
}

func needEnvoy(t *testing.T) string {
	t.Helper()
	path, err := rig.FindEnvoy(t.Context())
	if err != nil {
		missing(t, err.Error())
	}
	return path
}

// build is done once for all tests: it is the slowest step of the room.
var build = sync.OnceValues(func() (string, error) {
	return rig.BuildPortcullis(context.Background(), buildDir, raceDetector)
})

func needPortcullis(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// buildPlain is done once for the tests that measure memory and time, which the
// race detector would multiply.
var buildPlain = sync.OnceValues(func() (string, error) {
	if !raceDetector {
		return build()
	}
	dir := filepath.Join(buildDir, "plain")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return rig.BuildPortcullis(context.Background(), dir, false)
})

func needPlain(t *testing.T) string {
	t.Helper()
	path, err := buildPlain()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// newID is an id for an exchange, fit for a canary.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func startOrigin(t *testing.T) *origin.Origin {
	t.Helper()
	o, err := origin.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// startPortcullis runs until the test ends. On failure its log is shown.
func startPortcullis(t *testing.T, o rig.PortcullisOptions) *rig.Portcullis {
	t.Helper()
	if o.Binary == "" {
		o.Binary = needPortcullis(t)
	}
	o.Dir = t.TempDir()
	p, err := rig.StartPortcullis(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		showLog(t, "portcullis", p.Process)
		if race := raceReport(p.Output()); race != "" {
			t.Errorf("portcullis has a data race:\n%s", race)
		}
	})
	return p
}

func raceReport(output []byte) string {
	_, report, found := strings.Cut(string(output), "WARNING: DATA RACE")
	if !found {
		return ""
	}
	return report[:min(len(report), 8<<10)]
}

// startEnvoy runs an Envoy with the generated configuration until the test
// ends. On failure its log is shown.
func startEnvoy(t *testing.T, o envoy.Options) (e *rig.Envoy, address string) {
	t.Helper()
	o.Listen, o.Admin = "127.0.0.1:0", "127.0.0.1:0"
	config, err := envoy.StaticYAML(o)
	if err != nil {
		t.Fatal(err)
	}
	return startEnvoyWith(t, config)
}

func startEnvoyWith(t *testing.T, config []byte) (e *rig.Envoy, address string) {
	t.Helper()
	e, err := rig.StartEnvoy(rig.EnvoyOptions{Binary: needEnvoy(t), Dir: t.TempDir(), Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-e.Done():
			t.Error("envoy ended by itself")
		default:
		}
		e.Kill()
		showLog(t, "envoy", e.Process)
	})
	if address, err = e.Address(); err != nil {
		t.Fatal(err)
	}
	return e, address
}

func showLog(t *testing.T, name string, p *rig.Process) {
	t.Helper()
	if t.Failed() {
		t.Logf("the last lines of %s:\n%s", name, p.Tail(40))
	}
}

// gate is an Envoy with a processor beside it and an origin behind it.
type gate struct {
	name       string // of the profile
	address    string // of Envoy's listener, or of the origin if there is a proxy
	proxy      string // of the listener of an Envoy that is a forward proxy
	envoy      *rig.Envoy
	portcullis *rig.Portcullis
	origin     *origin.Origin
}

// profiles are those of this room's tests, by their index in shared.gates.
func profiles() []envoy.Profile { return []envoy.Profile{envoy.Duplex, envoy.Buffered, envoy.Adaptive} }

// startGate puts an Envoy before p and an origin behind it.
func startGate(t *testing.T, p *rig.Portcullis, o envoy.Options) *gate {
	t.Helper()
	behind := startOrigin(t)
	o.Upstream, o.Processor = behind.Address(), p.ExtProc
	e, address := startEnvoy(t, o)
	name := string(o.Profile)
	if o.UpstreamHTTP2 {
		name += " to HTTP/2"
	}
	return &gate{name: name, address: address, envoy: e, portcullis: p, origin: behind}
}

// exchange is one exchange and all that is known about it afterwards.
type exchange struct {
	client.Result
	id      string
	seen    origin.Seen
	arrived bool // at the origin: at least the request headers
	client  *client.Client
	gate    *gate
}

// send sends r under a fresh connection and id, and fails the test when no
// answer comes. The origin answers as a says.
func (g *gate) send(t *testing.T, p client.Protocol, r client.Request, a origin.Answer) exchange {
	t.Helper()
	x, err := g.try(t, newID(), p, r, a)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// try is send for exchanges that may get no answer.
func (g *gate) try(t *testing.T, id string, p client.Protocol, r client.Request, a origin.Answer) (exchange, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
	defer cancel()
	c := client.New(g.address, p)
	defer c.Close()
	if g.proxy != "" {
		c.Through(g.proxy)
	}
	g.origin.Expect(id, a)
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set(origin.IDHeader, id)
	res, err := c.Do(ctx, r)
	x := exchange{Result: res, id: id, client: c, gate: g}
	if err == nil && res.Err == nil && !a.Early {
		// An answer of the origin's own comes after it read the request, but its
		// record is made by another goroutine.
		if _, ok := g.origin.Seen(id); ok {
			_, err = g.origin.Await(ctx, id)
		}
	}
	x.seen, x.arrived = g.origin.Seen(id)
	return x, err
}
