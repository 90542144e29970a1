package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// passes reports whether an upload of content passes.
func (r *running) passes(content []byte) bool {
	r.t.Helper()
	res := extproctest.New(r.dial(nil), extproctest.Duplex()).Do(r.t.Context(), extproctest.Exchange{
		Request: extproctest.Message{Body: extproctest.Cut(content, 50)},
	})
	return res.Origin.Reached
}

// hash is that of the configuration in use.
func (r *running) hash() string {
	r.t.Helper()
	_, metrics := r.get("/metrics")
	found := regexp.MustCompile(`portcullis_config_info\{hash="([0-9a-f]{12})"\} 1\n`).FindAllStringSubmatch(metrics, -1)
	if len(found) != 1 {
		r.t.Fatalf("%d configurations are said to be in use", len(found))
	}
	return found[0][1]
}

// A changed file is used within 5 s, by exchanges that begin then; those that
// began before keep what they began with, engine included, and the old engine
// ends with the last of them.
func TestReload(t *testing.T) {
	t.Parallel()
	first, second := clamdtest.Start(t, clamdtest.Options{}), clamdtest.Start(t, clamdtest.Options{})
	const text = "cache: {memory_entries: 0}\nengines: [{name: %s, clamd: {addresses: [%q]}}]\npolicies: [{name: default, engines: [%s], enforce: %v}]\n"
	r := started(t, fmt.Sprintf(text, "first", first.Address(), "first", true))
	r.becomes("/readyz", 200, "ready\n")
	before := r.hash()
	old := r.upload(t.Context())

	begun := time.Now()
	r.rewrite(fmt.Sprintf(text, "second", second.Address(), "second", false))
	until(t, "the new policy is used", func() bool { return r.passes(eicar()) })
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it is used after %v", took)
	}
	if r.hash() == before {
		t.Error("the hash of the configuration is the same")
	}
	r.becomes("/metrics", 200, `portcullis_config_reloads_total{result="applied"} 1`)
	r.becomes("/metrics", 200, `portcullis_engine_up{engine="second"`)
	r.becomes("/configz", 200, "name: second")
	r.becomes("/readyz", 200, "ready\n")
	_, metrics := r.get("/metrics")
	hashes := regexp.MustCompile(`portcullis_policy_exchanges_total\{hash="[0-9a-f]{12}",policy="default"\} `).FindAllString(metrics, -1)
	if len(hashes) != 2 || hashes[0] == hashes[1] {
		t.Errorf("while an exchange is under the old policy, the versions are %q", hashes)
	}

	scans := first.Scans()
	old.SendRequestBody([]byte("and the last"), true)
	old.Expect(extproctest.RequestHeaders)
	old.Expect(extproctest.RequestBody)
	old.CloseSend()
	if first.Scans() == scans {
		t.Error("the exchange from before was not given to the engine from before")
	}
	until(t, "the old policy is forgotten", func() bool {
		_, metrics := r.get("/metrics")
		return strings.Count(metrics, "portcullis_policy_exchanges_total{") == 1
	})
	scans = first.Scans()
	list, err := scanv1.NewScanServiceClient(r.dial(nil)).ListEngines(t.Context(), &scanv1.ListEnginesRequest{})
	if err != nil || len(list.GetEngines()) != 1 || list.GetEngines()[0].GetName() != "second" {
		t.Errorf("engines: %v, %v", list, err)
	}
	if first.Scans() != scans {
		t.Error("the old engine is still probed")
	}
}

// Engines that a change does not touch go on with all that they know.
func TestReloadKeepsEngines(t *testing.T) {
	t.Parallel()
	clamd := clamdtest.Start(t, clamdtest.Options{})
	text := fmt.Sprintf("engines: [{name: a, clamd: {addresses: [%q]}}, {name: b, builtin: {}}]\n", clamd.Address()) +
		"policies: [{name: default, engines: [a], scan_timeout: %s}]\n"
	r := started(t, fmt.Sprintf(text, "10s"))
	r.becomes("/readyz", 200, "ready\n")
	r.passes([]byte("hello"))
	r.rewrite(fmt.Sprintf(text, "11s"))
	r.becomes("/metrics", 200, `portcullis_config_reloads_total{result="applied"} 1`)
	r.becomes("/metrics", 200, `portcullis_engine_scans_total{engine="a",instance="`+clamd.Address()+`",kind="clamd",result="verdict"} 1`)
	if !r.passes([]byte("hello")) {
		t.Error("hello does not pass any more")
	}
	r.becomes("/metrics", 200, `portcullis_cache_objects_total{engine="a",result="memory"} 1`)
}

// Whatever is wrong with a changed file, the old one stays in use, whole; the log
// says what and where, the metric counts it once, and what was mended is used.
func TestReloadRefuses(t *testing.T) {
	t.Parallel()
	const good = "policies: [{name: default, engines: [builtin], enforce: false}]\nengines: [{name: builtin, builtin: {}}]\n"
	r := started(t, "")
	before := r.hash()
	invalid, restart := 0, 0
	for _, c := range []struct {
		name, text, says string
		restart          bool
	}{
		{"half-written", good[:len(good)/2], "portcullis.yaml:3: is not YAML", false},
		{"unknown field", good + "polices: []\n", "portcullis.yaml:6:1: polices: ", false},
		{"a rule that does not compile", good + "rules: [{when: '1 +', policy: default}]\n", "portcullis.yaml:6:16: rules[0].when: ", false},
		{"a file that is not there", strings.Replace(good, "builtin: {}", "builtin: {hash_lists: [/nonexistent/list]}", 1), "portcullis.yaml:5:", false},
		{"other budgets", good + "spool: {memory_bytes: 134217728}\n", "portcullis.yaml:6:8: spool: cannot change", true},
		{"a collector of traces", good + "tracing: {otlp: {address: \"127.0.0.1:1\"}}\n", "portcullis.yaml:6:10: tracing: cannot change", true},
		{"other bounds", good + "limits: {max_exchanges: 7}\n", "portcullis.yaml:6:9: limits: cannot change", true},
	} {
		r.rewrite(c.text)
		if c.restart {
			restart++
		} else {
			invalid++
		}
		r.becomes("/metrics", 200, fmt.Sprintf("portcullis_config_reloads_total{result=\"invalid\"} %d\nportcullis_config_reloads_total{result=\"restart\"} %d\n", invalid, restart))
		r.becomes("/metrics", 200, "portcullis_config_current 0\n")
		if r.passes(eicar()) || r.hash() != before {
			t.Errorf("%s: the old configuration is not in use any more", c.name)
		}
		if log := r.log.String(); !strings.Contains(log, c.says) {
			t.Errorf("%s: the log does not say %q", c.name, c.says)
		}
	}
	if err := os.Remove(r.file); err != nil {
		t.Fatal(err)
	}
	r.becomes("/metrics", 200, fmt.Sprintf(`portcullis_config_reloads_total{result="invalid"} %d`, invalid+1))
	if r.passes(eicar()) {
		t.Error("without a file, nothing is in use")
	}
	r.rewrite(good)
	r.becomes("/metrics", 200, "portcullis_config_current 1\n")
	if !r.passes(eicar()) {
		t.Error("what was mended is not in use")
	}
	time.Sleep(1500 * time.Millisecond) // a look or two
	_, metrics := r.get("/metrics")
	if !strings.Contains(metrics, fmt.Sprintf("result=\"applied\"} 1\nportcullis_config_reloads_total{result=\"invalid\"} %d\n", invalid+1)) {
		t.Errorf("something was counted twice:\n%s", metrics)
	}
}

// A Secret or ConfigMap is mounted as a link that is turned to another folder;
// lists of hashes are read anew when they change, whatever their times say.
func TestReloadFollowsLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, list := range map[string]string{"one": strings.Repeat("0", 64), "two": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name, "list")
		if err := os.WriteFile(file, []byte(list+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "data")
	turn := func(to string) {
		fresh := filepath.Join(dir, "fresh")
		if err := os.Symlink(to, fresh); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, link); err != nil {
			t.Fatal(err)
		}
	}
	turn("one")
	r := started(t, fmt.Sprintf("engines: [{name: builtin, builtin: {hash_lists: [%q]}}]\n", filepath.Join(link, "list")))
	if !r.passes([]byte("hello")) {
		t.Error("hello is on no list yet")
	}
	turn("two")
	until(t, "the new list is used", func() bool { return !r.passes([]byte("hello")) })
}

// SIGHUP is a look at once.
func TestReloadOnSignal(t *testing.T) {
	r := started(t, "")
	time.Sleep(100 * time.Millisecond) // so that the next look is not there by itself
	for i := range 3 {
		r.rewrite(fmt.Sprintf("policies: [{name: default, engines: [builtin], scan_timeout: %ds}]\nengines: [{name: builtin, builtin: {}}]\n", 20+i))
		begun := time.Now()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		r.becomes("/configz", 200, fmt.Sprintf("scan_timeout: %ds", 20+i))
		t.Logf("used after %v", time.Since(begun))
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, "the log says that nothing changed", func() bool {
		return strings.Contains(r.log.String(), "the configuration has not changed")
	})
}
