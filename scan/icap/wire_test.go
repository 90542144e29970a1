package icap_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/icap"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
)

// TestWire: the whole request. That the offsets fit and the chunks are right is
// the fake's to check in every test.
func TestWire(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, []byte(" s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := icaptest.Start(t, icaptest.Options{})
	e := newEngine(t, icap.Config{
		URL: s.URL() + "?profile=a%20b&x=1", SendFileName: true,
		Headers: []icap.Header{{Name: "X-Client-IP", Value: "192.0.2.7"}, {Name: "X-Key", File: secret}},
	})
	o := objectOf("abc")
	o.Name, o.ContentType = `C:\temp\Q3 "plan"; Ü.txt`, "image/png"
	wantClean(t, e, o)

	options := s.Requests()[0]
	uri := s.URL() + "?profile=a%20b&x=1"
	host := strings.TrimSuffix(strings.TrimPrefix(s.URL(), "icap://"), "/scan")
	extra := map[string][]string{"host": {host}, "user-agent": {"Portcullis"}, "x-client-ip": {"192.0.2.7"}, "x-key": {"s3cret"}}
	want := map[string][]string{"encapsulated": {"null-body=0"}}
	for name, value := range extra {
		want[name] = value
	}
	if diff := cmp.Diff(want, options.Header); diff != "" || options.Method != http.MethodOptions || options.URI != uri {
		t.Errorf("%s %s: header (-want +got):\n%s", options.Method, options.URI, diff)
	}

	r := scans(s)[0]
	name := "Q3%20%22plan%22%3B%20%C3%9C.txt"
	request := "GET /" + name + " HTTP/1.1\r\nHost: portcullis.invalid\r\n\r\n"
	response := "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 3\r\n" +
		`Content-Disposition: attachment; filename="Q3 _plan__ _.txt"; filename*=UTF-8''` + name + "\r\n\r\n"
	if diff := cmp.Diff(request, r.RequestHead); diff != "" {
		t.Errorf("encapsulated request (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(response, r.ResponseHead); diff != "" {
		t.Errorf("encapsulated response (-want +got):\n%s", diff)
	}
	delete(r.Header, "encapsulated")
	extra["allow"] = []string{"204"}
	if diff := cmp.Diff(extra, r.Header); diff != "" || r.Method != "RESPMOD" || r.URI != uri || string(r.Body) != "abc" {
		t.Errorf("%s %s: header (-want +got):\n%s", r.Method, r.URI, diff)
	}

	// A changed file counts from the next request on; a broken one fails it.
	if err := os.WriteFile(secret, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantClean(t, e, o)
	if got := last(t, s).Header["x-key"]; len(got) != 1 || got[0] != "other" {
		t.Errorf("X-Key %q", got)
	}
	if err := os.WriteFile(secret, []byte("hunter2\nX-Injected: yes"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := scanIt(t, e, o)
	if scan.KindOf(err) != scan.KindRefused || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

// TestWireNameless: by default nothing that the sender says is sent.
func TestWireNameless(t *testing.T) {
	s := icaptest.Start(t, icaptest.Options{})
	e := newEngine(t, icap.Config{URL: s.URL(), Method: icap.MethodReqmod})
	o := objectOf("abc")
	o.Name, o.ContentType = "holiday.png", "image/png"
	wantClean(t, e, o)
	want := "POST /object HTTP/1.1\r\nHost: portcullis.invalid\r\nContent-Type: application/octet-stream\r\nContent-Length: 3\r\n\r\n"
	if diff := cmp.Diff(want, scans(s)[0].RequestHead); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMethodAuto(t *testing.T) {
	for _, c := range []struct {
		offered []string
		want    string
	}{
		{[]string{"REQMOD", "RESPMOD"}, "RESPMOD"},
		{[]string{"RESPMOD"}, "RESPMOD"},
		{[]string{"REQMOD"}, "REQMOD"},
	} {
		s, _ := pair(t, icaptest.Options{Methods: c.offered}, icap.Config{Method: icap.MethodAuto})
		if got := last(t, s).Method; got != c.want {
			t.Errorf("%q offered: %s, want %s", c.offered, got, c.want)
		}
	}
}

// TestSizes: the marker is found wherever chunks begin and end.
func TestSizes(t *testing.T) {
	_, e := pair(t, icaptest.Options{}, icap.Config{})
	const frame = 64 << 10
	for _, size := range []int{1, 4096, frame - 1, frame, frame + 1, 3 * frame, 3*frame - 16} {
		wantClean(t, e, text(size))
		wantVerdict(t, e, marked(size), scan.OutcomeInfected, scan.CauseMalware)
		wantVerdict(t, e, objectOf(string(icaptest.Marker())+string(make([]byte, size))), scan.OutcomeInfected, scan.CauseMalware)
	}
}
