package app

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/fleet"
	"github.com/portcullis-av/portcullis/scan/gate"
)

const clamVersion = "ClamAV 1.4.6/27500/Sun Nov 22 08:26:11 2026"

// buildText builds a configuration whose engines have been probed once.
func buildText(t *testing.T, text string) *parts {
	t.Helper()
	cfg, err := config.Parse("test", []byte(text), checkRules)
	if err != nil {
		t.Fatal(err)
	}
	p, err := build(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range p.fleets {
		f.Probe(t.Context())
	}
	return p
}

func scanText(t *testing.T, g *gate.Gate, policy, name, content string) scan.Verdict {
	t.Helper()
	r, err := g.ScanSingle(t.Context(), gate.Single{Policy: policy, Name: name}, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return r.Decision.Verdict
}

// A body seen before costs no engine call, under whatever name and policy it
// comes, and what the policy makes of it is decided anew; canaries reach the
// engine every time.
func TestRepeatedBody(t *testing.T) {
	clamd := clamdtest.Start(t, clamdtest.Options{Version: clamVersion})
	p := buildText(t, `
engines: [{name: clamav, clamd: {addresses: ["`+clamd.Address()+`"]}}]
policies:
  - {name: default, engines: [clamav]}
  - {name: detect, engines: [clamav], enforce: false}
`)
	g := gate.New(p.setup)
	probes := clamd.Scans()
	for _, content := range []string{"fine", string(clamdtest.EICAR())} {
		first := scanText(t, g, "default", "a.txt", content)
		again := scanText(t, g, "detect", "b.bin", content)
		if first.Outcome != again.Outcome || again.Engine != "clamav" || again.Signatures != clamVersion {
			t.Errorf("first %+v, then %+v", first, again)
		}
	}
	if n := clamd.Scans() - probes; n != 2 {
		t.Errorf("%d scans of 2 bodies", n)
	}
	p.fleets[0].Probe(t.Context())
	if n := clamd.Scans() - probes; n != 4 {
		t.Errorf("a probe did not reach the engine: %d scans", n)
	}
}

// memory_entries 0 asks the engine every time.
func TestCacheOff(t *testing.T) {
	clamd := clamdtest.Start(t, clamdtest.Options{Version: clamVersion})
	p := buildText(t, "cache: {memory_entries: 0}\nengines: [{name: clamav, clamd: {addresses: [\""+clamd.Address()+"\"]}}]\n")
	g := gate.New(p.setup)
	probes := clamd.Scans()
	for range 3 {
		scanText(t, g, "", "", "fine")
	}
	if n := clamd.Scans() - probes; n != 3 {
		t.Errorf("%d scans", n)
	}
}

// What an engine called clean while it had no signatures is forgotten when that is
// noticed, also when it has them again; and nothing is remembered of an instance
// that fails its probes.
func TestDegradedEngineIsForgotten(t *testing.T) {
	clamd := clamdtest.Start(t, clamdtest.Options{Version: clamVersion})
	p := buildText(t, "engines: [{name: clamav, clamd: {addresses: [\""+clamd.Address()+"\"]}}]\n")
	g := gate.New(p.setup)
	virus := string(clamdtest.EICAR())
	clamd.Set(clamdtest.Fault{Reply: []byte("stream: OK\x00")})
	if v := scanText(t, g, "", "", virus); v.Outcome != scan.OutcomeClean {
		t.Fatalf("got %+v", v)
	}
	p.fleets[0].Probe(t.Context())
	clamd.Set(clamdtest.Fault{})
	p.fleets[0].Probe(t.Context())
	if v := scanText(t, g, "", "", virus); v.Outcome != scan.OutcomeInfected {
		t.Errorf("still %+v", v)
	}

	clamd.Set(clamdtest.Fault{Reply: []byte("stream: a b ERROR\x00")})
	p.fleets[0].Probe(t.Context())
	clamd.Set(clamdtest.Fault{})
	before := clamd.Scans()
	for range 3 {
		scanText(t, g, "", "", "fine")
	}
	if n := clamd.Scans() - before; n != 3 {
		t.Errorf("%d scans", n)
	}
}

// The version is known only when every healthy instance says the same.
func TestSignatureVersion(t *testing.T) {
	dated := func(ok bool, version string) fleet.Status {
		s := fleet.Status{Health: fleet.Health{OK: ok}}
		s.Signatures = scan.Signatures{Version: version, Built: s.At.AddDate(2000, 0, 0)}
		return s
	}
	blind := func(ok bool, ago time.Duration) fleet.Status {
		s := dated(ok, "v")
		s.Blind = time.Now().Add(-ago)
		return s
	}
	undated := fleet.Status{Health: fleet.Health{OK: true, Signatures: scan.Signatures{Version: "v"}}}
	for i, c := range []struct {
		kind      string
		instances []fleet.Status
		want      string
	}{
		{"clamd", nil, ""},
		{"clamd", []fleet.Status{dated(true, "v")}, "v"},
		{"clamd", []fleet.Status{dated(true, "v"), dated(true, "v")}, "v"},
		{"clamd", []fleet.Status{dated(true, "v"), dated(true, "w")}, ""},
		{"clamd", []fleet.Status{dated(true, "v"), dated(true, "")}, ""},
		{"clamd", []fleet.Status{dated(true, ""), dated(true, "v")}, ""},
		{"clamd", []fleet.Status{dated(false, "w"), dated(true, "v")}, "v"},
		{"clamd", []fleet.Status{dated(false, "v")}, ""},
		{"clamd", []fleet.Status{dated(true, "v"), blind(false, time.Second)}, ""},
		{"clamd", []fleet.Status{blind(true, 14*time.Minute), dated(true, "v")}, ""},
		{"clamd", []fleet.Status{blind(true, 16*time.Minute)}, "v"},
		{"clamd", []fleet.Status{undated}, ""},
		{"icap", []fleet.Status{undated}, "v"},
	} {
		if got := signatureVersion(c.kind, c.instances); got != c.want {
			t.Errorf("%d: got %q, want %q", i, got, c.want)
		}
	}
}

// Settings that may change a verdict change the fingerprint; how often the engine
// is probed does not.
func TestFingerprint(t *testing.T) {
	engine := func(text string) *configv1.Engine {
		cfg, err := config.Parse("test", []byte("engines: [{name: e, "+text+"}]"))
		if err != nil {
			t.Fatal(err)
		}
		return cfg.Message().GetEngines()[0]
	}
	plain := fingerprint(engine(`cloudmersive: {api_key_file: k}`))
	if fingerprint(engine(`cloudmersive: {api_key_file: k}, canary: {interval: 1h}`)) != plain {
		t.Error("the canary is part of it")
	}
	seen := map[string]string{plain: "plain"}
	for _, text := range []string{
		`cloudmersive: {api_key_file: k, url: "https://testapi.cloudmersive.com"}`,
		`cloudmersive: {api_key_file: k, advanced: {}}`,
		`cloudmersive: {api_key_file: k, advanced: {allow_macros: false}}`,
		`cloudmersive: {api_key_file: k, advanced: {allow_macros: true}}`,
		`clamd: {addresses: ["localhost:3310"]}`,
	} {
		mark := fingerprint(engine(text))
		if other, ok := seen[mark]; ok {
			t.Errorf("%s is the same as %s", text, other)
		}
		seen[mark] = text
	}
	for text, want := range map[string]bool{
		`clamd: {addresses: ["localhost:3310"]}`:                            false,
		`icap: {url: "icap://localhost/avscan"}`:                            false,
		`icap: {url: "icap://localhost/avscan", send_file_name: true}`:      true,
		`remote: {address: "localhost:9200"}`:                               true,
		`cloudmersive: {api_key_file: k, advanced: {}}`:                     false,
		`cloudmersive: {api_key_file: k, advanced: {send_file_name: true}}`: true,
	} {
		if got := seesLabels(engine(text)); got != want {
			t.Errorf("%s: sees labels: %v", text, got)
		}
	}
	if !seesLabels(&configv1.Engine{}) {
		t.Error("an engine nobody thought of is trusted not to see labels")
	}
}

// Secrets that cannot be used end the start at their place in the file.
func TestCacheSecrets(t *testing.T) {
	short := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(short, []byte("too short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"hmac_key_file: " + short, "tls: {ca_file: " + short + "}", "tls: {cert_file: " + short + ", key_file: " + short + "}"} {
		text := "cache:\n  redis: {address: \"localhost:6379\", " + bad + "}\nengines: [{name: a, clamd: {addresses: [\"localhost:3310\"]}}]\n"
		cfg, err := config.Parse("test", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		_, err = build(cfg)
		var problems *config.Error
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), "test:2:10: cache.redis: ") || strings.Contains(err.Error(), "too short") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	c, err := redisTLS(&configv1.RedisTLS{})
	if err != nil || c.MinVersion < tls.VersionTLS12 || c.InsecureSkipVerify {
		t.Errorf("%+v, %v", c, err)
	}
}

// What the cache saves can be seen.
func TestCacheGauges(t *testing.T) {
	clamd := clamdtest.Start(t, clamdtest.Options{Version: clamVersion})
	p := buildText(t, "cache: {redis: {address: \"127.0.0.1:1\"}}\nengines: [{name: clamav, clamd: {addresses: [\""+clamd.Address()+"\"]}}]\n")
	g := gate.New(p.setup)
	for range 3 {
		scanText(t, g, "", "", "fine")
	}
	got := map[string]float64{}
	for _, f := range gather(t, newCacheGauges(func() *parts { return p })) {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"portcullis_cache_objects_total clamav memory": 2,
		"portcullis_cache_objects_total clamav redis":  0,
		"portcullis_cache_objects_total clamav merged": 0,
		"portcullis_cache_objects_total clamav miss":   1,
		"portcullis_cache_stored_total clamav":         1,
		"portcullis_cache_entries":                     1,
		"portcullis_cache_redis_up":                    0, // nobody runs it
		"portcullis_cache_redis_errors_total":          0,
		"portcullis_cache_redis_rejected_total":        0,
		"portcullis_cache_redis_writes_total stored":   0,
		"portcullis_cache_redis_writes_total dropped":  1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
