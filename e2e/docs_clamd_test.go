package e2e_test

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
)

// The settings that the docs ask of clamd are such that a real one starts with
// them and takes a body of the gate's default limit, and not a byte more.
func TestDocsClamd(t *testing.T) {
	t.Parallel()
	const limit = 100 << 20 // max_body_bytes
	// No text, in which the gate would look for hidden files: this is about clamd.
	body := strings.Repeat("\x01\x00\x02\x00", limit/4+1)[:limit+1]
	for _, b := range docBlocks(t, "clamd.conf") {
		config := filepath.Join(t.TempDir(), "portcullis.yaml")
		// Above what clamd takes, so that its limit shows and not the gate's.
		text := fmt.Sprintf("engines: [{name: clamav, clamd: {addresses: [%q]}}]\n"+
			"policies: [{name: default, engines: [clamav], max_body_bytes: 200Mi, scan_timeout: 5m}]\n", startDocsClamd(t, b.text()))
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, complaints, code := commandWith(t, body[:limit], "scan", "--config", config, "-"); code != 0 {
			t.Errorf("%v: a body of max_body_bytes: status %d, %s%s", b, code, out, complaints)
		}
		if out, _, code := commandWith(t, body, "scan", "--config", config, "-"); code != 1 || !strings.Contains(out, "too-large") {
			t.Errorf("%v: a larger body: status %d, %s", b, code, out)
		}
	}
}

// startDocsClamd runs a clamd with these settings, and those that make it a
// private one; it returns its address.
func startDocsClamd(t *testing.T, settings string) string {
	t.Helper()
	binary, err := rig.FindClamd()
	if err != nil {
		missing(t, err.Error())
	}
	dir := t.TempDir()
	port := freePort(t)
	address := net.JoinHostPort("127.0.0.1", port)
	conf := filepath.Join(dir, "clamd.conf")
	private := "Foreground yes\nSelfCheck 0\nTCPAddr 127.0.0.1\nTCPSocket " + port + "\nDatabaseDirectory " + dir + "\nTemporaryDirectory " + dir + "\n"
	signature := "Docs.Test:0:0:" + hex.EncodeToString(payload.EICAR()) + "\n"
	for path, text := range map[string]string{conf: private + settings, filepath.Join(dir, "docs.ndb"): signature} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := rig.Spawn(dir, "clamd", binary, "--config-file="+conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		showLog(t, "clamd", p)
	})
	if err := p.AwaitPort(address); err != nil {
		t.Fatal(err)
	}
	return address
}
