package icap_test

import (
	"archive/zip"
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/icap"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
)

// TestProof: a server with a limit of its own lets pass what is over it, and
// never says so. Nothing it says counts until it finds a known-bad file of the
// largest size.
func TestProof(t *testing.T) {
	for _, echo := range []bool{false, true} {
		s := icaptest.Start(t, icaptest.Options{ObjectLimit: mib, Echo: echo})
		over := newEngine(t, icap.Config{URL: s.URL(), AcceptEcho: true, MaxObjectBytes: mib + 1})
		for range 3 {
			wantKind(t, over, four(), scan.KindRefused)
		}
		wantVerdict(t, over, marked(100), scan.OutcomeInfected, scan.CauseMalware)
		if n := len(scans(s)); n != 5 {
			t.Errorf("%d objects sent, want 4 and one canary: a failed proof is not repeated at once", n)
		}
		_, err := scanIt(t, over, four())
		if err == nil || !strings.Contains(err.Error(), "max_object_bytes") {
			t.Errorf("error %v does not say what to do", err)
		}

		e := newEngine(t, icap.Config{URL: s.URL(), AcceptEcho: true, MaxObjectBytes: mib})
		wantClean(t, e, text(mib))
		wantVerdict(t, e, text(mib+1), scan.OutcomeUnscannable, scan.CauseTooLarge)
	}
}

// TestProofByEcho: a known-bad file that comes back unchanged has passed too,
// although no echo is CLEAN here.
func TestProofByEcho(t *testing.T) {
	s := icaptest.Start(t, icaptest.Options{ObjectLimit: mib, EchoOver: mib})
	e := newEngine(t, icap.Config{URL: s.URL(), MaxObjectBytes: mib + 1})
	wantKind(t, e, four(), scan.KindRefused)
}

// TestProofOnce: however many scans wait for it.
func TestProofOnce(t *testing.T) {
	s := icaptest.Start(t, icaptest.Options{})
	e := newEngine(t, icap.Config{URL: s.URL(), MaxObjectBytes: 100_000})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { wantClean(t, e, four()) })
	}
	all.Wait()
	canaries := 0
	for _, r := range scans(s) {
		if len(r.Body) == 100_000 {
			canaries++
			checkCanary(t, r.Body)
		}
	}
	if canaries != 1 {
		t.Errorf("%d canaries sent, want 1", canaries)
	}
}

// checkCanary: any reader of archives finds the known-bad file in it.
func checkCanary(t *testing.T, archive []byte) {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in) // checks the CRC
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		if isEICAR := bytes.Equal(content, icaptest.EICAR()); isEICAR != (i == 0) {
			t.Errorf("member %d is %s of %d bytes", i, f.Name, len(content))
		}
	}
	if len(r.File) != 2 {
		t.Errorf("%d members", len(r.File))
	}
}
