package icap_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/icap"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
)

// large does not fit into the buffers of any socket.
const large = 8 * mib

const (
	clean204    = "ICAP/1.0 204 Unmodified\r\nISTag: \"icaptest-1\"\r\n\r\n"
	echoedHead  = "HTTP/1.1 200 OK\r\n\r\n"
	echoedStart = "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n" + echoedHead
)

// TestAnswers is F-18 and F-08: single answers, each to an object of four bytes.
func TestAnswers(t *testing.T) {
	const protocol, refused, overload = scan.KindProtocol, scan.KindRefused, scan.KindOverload
	for name, c := range map[string]struct {
		reply string
		want  scan.Kind
	}{
		"206":                      {"ICAP/1.0 206 Partial\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n" + echoedHead + "0; use-original-body=0\r\n\r\n", protocol},
		"201":                      {"ICAP/1.0 201 Created\r\n\r\n", protocol},
		"100 outside a preview":    {"ICAP/1.0 100 Continue\r\n\r\n", protocol},
		"100 and then 204":         {"ICAP/1.0 100 Continue\r\n\r\n" + clean204, protocol},
		"102":                      {"ICAP/1.0 102 Processing\r\n\r\n" + clean204, protocol},
		"400":                      {"ICAP/1.0 400 Bad request\r\n\r\n", protocol},
		"403":                      {"ICAP/1.0 403 Forbidden\r\n\r\n", refused},
		"404":                      {"ICAP/1.0 404 Service not found\r\n\r\n", refused},
		"408":                      {"ICAP/1.0 408 Time-out\r\n\r\n", protocol},
		"500":                      {"ICAP/1.0 500 Server error\r\n\r\n", protocol},
		"503":                      {"ICAP/1.0 503 Overload\r\n\r\n", overload},
		"505":                      {"ICAP/1.0 505 Version\r\n\r\n", refused},
		"HTTP":                     {"HTTP/1.1 204 No Content\r\n\r\n", protocol},
		"another version":          {"ICAP/1.1 204 No Content\r\n\r\n", protocol},
		"number run together":      {"ICAP/1.0 2040\r\n\r\n", protocol},
		"LF alone":                 {"ICAP/1.0 204 Unmodified\n\n", protocol},
		"empty line":               {"\r\n\r\n", protocol},
		"folded first":             {"ICAP/1.0 204 Unmodified\r\n folded\r\n\r\n", protocol},
		"no field":                 {"ICAP/1.0 204 Unmodified\r\nno field\r\n\r\n", protocol},
		"204 with a body":          {"ICAP/1.0 204 Unmodified\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n" + echoedHead + "0\r\n\r\n", protocol},
		"UTF-16":                   {"I\x00C\x00A\x00P\x00\r\x00\n\x00\r\x00\n\x00", protocol},
		"10 MB head":               {"ICAP/1.0 204 " + string(bytes.Repeat([]byte("x"), 10*mib)) + "\r\n\r\n", protocol},
		"16 KiB of fields":         {"ICAP/1.0 204 x\r\n" + string(bytes.Repeat([]byte("A: b\r\n"), 3000)) + "\r\n", protocol},
		"200 without Encapsulated": {"ICAP/1.0 200 OK\r\n\r\n", protocol},
		"two Encapsulated":         {"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\n" + echoedHead + "4\r\ntext\r\n0\r\n\r\n", protocol},
		"offset too small":         {"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=18\r\n\r\n" + echoedHead + "4\r\ntext\r\n0\r\n\r\n", protocol},
		"offset too large":         {"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=20\r\n\r\n" + echoedHead + "4\r\ntext\r\n0\r\n\r\n", protocol},
		"offset enormous":          {"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=999999\r\n\r\n" + echoedHead, protocol},
		"offset not a number":      {"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=+19\r\n\r\n" + echoedHead, protocol},
		"parts the wrong way":      {"ICAP/1.0 200 OK\r\nEncapsulated: res-body=0, res-hdr=19\r\n\r\n" + echoedHead, protocol},
		"request and response":     {"ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, res-hdr=19, res-body=38\r\n\r\n" + echoedHead + echoedHead + "4\r\ntext\r\n0\r\n\r\n", protocol},
		"request for a response":   {"ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, req-body=18\r\n\r\nGET / HTTP/1.1\r\n\r\n0\r\n\r\n", protocol},
		"HTTP 500 inside":          {"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=21\r\n\r\nHTTP/1.1 500 Sorry\r\n\r\n", protocol},
		"chunk size no number":     {echoedStart + "x\r\ntext\r\n0\r\n\r\n", protocol},
		"chunk size negative":      {echoedStart + "-4\r\ntext\r\n0\r\n\r\n", protocol},
		"chunk size enormous":      {echoedStart + "fffffffffffffffff\r\ntext\r\n0\r\n\r\n", protocol},
		"chunk size over 64 bits":  {echoedStart + "10000000000000004\r\ntext\r\n0\r\n\r\n", protocol},
		"chunk too long":           {echoedStart + "3\r\ntext\r\n0\r\n\r\n", protocol},
		"chunk LF alone":           {echoedStart + "4\ntext\n0\n\n", protocol},
		"trailer no field":         {echoedStart + "4\r\ntext\r\n0\r\nnothing\r\n\r\n", protocol},
	} {
		t.Run(name, func(t *testing.T) {
			s := icaptest.Start(t, icaptest.Options{})
			e := newEngine(t, icap.Config{URL: s.URL(), AcceptEcho: true, MaxObjectBytes: mib})
			s.Set(icaptest.Fault{Reply: []byte(c.reply), CloseAfter: true})
			wantKind(t, e, four(), c.want)
		})
	}
}

func four() scan.Object { return objectOf("text") }

// TestUnasked204: without Allow: 204 and without a preview nobody offered it.
func TestUnasked204(t *testing.T) {
	s := icaptest.Start(t, icaptest.Options{NoAllow204: true})
	e := newEngine(t, icap.Config{URL: s.URL()})
	s.Set(icaptest.Fault{Reply: []byte(clean204)})
	wantKind(t, e, text(100), scan.KindProtocol)
	// Within the preview it is offered; after a 100 it no longer is.
	e = newEngine(t, icap.Config{URL: s.URL(), MaxPreview: 1024, MaxObjectBytes: mib})
	wantKind(t, e, text(2000), scan.KindProtocol)
	s.Set(icaptest.Fault{})
	s, e = pair(t, icaptest.Options{Echo: true, NoAllow204: true}, icap.Config{AcceptEcho: true, MaxPreview: 1024})
	s.Set(icaptest.Fault{Reply: []byte(clean204)})
	wantClean(t, e, text(1000))
	wantKind(t, e, text(2000), scan.KindProtocol)
}

// TestEcho: an object that comes back is CLEAN only if it is asked for, and only
// if it is the same.
func TestEcho(t *testing.T) {
	for _, method := range []string{icap.MethodRespmod, icap.MethodReqmod} {
		s, e := pair(t, icaptest.Options{Echo: true}, icap.Config{AcceptEcho: true, Method: method})
		strict := newEngine(t, icap.Config{URL: s.URL(), Method: method})
		for _, size := range []int{1, 1000, 30_000, large} {
			for name, spoil := range map[string]func([]byte) []byte{
				"first byte": func(b []byte) []byte { b[0] ^= 1; return b },
				"last byte":  func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
				"one more":   func(b []byte) []byte { return append(b, 0) },
				"twice":      func(b []byte) []byte { return append(b, b...) },
				"one less":   func(b []byte) []byte { return b[:len(b)-1] },
				"half":       func(b []byte) []byte { return b[:len(b)/2] },
				"empty":      func([]byte) []byte { return nil },
			} {
				t.Run(fmt.Sprintf("%s, %d bytes, %s", method, size, name), func(t *testing.T) {
					s.Set(icaptest.Fault{Spoil: spoil})
					wantVerdict(t, e, text(size), scan.OutcomePolicy, scan.CauseEnginePolicy)
				})
			}
			s.Set(icaptest.Fault{CutEcho: true})
			wantKind(t, e, text(size), scan.KindUnreachable)
			s.Set(icaptest.Fault{})
			wantClean(t, e, text(size))
			wantVerdict(t, strict, text(size), scan.OutcomeUnscannable, scan.CauseEngineLimit)
		}
	}
}

// TestCutAnswers is F-07: no beginning of an answer is CLEAN.
func TestCutAnswers(t *testing.T) {
	for _, o := range []icaptest.Options{{}, {Echo: true}} {
		s, e := pair(t, o, icap.Config{AcceptEcho: true})
		for cut := 1; ; cut++ {
			s.Set(icaptest.Fault{CutReply: cut, ISTag: `"icaptest-1"`})
			v, err := scanIt(t, e, four())
			if err == nil {
				if cut < 60 {
					t.Errorf("%d bytes of an answer: %+v", cut, v)
				}
				break
			}
			if scan.KindOf(err) != scan.KindUnreachable {
				t.Errorf("%d bytes of an answer: %v (%v)", cut, err, scan.KindOf(err))
			}
		}
	}
}

// TestDying is F-04, F-05 and F-06.
func TestDying(t *testing.T) {
	for _, o := range []icaptest.Options{{}, {TLS: true}} {
		s, e := pair(t, o, icap.Config{MaxPreview: 512})
		for _, f := range []icaptest.Fault{
			{DieAfter: 1},
			{DieAfter: 1, Reset: true},
			{DieAfter: large / 2},
			{DieAfter: large / 2, Reset: true},
			{DieAtEnd: true},
			{DieAtEnd: true, Reset: true},
			{ContinueThenClose: true},
			{ContinueThenClose: true, Reset: true},
		} {
			s.Set(f)
			for _, size := range []int{1 << 10, large} {
				if f.DieAfter > int64(size) {
					continue
				}
				t.Run(fmt.Sprintf("%+v, %d bytes", f, size), func(t *testing.T) {
					wantKind(t, e, text(size), scan.KindUnreachable)
				})
			}
		}
		s.Set(icaptest.Fault{})
		wantClean(t, e, text(large))
	}
}

// TestEarly: what the server says before it has the whole object can condemn it
// and never clear it.
func TestEarly(t *testing.T) {
	for _, stall := range []bool{false, true} {
		s, e := pair(t, icaptest.Options{}, icap.Config{MaxObjectBytes: 64 * mib})
		o := text(64 * mib)
		s.Set(icaptest.Fault{Early: true, EarlyStall: stall, Reply: []byte(clean204)})
		wantVerdict(t, e, o, scan.OutcomeUnscannable, scan.CauseEngineLimit)
		s.Set(icaptest.Fault{Early: true, EarlyStall: stall, Reply: []byte("ICAP/1.0 204 x\r\nX-Virus-ID: A.b\r\n\r\n")})
		wantVerdict(t, e, o, scan.OutcomeInfected, scan.CauseMalware)
		s.Set(icaptest.Fault{Early: true, EarlyStall: stall, Reply: []byte("ICAP/1.0 413 Too large\r\n\r\n")})
		wantVerdict(t, e, o, scan.OutcomeUnscannable, scan.CauseTooLarge)
		s.Set(icaptest.Fault{Early: true, EarlyStall: stall, Reply: []byte("ICAP/1.0 500 Sorry\r\n\r\n")})
		wantKind(t, e, o, scan.KindProtocol)
		s.Set(icaptest.Fault{})
		wantClean(t, e, text(1000))
	}
}

// TestPreview: what the server lets pass after a preview it has not seen whole;
// and a 100 that comes although nothing is left is harmless.
func TestPreview(t *testing.T) {
	skip := []byte("GIF89a")
	s, e := pair(t, icaptest.Options{Skip: skip, Preview: 128}, icap.Config{MaxPreview: 1024})
	gif := append(bytes.Clone(skip), make([]byte, 5000)...)
	wantVerdict(t, e, objectOf(string(gif)), scan.OutcomeUnscannable, scan.CauseEngineLimit)
	wantVerdict(t, e, objectOf(string(append(gif, icaptest.Marker()...))), scan.OutcomeUnscannable, scan.CauseEngineLimit)
	wantVerdict(t, newEngine(t, icap.Config{URL: s.URL()}), objectOf(string(append(gif, icaptest.Marker()...))),
		scan.OutcomeInfected, scan.CauseMalware)
	s.Set(icaptest.Fault{ContinueAfterIeof: true})
	for _, size := range []int{1, 127, 128} {
		wantClean(t, e, text(size))
		if got := last(t, s); got.Preview != 128 || len(got.Body) != size {
			t.Errorf("preview %d, body of %d bytes, want 128 and %d", got.Preview, len(got.Body), size)
		}
	}
	s.Set(icaptest.Fault{})
	for _, size := range []int{127, 128, 129, 200_000} {
		wantClean(t, e, text(size))
		wantVerdict(t, e, marked(size), scan.OutcomeInfected, scan.CauseMalware)
	}
	s, e = pair(t, icaptest.Options{Preview: 4096}, icap.Config{MaxPreview: 100})
	wantClean(t, e, text(5000))
	if got := last(t, s); got.Preview != 100 {
		t.Errorf("preview %d, want the engine's own bound of 100", got.Preview)
	}
}

// TestDribble: byte by byte is slow and nothing else.
func TestDribble(t *testing.T) {
	s, e := pair(t, icaptest.Options{Echo: true}, icap.Config{AcceptEcho: true})
	s.Set(icaptest.Fault{Dribble: true})
	wantClean(t, e, text(5000))
	wantVerdict(t, e, marked(5000), scan.OutcomeInfected, scan.CauseMalware)
}

// TestOptionsFail: without a good answer to OPTIONS nothing is scanned.
func TestOptionsFail(t *testing.T) {
	for reply, want := range map[string]scan.Kind{
		"ICAP/1.0 404 Service not found\r\n\r\n":     scan.KindRefused,
		"ICAP/1.0 500 Server error\r\n\r\n":          scan.KindProtocol,
		"ICAP/1.0 503 Overload\r\n\r\n":              scan.KindOverload,
		"ICAP/1.0 204 Unmodified\r\n\r\n":            scan.KindProtocol,
		"ICAP/1.0 200":                               scan.KindUnreachable,
		"HTTP/1.1 200 OK\r\n\r\n":                    scan.KindProtocol,
		"ICAP/1.0 200 OK\r\nMethods: FOOMOD\r\n\r\n": scan.KindRefused,
		"ICAP/1.0 200 OK\r\n\r\n":                    scan.KindRefused,
	} {
		s := icaptest.Start(t, icaptest.Options{})
		e := newEngine(t, icap.Config{URL: s.URL(), Method: icap.MethodAuto, MaxObjectBytes: mib})
		s.Set(icaptest.Fault{Options: []byte(reply), CloseAfter: true})
		wantKind(t, e, four(), want)
		if _, err := e.Signatures(t.Context()); scan.KindOf(err) != want {
			t.Errorf("%q: signatures: %v", reply, err)
		}
		s.Set(icaptest.Fault{})
		wantClean(t, e, four())
	}
}

// TestBlackHole is F-02: nobody answers the connection.
func TestBlackHole(t *testing.T) {
	e := newEngine(t, icap.Config{URL: "icap://192.0.2.1/scan", ConnectTimeout: 100 * time.Millisecond})
	began := time.Now()
	wantKind(t, e, four(), scan.KindUnreachable)
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := newEngine(t, icap.Config{URL: "icap://192.0.2.1/scan"}).Scan(ctx, four()); scan.KindOf(err) != scan.KindTimeout && scan.KindOf(err) != scan.KindUnreachable {
		t.Errorf("error %v", err)
	}
}
