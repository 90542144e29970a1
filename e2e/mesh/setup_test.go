package mesh_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// repository is the top level, as seen from this package's folder.
const repository = "../.."

// tools is where make mesh-tools puts the programs; empty without make test-mesh.
func tools() string { return os.Getenv("PORTCULLIS_MESH_TOOLS") }

var buildDir string

func TestMain(m *testing.M) {
	if tools() == "" {
		fmt.Println("SKIPPED: the mesh tests need control planes that take half an hour to build; run \"make test-mesh\"")
	}
	dir, err := os.MkdirTemp("", "portcullis-mesh-")
	if err != nil {
		panic(err)
	}
	buildDir = dir
	status := m.Run()
	_ = os.RemoveAll(dir) // the system's own folder for such things
	os.Exit(status)
}

// need is the path of a program that make test-mesh promises.
func need(t *testing.T, name string) string {
	t.Helper()
	if tools() == "" {
		t.Skip("run \"make test-mesh\": it builds " + name)
	}
	path := filepath.Join(tools(), name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is neither in %s nor on PATH: %v", name, tools(), err)
	}
	return path
}

// module is the folder of a module that the tools are built from; it holds the
// definitions of their Kubernetes objects.
func module(t *testing.T, in, path string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", path)
	cmd.Dir = filepath.Join(repository, in)
	out, err := cmd.Output()
	_, dir, found := strings.Cut(string(out), `"Dir": "`)
	dir, _, _ = strings.Cut(dir, `"`)
	if err != nil || !found {
		t.Fatalf("%s: %v\n%s", path, err, out)
	}
	return dir
}

func envoyGatewayModule(t *testing.T) string {
	return module(t, ".", "github.com/envoyproxy/gateway@v1.9.1")
}

func istioModule(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "istio.io/istio")
	cmd.Dir = filepath.Join(repository, "e2e", "tools", "istio")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

var build = sync.OnceValues(func() (string, error) {
	return rig.BuildPortcullis(context.Background(), buildDir, false)
})

func startPortcullis(t *testing.T) *rig.Portcullis {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	p, err := rig.StartPortcullis(rig.PortcullisOptions{Binary: binary, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, "portcullis", p.Process) })
	return p
}

func findEnvoy(t *testing.T) string {
	t.Helper()
	path, err := rig.FindEnvoy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return path
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

// spawn runs a program until the test ends; env are settings as NAME=value.
func spawn(t *testing.T, name string, env []string, path string, args ...string) *rig.Process {
	t.Helper()
	p, err := rig.Spawn(t.TempDir(), name, "/usr/bin/env", append(append(env, path), args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, name, p) })
	return p
}

func end(t *testing.T, name string, p *rig.Process) {
	t.Helper()
	_ = p.Stop(5 * time.Second) // kills it otherwise
	if t.Failed() {
		t.Logf("the last lines of %s:\n%s", name, p.Tail(30))
	}
}

// await asks until ready says so.
func await(t *testing.T, what string, within time.Duration, ready func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s within %v: %v", what, within, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// run runs a command to its end.
func run(t *testing.T, stdin []byte, path string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, complaints.Bytes())
	}
	return out.String(), nil
}

// gate is a running Envoy of a mesh, and what is around it.
type gate struct {
	address string
	origin  *origin.Origin
}

// holds requires what a gate promises: EICAR is stopped in both directions before
// a byte of it crosses, and clean bodies cross unchanged.
func (g gate) holds(t *testing.T) {
	t.Helper()
	await(t, "an answer through Envoy", time.Minute, func() error {
		x, err := g.send(t, "0123456789abcdef", client.Request{Path: "/ready"}, origin.Answer{})
		if err == nil && x.Status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", x.Status, x.Head)
		}
		return err
	})
	for _, size := range []int64{0, 1, 40 << 10, 1 << 20, 8 << 20} {
		body := payload.Random(uint64(size), size)
		id := fmt.Sprintf("%016x", size+1)
		x, err := g.send(t, id, client.Request{Method: http.MethodPost, Path: "/clean", Body: body}, origin.Answer{Body: body})
		seen, _ := g.origin.Seen(id)
		if err != nil || x.Status != http.StatusOK || x.Err != nil || x.SHA256 != body.SHA256() || seen.SHA256 != body.SHA256() {
			t.Errorf("%d clean bytes: status %d, %d up, %d down, errors %v, %v", size, x.Status, seen.Bytes, x.Bytes, err, x.Err)
		}
	}
	const up, down = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
	x, err := g.send(t, up, client.Request{Path: "/up", Body: payload.InfectedForm(up, 100<<10)}, origin.Answer{})
	if _, arrived := g.origin.Seen(up); err != nil || x.Status != http.StatusForbidden || arrived || g.origin.Tap().Canaries(up) != 0 {
		t.Errorf("infected upload: status %d, reached the origin: %v, error %v", x.Status, arrived, err)
	}
	x, err = g.send(t, down, client.Request{Path: "/down"}, origin.Answer{Body: payload.InfectedForm(down, 100<<10)})
	if _, arrived := g.origin.Seen(down); err != nil || x.Status != http.StatusForbidden || !arrived || bytes.Contains(x.Head, []byte(down)) {
		t.Errorf("infected download: status %d, asked the origin: %v, %q, error %v", x.Status, arrived, x.Head, err)
	}
	if !bytes.Contains(x.Head, []byte(`"outcome":"INFECTED"`)) {
		t.Errorf("the refusal is not Portcullis': %q", x.Head)
	}
}

func (g gate) send(t *testing.T, id string, r client.Request, a origin.Answer) (client.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := client.New(g.address, client.HTTP1)
	defer c.Close()
	g.origin.Expect(id, a)
	r.Header = http.Header{origin.IDHeader: {id}}
	return c.Do(ctx, r)
}

// lint requires that the linter has nothing to say of a configuration but what
// is told.
func lint(t *testing.T, what string, config []byte, told ...string) {
	t.Helper()
	found, err := envoy.Linter{EnvoyVersion: rig.EnvoyVersion}.Lint(config)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	expected := map[string]bool{}
	for _, rule := range told {
		expected[rule] = true
	}
	for _, f := range found {
		if f.Level != envoy.LevelInfo && !expected[f.Rule] {
			t.Errorf("%s: %v", what, f)
		}
	}
}
