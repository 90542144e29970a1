package e2e_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/e2e/wrap"
	"github.com/portcullis-av/portcullis/envoy"
	"github.com/portcullis-av/portcullis/scan"
)

// toolchainFiles are files of the Go toolchain: pictures, programs, sources, pages,
// archives. Those that are made to break readers are left out.
func toolchainFiles(t *testing.T) []wrap.Document {
	t.Helper()
	root := runtime.GOROOT() //nolint:staticcheck // the tests run where they are built
	if root == "" {
		out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
		if err != nil {
			t.Fatal(err)
		}
		root = strings.TrimSpace(string(out))
	}
	byKind := map[string][]string{}
	for _, dir := range []string{"src/image", "src/debug", "src/html", "src/net/http", "lib", "src/cmd/vendor", "src/go", "api", "misc"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // not every toolchain has every folder
			}
			if info, err := e.Info(); err == nil && e.Type().IsRegular() && info.Size() < 1<<20 {
				byKind[filepath.Ext(path)] = append(byKind[filepath.Ext(path)], path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var all []wrap.Document
	for kind, paths := range byKind {
		slices.Sort(paths)
		for _, path := range paths[:min(len(paths), 12)] {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, wrap.Document{Name: "toolchain " + kind + " " + filepath.Base(path), Header: http.Header{"Content-Type": {http.DetectContentType(data)}}, Body: data})
		}
	}
	return all
}

// What crosses a gateway every day passes under the default policy, both ways and
// unchanged: hundreds of bodies at the gate, one of each kind through a real Envoy
// in both profiles.
func TestCleanCorpus(t *testing.T) {
	t.Parallel()
	g := newBareGate(t)
	sample := wrap.Documents(1)
	all := slices.Concat(sample, wrap.Documents(2), wrap.Documents(3), toolchainFiles(t))
	digests := map[[32]byte]bool{}
	for _, d := range all {
		digests[sha256.Sum256(d.Body)] = true
		for _, l := range []scan.Leg{scan.Request, scan.Response} {
			if got := g.judge(t, wrap.Vector{Header: d.Header}, defaultPolicy(), l, d.Body); got.Action != scan.Pass {
				t.Errorf("%s: %v: %+v", d.Name, l, got.Verdict)
			}
		}
	}
	t.Logf("%d bodies", len(digests))
	if len(digests) < 300 {
		t.Errorf("only %d different bodies", len(digests))
	}
	e := &evasion{outcomes: map[string]map[string]string{}}
	p := startPortcullis(t, rig.PortcullisOptions{Binary: needPlain(t), Config: evasionConfig(t)})
	for _, profile := range []envoy.Profile{envoy.Duplex, envoy.Buffered} {
		through := startGate(t, p, envoy.Options{Profile: profile, MaxBodyBytes: bufferedLimit})
		for _, d := range sample {
			v := wrap.Vector{Class: "clean", Name: d.Name, Header: d.Header}
			for _, l := range []scan.Leg{scan.Request, scan.Response} {
				body := payload.Bytes(d.Body)
				e.send(t, through, v, l, "default", body).arrivedWhole(t, fmt.Sprintf("%s: %s: %v", profile, d.Name, l), l, v, body)
			}
		}
	}
}
