package gate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// hostile is what engines and clients may say, with everything in it that
// breaks headers, logs, pages or terminals.
const hostile = "evil\r\nSet-Cookie: evil=1\x00<script>alert(\"evil\")</script>\x1b[31m\u202e'&;"

// foreign is a verdict in which all that an engine can say is hostile.
func foreign(o scan.Outcome, c scan.Cause) scan.Verdict {
	return scan.Verdict{
		Outcome: o, Cause: c, Threats: []string{"Eicar", hostile, strings.Repeat("A", 129), "Eicar"},
		Engine: hostile, Signatures: hostile, Object: hostile, Detail: hostile,
	}
}

// refuse makes the answer to a client whose request is hostile too.
func refuse(leg scan.Leg, v scan.Verdict, accept string, grpc, show bool) (gate.Refusal, string) {
	r := newRig()
	r.policy.ShowThreats = show
	x := gate.New(r.setup()).Begin(context.Background(), gate.Head{
		Attributes: scan.Attributes{Method: hostile, Host: hostile, Path: hostile, Scheme: hostile}, RequestID: hostile,
		Accept: accept, GRPC: grpc,
	}, "")
	defer x.Finish("refused")
	return x.Refuse(leg, gate.Decision{Action: scan.Block, Covered: true, Verdict: v}), x.ID()
}

// verdicts are all that a refusal distinguishes, and an outcome nobody set.
func verdicts() []scan.Verdict {
	return []scan.Verdict{
		foreign(scan.OutcomeInfected, scan.CauseMalware),
		foreign(scan.OutcomePolicy, scan.CauseEncrypted),
		foreign(scan.OutcomeUnscannable, scan.CauseTooLarge),
		foreign(scan.OutcomeUnscannable, scan.CauseUnknownCoding),
		foreign(scan.OutcomeUnscannable, scan.CauseMalformedBody),
		foreign(scan.OutcomeError, scan.CauseEngineUnreachable),
		foreign(scan.OutcomeUndecided, scan.CauseInternal),
	}
}

// show writes an answer as it is, the exchange id apart.
func show(r gate.Refusal, id string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", r.Status)
	if r.GRPC {
		fmt.Fprintf(&b, " grpc-status %d: %q", r.GRPCStatus, r.Message)
	}
	b.WriteByte('\n')
	for _, h := range r.Headers {
		fmt.Fprintf(&b, "%s: %s\n", h.Name, h.Value)
	}
	return strings.ReplaceAll(b.String()+string(r.Body), id, "EXCHANGE") + "\n"
}

// Every kind of refusal, on both legs, in every form that a client may want.
func TestRefusals(t *testing.T) {
	forms := []struct {
		file, accept string
		grpc, show   bool
	}{
		{"refusals.json.txt", "", false, false},
		{"refusals.json.threats.txt", "application/json", false, true},
		{"refusals.html.txt", "text/html", false, false},
		{"refusals.html.threats.txt", "text/html", false, true},
		{"refusals.grpc.txt", "text/html", true, true},
	}
	for _, f := range forms {
		t.Run(f.file, func(t *testing.T) {
			var all strings.Builder
			for _, leg := range []scan.Leg{scan.Request, scan.Response} {
				for _, v := range verdicts() {
					r, id := refuse(leg, v, f.accept, f.grpc, f.show)
					fmt.Fprintf(&all, "# %v %v %s\n%s", leg, v.Outcome, v.Cause, show(r, id))
				}
			}
			golden(t, f.file, all.String())
		})
	}
}

// No foreign text is in a header, in a gRPC message or, save for safe threat
// names, in a body; and whatever is in a header is printable ASCII.
func TestNoForeignTextInRefusals(t *testing.T) {
	for _, leg := range []scan.Leg{scan.Request, scan.Response} {
		for _, v := range verdicts() {
			for i := range 8 {
				accept := ""
				if i&1 != 0 {
					accept = "text/html, " + hostile
				}
				r, _ := refuse(leg, v, accept, i&2 != 0, i&4 != 0)
				if strings.Contains(strings.ToLower(r.Message+string(r.Body)), "evil") {
					t.Errorf("%v %v: foreign text in %q %q", leg, v.Outcome, r.Message, r.Body)
				}
				for _, h := range r.Headers {
					unsafe := func(c rune) bool { return c < ' ' || c > '~' }
					if strings.Contains(h.Value, "evil") || strings.ContainsFunc(h.Name+h.Value, unsafe) || h.Name != strings.ToLower(h.Name) {
						t.Errorf("%v %v: header %q: %q", leg, v.Outcome, h.Name, h.Value)
					}
				}
			}
		}
	}
}

// A problem document is JSON, and each of its words is one of ours.
func TestProblemIsJSON(t *testing.T) {
	for _, c := range scan.Causes() {
		r, id := refuse(scan.Request, foreign(scan.OutcomePolicy, c), "", false, false)
		var p map[string]any
		if err := json.Unmarshal(r.Body, &p); err != nil {
			t.Fatalf("%s: %v", r.Body, err)
		}
		if p["type"] != "urn:portcullis:"+string(c) || p["cause"] != string(c) || p["exchange"] != id || p["status"] != 403.0 || p["threats"] != nil {
			t.Errorf("got %s", r.Body)
		}
	}
}

// Only who must come back later is told when.
func TestRetryAfter(t *testing.T) {
	for _, leg := range []scan.Leg{scan.Request, scan.Response} {
		for _, v := range verdicts() {
			r, _ := refuse(leg, v, "", false, false)
			later := false
			for _, h := range r.Headers {
				later = later || h.Name == "retry-after"
			}
			if later != (r.Status == 503) {
				t.Errorf("%v %v: status %d, retry-after %v", leg, v.Outcome, r.Status, later)
			}
		}
	}
}

// The verdict header of a covered leg is made of our own words.
func TestVerdictHeader(t *testing.T) {
	for want, v := range map[string]scan.Verdict{
		"CLEAN; cause=scanned":    scan.CleanVerdict(),
		"INFECTED; cause=malware": foreign(scan.OutcomeInfected, scan.CauseMalware),
		"ERROR; cause=internal":   foreign(scan.OutcomeUndecided, scan.CauseInternal),
	} {
		if got := (gate.Decision{Covered: true, Verdict: v}).VerdictHeader(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func mediaType(accept string) string {
	r, _ := refuse(scan.Request, scan.InfectedVerdict("Eicar"), accept, false, false)
	for _, h := range r.Headers {
		if h.Name == "content-type" {
			return h.Value
		}
	}
	return ""
}

const (
	html    = "text/html; charset=utf-8"
	problem = "application/problem+json"
)

// A page is for who names HTML and ranks it above JSON; wildcards and whatever
// cannot be read mean a program.
func TestAccept(t *testing.T) {
	for accept, want := range map[string]string{
		"": problem, "*/*": problem, "text/*": problem, "text/html": html, "TEXT/HTML": html, "application/xhtml+xml": html,
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8": html,
		"application/json, text/html":                              problem,
		"text/html, application/json;q=0.9":                        html,
		"text/html;q=0.8, application/json;q=0.9":                  problem,
		"text/html;q=0.8, application/problem+json;q=0.7":          html,
		"text/html; charset=utf-8; Q=0.4, application/json; q=0.3": html,
		"application/json;q=0.1, text/html;q=0.2;ext=1":            html,
		"text/html;q=0":              problem,
		"text/html;q=0.000":          problem,
		"text/html;q=1.000":          html,
		"text/html;q=":               problem,
		"text/html;q=nan":            problem,
		"text/html;q=inf":            problem,
		"text/html;q=-1":             problem,
		"text/html;q=2":              problem,
		"text/htmlx":                 problem,
		"text/html/x":                problem,
		";;;,,,=;q;q=,/":             problem,
		"\x00\r\ntext/html\r\n":      problem,
		strings.Repeat("a/b,", 9999): problem,
	} {
		if got := mediaType(accept); got != want {
			t.Errorf("Accept %.80q gets %s, want %s", accept, got, want)
		}
	}
}

// Whatever a client sends as Accept, it gets one of the two forms, and a page
// only if it named HTML.
func FuzzAccept(f *testing.F) {
	for _, s := range []string{"", "text/html", "text/html;q=0.5, */*", "application/json;q=0.1,text/html;q=nan", ",;=\x00", hostile} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		switch got := mediaType(accept); got {
		case problem:
		case html:
			if lower := strings.ToLower(accept); !strings.Contains(lower, "text/html") && !strings.Contains(lower, "application/xhtml+xml") {
				t.Errorf("Accept %q gets a page", accept)
			}
		default:
			t.Errorf("Accept %q gets %q", accept, got)
		}
	})
}
