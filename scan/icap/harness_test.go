package icap_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/icap"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

// pair is a fake server and an engine for it that has found its proof already and
// keeps a connection, so that what follows is about one object only.
func pair(t *testing.T, o icaptest.Options, c icap.Config) (*icaptest.Server, *icap.Engine) {
	t.Helper()
	s := icaptest.Start(t, o)
	c.URL, c.CAFile = s.URL(), s.CAFile()
	e := newEngine(t, c)
	for range 2 { // the proof costs the first its connection
		if _, err := scanIt(t, e, scantest.Object([]byte("anything"))); err != nil {
			t.Fatal(err)
		}
	}
	return s, e
}

func scanIt(t *testing.T, e scan.Engine, o scan.Object) (scan.Verdict, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return e.Scan(ctx, o)
}

func wantKind(t *testing.T, e scan.Engine, o scan.Object, want scan.Kind) {
	t.Helper()
	v, err := scanIt(t, e, o)
	if err == nil || scan.KindOf(err) != want || v.Outcome != scan.OutcomeUndecided {
		t.Errorf("verdict %+v, error %v (%v), want an error of kind %v", v, err, scan.KindOf(err), want)
	}
}

func wantVerdict(t *testing.T, e scan.Engine, o scan.Object, outcome scan.Outcome, cause scan.Cause) scan.Verdict {
	t.Helper()
	v, err := scanIt(t, e, o)
	if err != nil || v.Outcome != outcome || v.Cause != cause {
		t.Errorf("verdict %+v, error %v, want %v, cause %q", v, err, outcome, cause)
	}
	return v
}

func wantClean(t *testing.T, e scan.Engine, o scan.Object) {
	t.Helper()
	wantVerdict(t, e, o, scan.OutcomeClean, scan.CauseScanned)
}

func text(n int) scan.Object { return scantest.Object(scantest.Text(n, 1)) }

func marked(n int) scan.Object {
	return scantest.Object(append(scantest.Text(n, 1), icaptest.Marker()...))
}

// scans are the requests that carried an object, the newest last.
func scans(s *icaptest.Server) []icaptest.Request {
	var all []icaptest.Request
	for _, r := range s.Requests() {
		if r.Method != http.MethodOptions {
			all = append(all, r)
		}
	}
	return all
}

func last(t *testing.T, s *icaptest.Server) icaptest.Request {
	t.Helper()
	all := scans(s)
	if len(all) == 0 {
		t.Fatal("the server has seen no object")
	}
	return all[len(all)-1]
}

func objectOf(s string) scan.Object { return scantest.Object([]byte(s)) }
