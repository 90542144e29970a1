package e2e_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/e2e/wrap"
	"github.com/portcullis-av/portcullis/envoy"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
)

// clamavFiles is where Debian's clamav-testfiles are.
const clamavFiles = "/usr/share/clamav-testfiles"

// knownToBuiltin are those test files in which the gate itself finds clam.exe, so
// that the digest of that alone is enough. Of the others the program inside is
// packed anew, or the format is left to the engines.
func knownToBuiltin() []string {
	return []string{
		"clam.bz2.zip", "clam.exe", "clam.exe.bz2", "clam.exe.html", "clam.exe.mbox.base64", "clam.exe.mbox.uu", "clam.mail", "clam.tar.gz", "clam.zip",
	}
}

// All of ClamAV's test files hold the same small program in some way. Its digest,
// which is the whole of the database (the official one cannot be had where these
// tests run), is enough for a real clamd to find it in all of them, in six
// wrappings each and through a real Envoy; the embedded engine finds it wherever
// the gate unwraps it.
func TestClamAVTestFiles(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir(clamavFiles)
	if err != nil {
		missing(t, "Debian's clamav-testfiles are not installed")
	}
	program, err := os.ReadFile(filepath.Join(clamavFiles, "clam.exe"))
	if err != nil {
		t.Fatal(err)
	}
	old := md5.Sum(program)
	clamd := clamdtest.StartReal(t, clamdtest.RealOptions{HDB: []string{fmt.Sprintf("%x:%d:Clam.Test", old, len(program))}})
	sum := sha256.Sum256(program)
	list := filepath.Join(t.TempDir(), "clam.hsb")
	if err := os.WriteFile(list, []byte(hex.EncodeToString(sum[:])+fmt.Sprintf(":%d:Clam.Test\n", len(program))), 0o600); err != nil {
		t.Fatal(err)
	}
	config := yaml([]string{
		fmt.Sprintf(`{name: builtin, builtin: {hash_lists: [%q]}}`, list),
		fmt.Sprintf(`{name: clamav, clamd: {addresses: [%q]}}`, clamd.Unix()),
	}, []string{`{name: default, engines: [builtin]}`, `{name: builtin, engines: [builtin]}`, `{name: clamav, engines: [clamav]}`})
	g := startGate(t, startPortcullis(t, rig.PortcullisOptions{Binary: needPlain(t), Config: config}), envoy.Options{})
	if len(files) < 40 {
		t.Errorf("only %d test files", len(files))
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(clamavFiles, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range wrap.Common() {
			body := payload.Bytes(w.Wrap(data))
			body.ContentType = ""
			g.finds(t, "clamav", f.Name(), w, body, true)
			g.finds(t, "builtin", f.Name(), w, body, slices.Contains(knownToBuiltin(), f.Name()))
		}
	}
}

// finds sends a body up and expects that it is infected, or not.
func (g *gate) finds(t *testing.T, engine, file string, w wrap.Wrapping, body payload.Body, infected bool) {
	t.Helper()
	what := fmt.Sprintf("%s: %s, %s", engine, file, w.Name)
	x, err := g.try(t, newID(), client.HTTP1, client.Request{Method: http.MethodPost, Path: "/" + engine + "/x", Header: w.Header.Clone(), Body: body}, origin.Answer{})
	verdict := x.Header.Get("X-Portcullis-Verdict")
	switch {
	case err != nil:
		t.Errorf("%s: %v", what, err)
	case infected && (x.arrived || verdict != "INFECTED; cause=malware"):
		t.Errorf("%s: arrived %v, status %d, %q: %.200s", what, x.arrived, x.Status, verdict, x.Head)
	case !infected && strings.HasPrefix(verdict, "INFECTED"):
		t.Errorf("%s: found after all: add it to the list", what)
	}
}
