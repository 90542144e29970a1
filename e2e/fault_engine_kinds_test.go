package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
)

// wired is an engine that is reached over TCP, whatever it speaks.
type wired struct {
	kind string
	// start runs a fake that works and returns a wire to it; settings are those of
	// an engine at an address.
	start    func(t *testing.T) *wire
	settings func(t *testing.T, address string) string
}

// wiredEngines are all engines that have a network between themselves and the
// gate. far is the address of another Portcullis.
func wiredEngines(far string) []wired {
	return []wired{
		{
			"cloudmersive",
			func(t *testing.T) *wire {
				s := cloudmersivetest.New()
				t.Cleanup(s.Close)
				return startWire(t, strings.TrimPrefix(s.URL(), "http://"))
			},
			func(t *testing.T, address string) string { return cloudAt(t, "http://"+address, "") },
		},
		{
			"icap",
			func(t *testing.T) *wire {
				s := icaptest.Start(t, icaptest.Options{})
				line := startWire(t, strings.TrimSuffix(strings.TrimPrefix(s.URL(), "icap://"), "/scan"))
				s.Behind(line.address())
				return line
			},
			func(_ *testing.T, address string) string { return icapAt("icap://" + address + "/scan") },
		},
		{
			"remote",
			func(t *testing.T) *wire { return startWire(t, far) },
			func(_ *testing.T, address string) string { return fmt.Sprintf(`remote: {address: %q}`, address) },
		},
	}
}

// cloudAt are the settings of a Cloudmersive at a URL.
func cloudAt(t *testing.T, url, more string) string {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	writeFile(t, key, cloudmersivetest.DefaultKey)
	return fmt.Sprintf(`cloudmersive: {url: %q, api_key_file: %q%s}`, url, key, more)
}

// engineObject is the largest object of the engines of these tests: an ICAP server
// must find a known-bad one of that very size.
const engineObject = 1 << 20

func icapAt(url string) string {
	return fmt.Sprintf(`icap: {url: %q, max_object_bytes: %d}`, url, engineObject)
}

// kindFaults are those of engines beside clamd, which has its own list.
func kindFaults(far string) []engineFault {
	var all []engineFault
	for _, e := range wiredEngines(far) {
		fake := "fake " + e.kind
		if e.kind == "remote" {
			fake = "real remote"
		}
		add := func(id, fault string, start func(t *testing.T) *hurtEngine) {
			all = append(all, engineFault{id, fault, fake, start})
		}
		broken := failed("engine-unreachable")
		add("F-01", "refuses connections", e.spoilt(broken, func(t *testing.T, w *wire) { w.cut() }))
		add("F-02", "full backlog", func(t *testing.T) *hurtEngine {
			return &hurtEngine{
				settings: e.settings(t, fullBacklog(t, syscall.AF_INET)), want: failed("engine-unreachable", "engine-timeout"), within: engineScan + time.Second,
			}
		})
		add("F-03", "never answers", e.spoilt(failed("engine-timeout"), toxically("timeout", "upstream", "timeout", 0)))
		add("F-06", "reset before the upload", e.spoilt(broken, toxically("reset_peer", "upstream", "timeout", 0)))
		add("F-06", "closed without a word", e.spoilt(broken, toxically("timeout", "upstream", "timeout", 100)))
		add("F-06", "upload cut", e.spoilt(failed("engine-unreachable", "engine-timeout"), toxically("limit_data", "upstream", "bytes", 4000)))
		add("F-06", "reply in pieces", e.spoilt(served(), toxically("slicer", "downstream", "average_size", 1)))
		add("F-07", "reply cut", e.spoilt(failed("engine-unreachable", "engine-protocol"), toxically("limit_data", "downstream", "bytes", 20)))
	}
	return append(append(all, cloudFaults()...), icapFaults()...)
}

func toxically(kind, stream, attribute string, value int) func(t *testing.T, w *wire) {
	return func(t *testing.T, w *wire) {
		w.spoil(t, toxic{Type: kind, Stream: stream, Attributes: map[string]int{attribute: value}})
	}
}

// spoilt is an engine whose wire is spoilt once it has been called good, and that
// must be back within 5 s of its repair.
func (e wired) spoilt(w want, spoil func(t *testing.T, w *wire)) func(t *testing.T) *hurtEngine {
	return func(t *testing.T) *hurtEngine {
		line := e.start(t)
		refused := false
		return &hurtEngine{
			settings: e.settings(t, line.address()), want: w, within: engineScan + time.Second,
			hurt: func(t *testing.T, f *faultRun) {
				f.await(t, 1, "up")
				spoil(t, line)
				refused = !line.proxy.Enabled
			},
			after: func(t *testing.T, f *faultRun) string {
				line.clear()
				if refused {
					line.mend(t, "")
				}
				return fmt.Sprintf(", back in %v", f.back(t, 5*time.Second).Round(10*time.Millisecond))
			},
		}
	}
}

// cloudFaults is what the service may answer (F-17).
func cloudFaults() []engineFault {
	protocol, refused := failed("engine-protocol"), failed("engine-refused")
	overload := blocked(http.StatusServiceUnavailable, "ERROR", "overload") // by clients, for all we know
	yes := `{"CleanResult":true,"FoundViruses":null}`
	var all []engineFault
	for _, c := range []struct {
		fault  string
		answer cloudmersivetest.Behaviour
		want   want
	}{
		{"400", cloudmersivetest.Status(400), protocol},
		{"401", cloudmersivetest.Status(401), refused},
		{"402", cloudmersivetest.Status(402), refused},
		{"403", cloudmersivetest.Status(403), refused},
		{"413", cloudmersivetest.Status(413), blocked(tooLarge, "UNSCANNABLE", "too-large")},
		{"413 while we send", cloudmersivetest.EarlyStatus(413), blocked(tooLarge, "UNSCANNABLE", "too-large")},
		{"429, Retry-After 1", cloudmersivetest.StatusRetryAfter(429, "1"), overload},
		{"429, Retry-After a day", cloudmersivetest.StatusRetryAfter(429, "86400"), overload},
		{"500", cloudmersivetest.Status(500), protocol},
		{"502", cloudmersivetest.Status(502), failed("engine-unreachable")},
		{"503", cloudmersivetest.Status(503), overload},
		{"504", cloudmersivetest.Status(504), failed("engine-timeout")},
		{"200, empty", cloudmersivetest.JSON(""), protocol},
		{"200, HTML", cloudmersivetest.Reply("text/html", "<p>CleanResult: true</p>"), protocol},
		{"200, cut JSON", cloudmersivetest.JSON(yes[:len(yes)-1]), protocol},
		{"200, cut and closed", cloudmersivetest.Truncated(yes, len(yes)-1), failed("engine-unreachable", "engine-protocol")},
		{"200, no CleanResult", cloudmersivetest.JSON(`{"FoundViruses":null}`), protocol},
		{"200, CleanResult null", cloudmersivetest.JSON(`{"CleanResult":null}`), protocol},
		{`200, CleanResult "true"`, cloudmersivetest.JSON(`{"CleanResult":"true"}`), protocol},
		{"200, CleanResult twice", cloudmersivetest.JSON(`{"CleanResult":false,"CleanResult":true}`), failed("engine-protocol")},
		{"200, two documents", cloudmersivetest.JSON(yes + yes), protocol},
		{"1 B/s", cloudmersivetest.Drip(time.Second, yes), failed("engine-timeout")},
		{"100 MB of JSON", cloudmersivetest.Huge(100_000_000), protocol},
		{"reset", cloudmersivetest.Reset(), failed("engine-unreachable")},
		{"hangs", cloudmersivetest.Hang(), failed("engine-timeout")},
	} {
		all = append(all, engineFault{"F-17", "answers " + c.fault, "fake cloudmersive", func(t *testing.T) *hurtEngine {
			s := cloudmersivetest.New()
			t.Cleanup(s.Close)
			return &hurtEngine{
				settings: cloudAt(t, s.URL(), ""), want: c.want, within: engineScan + time.Second,
				hurt: func(t *testing.T, f *faultRun) {
					f.await(t, 1, "up")
					s.Always(c.answer)
				},
			}
		}})
	}
	return append(all,
		engineFault{"F-17", "redirects to another host", "fake cloudmersive", redirecting},
		engineFault{"F-17", "expired certificate", "fake cloudmersive", func(t *testing.T) *hurtEngine {
			s := cloudmersivetest.New(cloudmersivetest.WithTLS(time.Now().Add(-time.Hour)))
			t.Cleanup(s.Close)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			writeFile(t, ca, string(s.CertPEM()))
			return &hurtEngine{
				settings: cloudAt(t, s.URL(), fmt.Sprintf(", ca_file: %q", ca)), want: failed("engine-unreachable"),
				after: func(t *testing.T, _ *faultRun) string {
					if n := len(s.Requests()); n > 0 {
						t.Errorf("%d requests went to a host with an expired certificate", n)
					}
					return ""
				},
			}
		}},
		engineFault{"F-17", "no such name", "none", func(t *testing.T) *hurtEngine {
			return &hurtEngine{
				settings: cloudAt(t, "https://nobody.invalid", ""), want: failed("engine-unreachable", "engine-timeout"),
				within: engineScan + time.Second,
			}
		}})
}

// redirecting sends the gate, and the key with it, to another host.
func redirecting(t *testing.T) *hurtEngine {
	s, other := cloudmersivetest.New(), cloudmersivetest.New()
	t.Cleanup(s.Close)
	t.Cleanup(other.Close)
	return &hurtEngine{
		settings: cloudAt(t, s.URL(), ""), want: failed("engine-protocol"),
		hurt: func(t *testing.T, f *faultRun) {
			f.await(t, 1, "up")
			s.Always(cloudmersivetest.Redirect(http.StatusTemporaryRedirect, other.URL()+cloudmersivetest.BasicPath))
		},
		after: func(t *testing.T, _ *faultRun) string {
			if n := len(other.Requests()); n > 0 {
				t.Errorf("the other host got %d requests", n)
			}
			return ", nothing for the other host"
		},
	}
}

// icapFaults is what the server may answer (F-18).
func icapFaults() []engineFault {
	protocol, broken := failed("engine-protocol"), failed("engine-unreachable", "engine-protocol")
	const head = "ICAP/1.0 200 OK\r\nISTag: \"icaptest-1\"\r\n"
	var all []engineFault
	for _, c := range []struct {
		name  string
		o     icaptest.Options
		fault icaptest.Fault
		want  want
	}{
		{"500", icaptest.Options{}, icaptest.Fault{Reply: []byte("ICAP/1.0 500 Server error\r\n\r\n")}, protocol},
		{"503", icaptest.Options{}, icaptest.Fault{Reply: []byte("ICAP/1.0 503 Overloaded\r\n\r\n")}, blocked(http.StatusServiceUnavailable, "ERROR", "overload")},
		{"404", icaptest.Options{}, icaptest.Fault{Reply: []byte("ICAP/1.0 404 Not found\r\n\r\n")}, failed("engine-refused")},
		{"206", icaptest.Options{}, icaptest.Fault{Reply: []byte("ICAP/1.0 206 Partial\r\nEncapsulated: res-hdr=0, res-body=10\r\n\r\n")}, protocol},
		{"100, then closes", icaptest.Options{}, icaptest.Fault{ContinueThenClose: true}, broken},
		{"bad Encapsulated", icaptest.Options{}, icaptest.Fault{Reply: []byte(head + "Encapsulated: res-hdr=0, res-body=-7\r\n\r\n"), CloseAfter: true}, broken},
		{"no Encapsulated", icaptest.Options{}, icaptest.Fault{Reply: []byte(head + "\r\n"), CloseAfter: true}, broken},
		{"HTTP instead", icaptest.Options{}, icaptest.Fault{Reply: []byte("HTTP/1.1 200 OK\r\n\r\n"), CloseAfter: true}, broken},
		{"10 MB of head", icaptest.Options{}, icaptest.Fault{Reply: []byte(head + "X: " + strings.Repeat("x", 10_000_000)), CloseAfter: true}, broken},
		{"dies amid the upload", icaptest.Options{}, icaptest.Fault{DieAfter: 5000, Reset: true}, broken},
		{"dies after the upload", icaptest.Options{}, icaptest.Fault{DieAtEnd: true}, broken},
		{"cut after 10 bytes", icaptest.Options{}, icaptest.Fault{CutReply: 10}, broken},
		{"hangs", icaptest.Options{}, icaptest.Fault{Hang: true}, failed("engine-timeout")},
	} {
		all = append(all, icapFault(c.name, c.o, "", c.want, func(s *icaptest.Server) { s.Set(c.fault) }))
	}
	const echo = ", accept_echo: true"
	spoil := func(b []byte) []byte { return append(b[:len(b)-1], b[len(b)-1]^1) }
	return append(all,
		icapFault("200 with a changed body", icaptest.Options{Echo: true, NoAllow204: true}, echo, blocked(http.StatusForbidden, "POLICY", "engine-policy"),
			func(s *icaptest.Server) { s.Set(icaptest.Fault{Spoil: spoil}) }),
		icapFault("200 with a cut body", icaptest.Options{Echo: true, NoAllow204: true}, echo, broken,
			func(s *icaptest.Server) { s.Set(icaptest.Fault{CutEcho: true}) }),
		icapFault("unasked 204", icaptest.Options{Echo: true, NoAllow204: true, Preview: -1}, echo+", max_preview_bytes: 0", protocol,
			func(s *icaptest.Server) {
				s.Set(icaptest.Fault{Reply: []byte("ICAP/1.0 204 Unmodified\r\nISTag: \"icaptest-1\"\r\n\r\n")})
			}),
		icapFault("closes kept connections", icaptest.Options{}, "", served(), func(s *icaptest.Server) { s.Drop() }),
		icapFault("closes after each answer", icaptest.Options{}, "", served(), func(s *icaptest.Server) { s.Set(icaptest.Fault{CloseAfter: true}) }),
		icapFault("other ISTag", icaptest.Options{TTL: 1}, "", served(), func(s *icaptest.Server) { s.Set(icaptest.Fault{ISTag: `"icaptest-2"`}) }),
	)
}

func icapFault(name string, o icaptest.Options, more string, w want, spoil func(*icaptest.Server)) engineFault {
	return engineFault{"F-18", name, "fake icap", func(t *testing.T) *hurtEngine {
		s := icaptest.Start(t, o)
		return &hurtEngine{
			settings: strings.TrimSuffix(icapAt(s.URL()), "}") + more + "}", want: w, within: engineScan + time.Second,
			hurt: func(t *testing.T, f *faultRun) {
				f.await(t, 1, "up")
				spoil(s)
			},
		}
	}}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
