package app_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
	"github.com/portcullis-av/portcullis/scan/scantest"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// An ICAP server behind one Portcullis, and that behind another: what the server
// says of a body comes through both.
func TestIcapAndRemote(t *testing.T) {
	server := icaptest.Start(t, icaptest.Options{})
	far := started(t, "engines: [{name: gateway, icap: {url: \""+server.URL()+"?secret\", max_object_bytes: 1Mi, headers: [{name: X-Client-IP, value: 192.0.2.1}]}}]\n"+
		"policies: [{name: default, engines: [gateway], max_body_bytes: 512Ki, fail: open}]\n")
	far.becomes("/readyz", 200, "ready\n")
	near := started(t, "engines: [{name: other, remote: {address: \""+far.extproc+"\"}}]\n"+
		"policies: [{name: default, engines: [other]}]\n")
	near.becomes("/readyz", 200, "ready\n")

	for content, want := range map[string]scanv1.Outcome{
		"harmless":                   scanv1.Outcome_OUTCOME_CLEAN,
		string(scantest.EICAR()):     scanv1.Outcome_OUTCOME_INFECTED,
		strings.Repeat("x", 600<<10): scanv1.Outcome_OUTCOME_UNSCANNABLE, // over the far limit
	} {
		got, err := scanContent(t.Context(), near.dial(nil), []byte(content))
		if err != nil || got.GetOutcome() != want || got.GetEngine() != "other" {
			t.Errorf("%.20q: %v, %v; want %v", content, got, err, want)
		}
	}
	for _, r := range server.Requests() {
		if got := r.Header["x-client-ip"]; len(got) != 1 || got[0] != "192.0.2.1" {
			t.Errorf("%s without the configured header: %v", r.Method, r.Header)
		}
	}
	// The far policy lets pass what could not be scanned; the near one does not.
	server.Stop()
	got, err := scanContent(t.Context(), near.dial(nil), []byte("not seen before"))
	if err != nil || got.GetOutcome() != scanv1.Outcome_OUTCOME_ERROR || got.GetAction() != scanv1.Action_ACTION_BLOCK ||
		got.GetCause() != string(scan.CauseEngineUnreachable) {
		t.Errorf("server down: %v, %v", got, err)
	}
	if log := far.log.String() + near.log.String(); strings.Contains(log, "?secret") {
		t.Errorf("the query of the URL is in the log:\n%s", log)
	}
}

// A body over which Cloudmersive runs out of the time of one call does not reach
// fail-open with it, although nobody else asks and canaries are rare: the service
// answers those.
func TestHangingBodyIsNotPassed(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form, err := io.ReadAll(r.Body)
		switch {
		case err != nil:
		case bytes.Contains(form, []byte("hang")):
			<-r.Context().Done()
		case bytes.Contains(form, scantest.EICAR()):
			_, _ = io.WriteString(w, `{"CleanResult":false,"FoundViruses":[{"FileName":"x","VirusName":"Eicar"}]}`)
		default:
			_, _ = io.WriteString(w, `{"CleanResult":true,"FoundViruses":null}`)
		}
	}))
	defer service.Close()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := started(t, "engines: [{name: cloud, cloudmersive: {url: \""+service.URL+"\", api_key_file: \""+key+"\", timeout: 3s}}]\n"+
		"policies: [{name: default, engines: [cloud], fail: open}]\n")
	p.becomes("/readyz", 200, "ready\n")
	for _, content := range []string{"hang", "hang again"} { // the second one without any probe of the start
		got, err := scanContent(t.Context(), p.dial(nil), []byte(content))
		if err != nil || got.GetAction() != scanv1.Action_ACTION_BLOCK || got.GetCause() != string(scan.CauseScanTimeout) {
			t.Errorf("%s: got %v, %v", content, got, err)
		}
	}
}
