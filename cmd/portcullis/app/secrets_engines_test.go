package app_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
)

// The secrets of the run below, and what only bodies hold.
const (
	secretKey      = "7d1f-the-api-key-of-the-cloud"
	secretHeader   = "55ab-the-key-of-the-appliance"
	secretPassword = "c0de-the-password-of-redis"
	secretBody     = "bytes-that-only-the-bodies-hold"
)

// secretsRig is a gate with every kind of engine, and the fakes behind it.
type secretsRig struct {
	*running
	clamd *clamdtest.Server
	cloud *cloudmersivetest.Server
	icap  *icaptest.Server
}

func startSecrets(t *testing.T) *secretsRig {
	t.Helper()
	s := &secretsRig{
		clamd: clamdtest.Start(t, clamdtest.Options{}), cloud: cloudmersivetest.New(cloudmersivetest.WithKey(secretKey)),
		icap: icaptest.Start(t, icaptest.Options{}),
	}
	t.Cleanup(s.cloud.Close)
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	far := started(t, "")
	names := []string{"clamav", "cloud", "icap", "far"}
	config := fmt.Sprintf(`engines:
  - {name: clamav, clamd: {addresses: [%q]}}
  - {name: cloud, cloudmersive: {url: %q, api_key_file: %q, advanced: {send_file_name: true}}}
  - {name: icap, icap: {url: %q, max_object_bytes: 1048576, headers: [{name: X-Key, value_file: %q}]}}
  - {name: far, remote: {address: %q}}
cache: {redis: {address: "127.0.0.1:1", password_file: %q}}
`, s.clamd.Address(), s.cloud.URL(), file("key", secretKey), s.icap.URL(), file("header", secretHeader), far.extproc, file("password", secretPassword))
	policies, rules := "policies:\n  - {name: default, engines: [clamav], max_body_bytes: 1048576, show_threats: true}\n", "rules:\n"
	for _, name := range names {
		policies += fmt.Sprintf("  - {name: %s, engines: [%s], max_body_bytes: 1048576, show_threats: true}\n", name, name)
		rules += fmt.Sprintf("  - {when: 'request.path.startsWith(\"/%s/\")', policy: %s}\n", name, name)
	}
	s.running = started(t, config+policies+rules)
	s.becomes("/readyz", 200, "ready\n")
	for _, name := range names {
		s.becomes("/metrics", 200, `portcullis_engine_up{engine="`+name+`"`)
	}
	return s
}

// spoil has the engines answer with what they were told, each in its own way.
func (s *secretsRig) spoil(round int) string {
	told := secretBody + " " + secretKey + " " + secretHeader
	switch round {
	case 0:
		return "they answer"
	case 1:
		s.clamd.Set(clamdtest.Fault{Reply: []byte(told + "\x00")})
		s.cloud.Always(cloudmersivetest.JSON(told))
		s.icap.Set(icaptest.Fault{Reply: []byte("ICAP/1.0 200 " + told + "\r\n\r\n"), CloseAfter: true})
		return "they repeat it as garbage"
	case 2:
		s.clamd.Set(clamdtest.Fault{Reply: []byte("stream: " + told + " ERROR\x00")})
		s.cloud.Always(cloudmersivetest.Raw("HTTP/1.1 500 " + told + "\r\nContent-Length: 0\r\n\r\n"))
		s.icap.Set(icaptest.Fault{Reply: []byte("ICAP/1.0 500 " + told + "\r\nX-Told: " + told + "\r\n\r\n"), CloseAfter: true})
		return "they repeat it as an error"
	case 3:
		s.clamd.Set(clamdtest.Fault{DieAfter: 10, Reset: true})
		s.cloud.Always(cloudmersivetest.Redirect(302, s.cloud.URL()+"/?"+secretKey))
		s.icap.Set(icaptest.Fault{DieAtEnd: true, Reset: true})
		return "they break"
	}
	s.clamd.Stop()
	s.icap.Stop()
	s.cloud.Always(cloudmersivetest.Status(401))
	return "they are gone"
}

// profiles are all that the admin port tells, the compressed parts unpacked.
func (s *secretsRig) told() map[string]string {
	all := map[string]string{}
	for _, path := range []string{
		"/metrics", "/configz", "/readyz", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/goroutine?debug=1",
		"/debug/pprof/heap?debug=1", "/debug/pprof/heap", "/debug/pprof/allocs", "/debug/pprof/block?debug=1", "/debug/pprof/mutex?debug=1",
		"/debug/pprof/threadcreate?debug=1", "/debug/pprof/profile?seconds=1", "/debug/pprof/trace?seconds=1",
	} {
		_, text := s.get(path)
		if z, err := gzip.NewReader(strings.NewReader(text)); err == nil {
			if unpacked, err := io.ReadAll(z); err == nil {
				text = string(unpacked)
			}
		}
		all[path] = text
	}
	return all
}

// Whatever engines of every kind answer, and while they do it, their keys and the
// bytes of bodies are in nothing that the gate writes, shows or answers.
func TestSecretsOfAllEngines(t *testing.T) {
	t.Parallel()
	s := startSecrets(t)
	envoy := extproctest.New(s.dial(nil), extproctest.Duplex())
	told := map[string]string{}
	for round := range 5 {
		what := s.spoil(round)
		for _, engine := range []string{"clamav", "cloud", "icap", "far"} {
			for _, body := range []string{what + engine + secretBody, string(eicar()) + what + engine + secretBody} {
				res := envoy.Do(t.Context(), extproctest.Exchange{Request: extproctest.Message{
					Headers: extproctest.Headers{
						{Key: ":method", Value: "POST"},
						{Key: ":path", Value: "/" + engine + "/up"},
						{Key: "content-type", Value: "text/plain; x=" + secretBody},
					},
					Body: extproctest.Cut([]byte(body), 9),
				}})
				if res.Client.Local {
					told["an answer while "+what] += string(res.Client.Body)
				} else if round > 0 && engine != "far" {
					t.Errorf("%s, %s: the body passed", what, engine)
				}
				if single, err := scanContent(t.Context(), s.dial(nil), []byte("single"+body)); err != nil {
					told["ScanService while "+what] += err.Error()
				} else {
					told["ScanService while "+what] += single.String()
				}
			}
		}
		if round == 1 || round == 4 {
			for path, text := range s.told() {
				told[path+" while "+what] = text
			}
		}
	}
	if len(s.cloud.Requests()) < 4 || len(s.icap.Requests()) < 4 {
		t.Errorf("too few requests reached the engines: %d, %d", len(s.cloud.Requests()), len(s.icap.Requests()))
	}
	s.stop()
	told["the log"] = s.log.String()
	if !strings.Contains(told["the log"], `"engine":"icap"`) {
		t.Error("the log tells nothing of the engines")
	}
	for name, text := range told {
		for _, secret := range []string{secretKey, secretHeader, secretPassword, secretBody} {
			if at := bytes.Index([]byte(text), []byte(secret)); at >= 0 {
				t.Errorf("%s holds %q: …%.200q", name, secret, text[max(0, at-100):])
			}
		}
	}
}
