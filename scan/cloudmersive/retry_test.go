package cloudmersive

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

// script is a transport that reads each upload and gives one answer after the
// other.
type script struct {
	answers []answer
	at      []time.Time
	digests [][32]byte
	lengths []int64
}

type answer struct {
	status     int
	retryAfter string
	err        error
}

const cleanJSON = `{"CleanResult":true,"FoundViruses":null}`

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	defer r.Body.Close()
	digest := sha256.New()
	n, err := io.Copy(digest, r.Body)
	if err != nil {
		return nil, err
	}
	if len(s.answers) == 0 {
		return nil, errors.New("one attempt too many")
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	s.at = append(s.at, time.Now())
	s.digests = append(s.digests, [32]byte(digest.Sum(nil)))
	s.lengths = append(s.lengths, n)
	if a.err != nil {
		return nil, a.err
	}
	h := http.Header{}
	if a.retryAfter != "" {
		h.Set("Retry-After", a.retryAfter)
	}
	return &http.Response{StatusCode: a.status, Header: h, Body: io.NopCloser(strings.NewReader(cleanJSON))}, nil
}

func dialError() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

// scanScripted scans 100 kB, in a bubble, against the answers.
func scanScripted(t *testing.T, retry bool, limit time.Duration, answers ...answer) (v scan.Verdict, s *script, took time.Duration, err error) {
	t.Helper()
	s = &script{answers: answers}
	key := keyFile(t, "k")
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{APIKeyFile: key, Retry: retry, Transport: s})
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		began := time.Now()
		v, err = e.Scan(ctx, scantest.Object(scantest.Text(100_000, 1)))
		took = time.Since(began)
	})
	return v, s, took, err
}

// These are tried a second time, after 50 to 500 ms, with the same object.
func TestRetried(t *testing.T) {
	for _, first := range []answer{
		{err: dialError()}, {status: 408}, {status: 429}, {status: 500}, {status: 502}, {status: 503}, {status: 504},
	} {
		v, s, took, err := scanScripted(t, true, time.Minute, first, answer{status: 200})
		if err != nil || v.Outcome != scan.OutcomeClean || len(s.at) != 2 {
			t.Errorf("%+v: %+v, %v after %d attempts; want CLEAN after 2", first, v, err, len(s.at))
			continue
		}
		if took < minJitter || took >= maxJitter {
			t.Errorf("%+v: took %v", first, took)
		}
		if s.lengths[0] != s.lengths[1] || s.lengths[0] <= 100_000 {
			t.Errorf("%+v: lengths %v", first, s.lengths)
		}
		if s.digests[0] == s.digests[1] {
			t.Errorf("%+v: both attempts used one boundary", first)
		}
	}
}

// These are not: the answer would be the same, or the scan may have happened.
func TestNotRetried(t *testing.T) {
	for _, status := range []int{200, 204, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 413, 415, 422, 501, 505} {
		_, s, took, _ := scanScripted(t, true, time.Minute, answer{status: status}, answer{status: 200})
		if len(s.at) != 1 || took != 0 {
			t.Errorf("%d: %d attempts in %v", status, len(s.at), took)
		}
	}
	for _, err := range []error{io.ErrUnexpectedEOF, errors.New("x509: certificate has expired"), &net.OpError{Op: "read", Err: errors.New("reset")}} {
		_, s, _, got := scanScripted(t, true, time.Minute, answer{err: err}, answer{status: 200})
		if len(s.at) != 1 {
			t.Errorf("%v: %d attempts", err, len(s.at))
		}
		wantKind(t, got, scan.KindUnreachable)
	}
}

func TestRetriedOnceOnly(t *testing.T) {
	_, s, _, err := scanScripted(t, true, time.Minute, answer{status: 503}, answer{status: 500}, answer{status: 200})
	if len(s.at) != 2 {
		t.Errorf("%d attempts", len(s.at))
	}
	wantKind(t, err, scan.KindProtocol)
}

func TestRetryIsOffByDefault(t *testing.T) {
	_, s, _, err := scanScripted(t, false, time.Minute, answer{status: 503}, answer{status: 200})
	if len(s.at) != 1 {
		t.Errorf("%d attempts", len(s.at))
	}
	wantKind(t, err, scan.KindOverload)
}

// Retry-After is waited for, if it fits the cap and the deadline; otherwise the
// scan fails at once.
func TestRetryAfter(t *testing.T) {
	// Time in a bubble begins at midnight UTC 2000-01-01.
	date := time.Date(2000, 1, 1, 0, 0, 4, 0, time.UTC).Format(http.TimeFormat)
	for _, c := range []struct {
		value    string
		limit    time.Duration
		attempts int
		least    time.Duration
	}{
		{"3", time.Minute, 2, 3 * time.Second},
		{" 3 ", time.Minute, 2, 3 * time.Second},
		{"10", time.Minute, 2, 10 * time.Second},
		{"11", time.Minute, 1, 0},
		{"99999999999999999999999", time.Minute, 1, 0},
		{date, time.Minute, 2, 4 * time.Second},
		{"Sat, 01 Jan 2000 01:00:00 GMT", time.Minute, 1, 0},
		{"Sat, 01 Jan 1990 00:00:00 GMT", time.Minute, 2, 0},
		{"0", time.Minute, 2, 0},
		{"-5", time.Minute, 2, 0},
		{"soon", time.Minute, 2, 0},
		{"3", 3 * time.Second, 1, 0},
		{"", 200 * time.Millisecond, 1, 0},
	} {
		_, s, took, err := scanScripted(t, true, c.limit, answer{status: 429, retryAfter: c.value}, answer{status: 200})
		if len(s.at) != c.attempts {
			t.Errorf("%q in %v: %d attempts, want %d", c.value, c.limit, len(s.at), c.attempts)
			continue
		}
		if c.attempts == 1 {
			wantKind(t, err, scan.KindOverload)
			if took != 0 {
				t.Errorf("%q in %v: failed after %v, want at once", c.value, c.limit, took)
			}
			continue
		}
		if err != nil || took < c.least+minJitter || took >= c.least+maxJitter {
			t.Errorf("%q: %v after %v, want at least %v", c.value, err, took, c.least)
		}
	}
}

// A caller who leaves during the wait is let go.
func TestCanceledWhileWaiting(t *testing.T) {
	key := keyFile(t, "k")
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []answer{{status: 429, retryAfter: "5"}}}
		e := newEngine(t, Config{APIKeyFile: key, Retry: true, Transport: s})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, cancel)
		began := time.Now()
		_, err := e.Scan(ctx, scantest.Object([]byte("x")))
		wantKind(t, err, scan.KindCanceled)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// What each status without a verdict is taken for.
func TestStatusKinds(t *testing.T) {
	for status, want := range map[int]scan.Kind{
		101: scan.KindProtocol, 301: scan.KindProtocol, 304: scan.KindProtocol, 307: scan.KindProtocol,
		400: scan.KindProtocol, 404: scan.KindProtocol, 415: scan.KindProtocol, 422: scan.KindProtocol, 500: scan.KindProtocol,
		401: scan.KindRefused, 402: scan.KindRefused, 403: scan.KindRefused,
		429: scan.KindOverload, 503: scan.KindOverload,
		408: scan.KindTimeout, 504: scan.KindTimeout, 502: scan.KindUnreachable,
	} {
		_, _, _, err := scanScripted(t, false, time.Minute, answer{status: status})
		wantKind(t, err, want)
	}
	v, _, _, err := scanScripted(t, false, time.Minute, answer{status: 413})
	if err != nil || v.Outcome != scan.OutcomeUnscannable || v.Cause != scan.CauseTooLarge {
		t.Errorf("413: %+v, %v", v, err)
	}
}
