package chart_test

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/rig"
)

// ClamAV's own programs read the files that the chart writes for them.
func TestClamAVReadsItsFiles(t *testing.T) {
	t.Parallel()
	clamconf, err := exec.LookPath("clamconf")
	if err != nil {
		missing(t, "clamconf is not installed; e2e/install fetches it with clamd")
	}
	for _, set := range []string{"clamd-sidecar", "clamd-service", "standalone-reverse"} {
		dir := t.TempDir()
		all := rendered(t, set)
		for _, file := range []string{"clamd.conf", "freshclam.conf"} {
			content := data(all, "portcullis-clamd", file)
			if content == "" {
				t.Fatalf("%s has no %s", set, file)
			}
			write(t, filepath.Join(dir, file), content)
		}
		out, err := run(t, clamconf, "--config-dir="+dir)
		if err != nil || strings.Contains(out, "ERROR") || strings.Contains(out, "WARNING") || strings.Count(out, "Config file:") < 2 {
			t.Errorf("%s: %v\n%s", set, err, out)
		}
	}
}

// A real clamd with the chart's file has the limits that Portcullis, with the
// chart's file, needs: no body is called clean that was not looked at.
func TestClamdHasTheLimitsThatThePoliciesNeed(t *testing.T) {
	t.Parallel()
	binary, err := rig.FindClamd()
	if err != nil {
		missing(t, err.Error())
	}
	dir, err := os.MkdirTemp("", "chart-clamd-") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	values := filepath.Join(dir, "values.yaml")
	write(t, values, "engines: {builtin: {enabled: false}, clamd: {enabled: true, settings: {max_in_flight: 4}}}\n"+
		"config: {policies: [{name: default, engines: [clamav], max_body_bytes: 3Mi}, {name: large, engines: [clamav], max_body_bytes: 5Mi}]}\n")
	text, err := template(t, "--values", values)
	if err != nil {
		t.Fatal(err)
	}
	all := objects(t, text)
	place := strings.NewReplacer("/var/lib/clamav", dir+"/db", "/var/tmp/clamav", dir+"/tmp", "/run/clamav", dir)
	for _, folder := range []string{"db", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	eicar := strings.Join([]string{`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD`, `ANTIVIRUS-TEST-FILE!$H+H*`}, "-")
	write(t, filepath.Join(dir, "db", "test.ndb"), fmt.Sprintf("Eicar-Test-Signature:0:*:%s\n", hex.EncodeToString([]byte(eicar))))
	write(t, filepath.Join(dir, "clamd.conf"), place.Replace(data(all, "portcullis-clamd", "clamd.conf")))
	p, err := rig.Spawn(dir, "clamd", binary, "--config-file="+filepath.Join(dir, "clamd.conf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Log(p.Tail(20))
		}
	})
	await(t, func() string {
		c, err := net.Dial("unix", filepath.Join(dir, "clamd.ctl"))
		if err != nil {
			return err.Error()
		}
		_ = c.Close()
		return ""
	})
	config := placed(t, place.Replace(data(all, "portcullis", "portcullis.yaml")))
	if out, code := portcullis(t, "check", "--config", config, "--engines"); code != 0 {
		t.Errorf("check ends with %d: %s", code, out)
	}
}

// clamd starts only with the whole database, whatever order freshclam writes it
// in, and until then the container stops when it is told to.
func TestClamdWaitsForTheWholeDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var script string
	for _, c := range list(pods(rendered(t, "clamd-sidecar"))["Deployment"], "initContainers") {
		if text(c, "name") == "clamd" {
			script = text(c, "args", 0)
		}
	}
	script = strings.NewReplacer("/var/lib/clamav", dir, "exec clamd", "exec echo clamd", "sleep 1", "sleep 0.01").Replace(script)
	start := func() *rig.Process {
		p, err := rig.Spawn(t.TempDir(), "sh", "/bin/sh", "-c", script)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		return p
	}
	waiting, stopped := start(), start()
	for _, file := range []string{"daily.cvd", "bytecode.cld", "main.cvd"} {
		time.Sleep(50 * time.Millisecond) // some of its looks
		if strings.Contains(string(waiting.Output()), "clamd") {
			t.Errorf("clamd starts without %s", file)
		}
		if file == "main.cvd" {
			if err := stopped.Stop(5 * time.Second); err != nil {
				t.Error(err)
			}
		}
		write(t, filepath.Join(dir, file), "")
	}
	if code, err := waiting.Exit(10 * time.Second); err != nil || code != 0 || string(waiting.Output()) != "clamd --config-file=/etc/clamav/clamd.conf\n" {
		t.Errorf("exit %d, error %v: %s", code, err, waiting.Output())
	}
}
