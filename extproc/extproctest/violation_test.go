package extproctest_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // the wrong processor below compresses
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
)

// saying receives as many messages as stand before each answer and then sends
// it; at the end it waits for Envoy to leave.
func saying(steps ...any) func(server) error {
	return func(s server) error {
		for _, step := range steps {
			switch v := step.(type) {
			case int:
				for range v {
					if _, err := s.Recv(); err != nil {
						return err
					}
				}
			case *response:
				if err := s.Send(v); err != nil {
					return err
				}
			}
		}
		for {
			if _, err := s.Recv(); err != nil {
				return nil //nolint:nilerr // Envoy left
			}
		}
	}
}

func withMode(cfg extproctest.Config, change func(*filterv3.ProcessingMode)) extproctest.Config {
	change(cfg.Mode)
	return cfg
}

func noImmediate(cfg extproctest.Config) extproctest.Config {
	cfg.DisableImmediateResponse = true
	return cfg
}

// Every row is a wrong processor and the rule that must catch it. A fatal one
// gives the client Envoy's 500 and the origin nothing.
func TestWrongProcessorsAreCaught(t *testing.T) {
	duplex, buffered, stream := extproctest.Duplex, extproctest.Buffered, streamed
	upload := extproctest.Exchange{Request: extproctest.Message{Body: [][]byte{[]byte("abc"), []byte("def")}}}
	bodiless := extproctest.Exchange{}
	withTrailers := extproctest.Exchange{Request: extproctest.Message{Body: [][]byte{[]byte("abc")}, Trailers: extproctest.H("x", "y")}}
	unfinished := extproctest.Exchange{Request: extproctest.Message{Body: [][]byte{[]byte("abc")}, End: extproctest.EndNever}}
	timeout := requestHeaders(nil)
	timeout.OverrideMessageTimeout = durationpb.New(time.Second)

	rows := []struct {
		name  string
		cfg   extproctest.Config
		ex    extproctest.Exchange
		does  func(server) error
		rule  extproctest.Rule
		fatal bool
	}{
		{"headers twice, body waiting", buffered(), upload, saying(1, requestHeaders(nil), 1, requestHeaders(nil)), extproctest.RuleWrongKind, true},
		{"headers answer to everything", buffered(), bodiless, saying(1, requestHeaders(nil), 1, requestHeaders(nil)), extproctest.RuleWrongKind, true},
		{"body answer to headers", buffered(), upload, saying(1, requestBody(nil)), extproctest.RuleWrongKind, true},
		{"answer for the other leg", buffered(), upload, saying(1, responseHeaders(nil)), extproctest.RuleWrongKind, true},
		{"two answers to one message", stream(), unfinished, saying(1, requestHeaders(nil), 1, requestBody(nil), requestBody(nil)), extproctest.RuleUnsolicited, true},
		{"answer to a body never sent", stream(), unfinished, saying(1, requestHeaders(nil), 1, requestBody(nil), responseBody(nil)), extproctest.RuleUnsolicited, true},
		{"empty message", buffered(), upload, saying(1, &response{}), extproctest.RuleEmptyMessage, true},
		{"streamed immediate response", duplex(), upload, saying(1, &response{Response: &extprocv3.ProcessingResponse_StreamedImmediateResponse{}}), extproctest.RuleUnsupported, true},
		{"duplex body before headers", duplex(), upload, saying(2, requestBody(chunk([]byte("abc"), false))), extproctest.RuleBodyBeforeHeaders, true},
		{"streamed_response while BUFFERED", buffered(), upload, saying(1, requestHeaders(nil), 1, requestBody(chunk([]byte("abcdef"), true))), extproctest.RuleStreamedOutsideDuplex, true},
		{"streamed_response while STREAMED", stream(), upload, saying(1, requestHeaders(nil), 1, requestBody(chunk([]byte("abc"), false))), extproctest.RuleStreamedOutsideDuplex, true},
		{"body in duplex", duplex(), upload, saying(3, requestHeaders(nil), requestBody(whole([]byte("abcdef")))), extproctest.RuleBodyInDuplex, true},
		{"plain continue in duplex", duplex(), upload, saying(3, requestHeaders(nil), requestBody(nil)), extproctest.RuleBodyInDuplex, true},
		{"end emitted twice", duplex(), upload, saying(3, requestHeaders(nil), requestBody(chunk([]byte("abcdef"), true)), requestBody(chunk(nil, true))), extproctest.RuleAfterBodyEnd, false},
		{"trailers unasked in duplex", duplex(), upload, saying(3, requestHeaders(nil), requestBody(chunk([]byte("abcdef"), false)), requestTrailers()), extproctest.RuleTrailersUnasked, false},
		{"trailers before headers", duplex(), withTrailers, saying(3, requestTrailers()), extproctest.RuleOutOfOrder, true},
		{"disabled immediate response", noImmediate(duplex()), upload, saying(1, immediate(403, "")), extproctest.RuleImmediateDisabled, true},
		{"both value and raw_value", duplex(), upload, saying(3, requestHeaders(setHeader(&corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: "x", Value: "1", RawValue: []byte("1")}}))), extproctest.RuleBadMutation, true},
		{"line break in a header", duplex(), upload, saying(3, requestHeaders(setHeader(rawHeader("x", "a\r\nb: c")))), extproctest.RuleBadMutation, true},
		{"header too large", buffered(), bodiless, saying(1, requestHeaders(many(5, 13_000))), extproctest.RuleBadMutation, true},
		{"wrong length while BUFFERED", buffered(), lengthy("6"), saying(1, requestHeaders(nil), 1, requestBody(whole([]byte("abc")))), extproctest.RuleLength, true},

		{"duplex end before Envoy's", duplex(), unfinished, saying(2, requestHeaders(nil), requestBody(chunk([]byte("abc"), true))), extproctest.RuleEarlyEnd, false},
		{"end on a chunk despite trailers", duplex(), withTrailers, saying(3, requestHeaders(nil), requestBody(chunk([]byte("abc"), true))), extproctest.RuleEndWithTrailers, false},
		{"end never emitted", duplex(), upload, saying(3, requestHeaders(nil), requestBody(chunk([]byte("abcdef"), false))), extproctest.RuleNoEnd, false},
		{"nothing answered", duplex(), upload, saying(3), extproctest.RuleHang, false},
		{"chunk over 64 KiB", duplex(), upload, saying(3, requestHeaders(nil), requestBody(chunk(make([]byte, 64<<10+1), true))), extproctest.RuleChunkTooLarge, false},
		{"value instead of raw_value", duplex(), bodiless, saying(1, requestHeaders(setHeader(&corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: "x", Value: "1"}}))), extproctest.RuleHeaderValue, false},
		{"append_action", duplex(), bodiless, saying(1, requestHeaders(setHeader(&corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: "x", RawValue: []byte("1")}, AppendAction: corev3.HeaderValueOption_ADD_IF_ABSENT,
		}))), extproctest.RuleAppendAction, false},
		{"routing header", duplex(), bodiless, saying(1, requestHeaders(setHeader(rawHeader(":path", "/other")))), extproctest.RuleIgnoredMutation, false},
		{"body mutation in a header answer", duplex(), bodiless, saying(1, requestHeaders(&extprocv3.CommonResponse{BodyMutation: whole([]byte("x"))})), extproctest.RuleIgnoredMutation, false},
		{"immediate without status", duplex(), bodiless, saying(1, immediate(0, "no")), extproctest.RuleImmediateStatus, false},
		{"answer after an immediate", held(duplex()), bodiless, saying(1, immediate(403, "no"), requestHeaders(nil)), extproctest.RuleAfterEnd, false},
		{"answer in observability mode", extproctest.Config{Mode: duplex().Mode, ObservabilityMode: true}, upload, saying(1, requestHeaders(nil)), extproctest.RuleObserved, false},
		{"invalid message", duplex(), bodiless, saying(1, immediate(299, "no")), extproctest.RuleInvalid, false},
		{"timeout override without max", buffered(), bodiless, saying(1, timeout), extproctest.RuleOverrideTimeout, false},
		{"slower than message_timeout", extproctest.Config{}, bodiless, saying(1), extproctest.RuleMessageTimeout, false},
		{"released length differs", allowLength(duplex()), lengthy("6"), saying(2, requestHeaders(nil), requestBody(chunk([]byte("abc"), true))), extproctest.RuleLength, false},
		{"clean close, buffered", buffered(), upload, closing(1), extproctest.RuleCleanClose, false},
		{"clean close, duplex", duplex(), upload, closing(3), extproctest.RuleCleanClose, false},
		{"clean close between the legs", buffered(), bodiless, func(s server) error { return leaveAfter(s, requestHeaders(nil)) }, extproctest.RuleCleanClose, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			do(t, row.cfg, row.does, row.ex, func(t *testing.T, r extproctest.Result) {
				if !r.Broke(row.rule) {
					t.Fatalf("want a breach of %s, got %v; client: %s", row.rule, r.Violations, r.Client)
				}
				if row.fatal && (r.Client.Status != 500 || r.Client.Reset || r.Origin.Complete && len(row.ex.Request.Body) > 0) {
					t.Errorf("client got %s; origin complete %t", r.Client, r.Origin.Complete)
				}
			})
		})
	}
}

func held(cfg extproctest.Config) extproctest.Config {
	cfg.Ending = extproctest.EndHalfClose
	return cfg
}

func allowLength(cfg extproctest.Config) extproctest.Config {
	cfg.AllowContentLength = true
	return cfg
}

func lengthy(n string) extproctest.Exchange {
	return extproctest.Exchange{Request: extproctest.Message{Headers: extproctest.H("content-length", n), Body: [][]byte{[]byte("abcdef")}}}
}

func many(n, size int) *extprocv3.CommonResponse {
	m := &extprocv3.HeaderMutation{}
	for range n {
		m.SetHeaders = append(m.SetHeaders, rawHeader("x-"+string(rune('a'+len(m.SetHeaders))), strings.Repeat("p", size)))
	}
	return &extprocv3.CommonResponse{HeaderMutation: m}
}

// closing ends the RPC with OK after n messages.
func closing(n int) func(server) error {
	return func(s server) error {
		for range n {
			if _, err := s.Recv(); err != nil {
				return err
			}
		}
		return nil
	}
}

func leaveAfter(s server, answers ...*response) error {
	for _, a := range answers {
		if _, err := s.Recv(); err != nil {
			return err
		}
		if err := s.Send(a); err != nil {
			return err
		}
	}
	return nil
}

// What a clean close does to the bytes: they pass where Envoy still has them,
// and are lost, with a hang, where it has not.
func TestCleanCloseIsABypass(t *testing.T) {
	upload := extproctest.Exchange{Request: extproctest.Message{Body: [][]byte{[]byte("malware")}}}
	do(t, extproctest.Buffered(), closing(1), upload, func(t *testing.T, r extproctest.Result) {
		if !r.Bypass || string(r.Origin.Body) != "malware" || r.Bypassed != 7 || r.Client.Status != 200 {
			t.Errorf("bypass %t of %d bytes; client: %s", r.Bypass, r.Bypassed, r.Client)
		}
	})
	do(t, extproctest.Duplex(), closing(2), upload, func(t *testing.T, r extproctest.Result) {
		if !r.Bypass || !r.Hang || !r.Origin.Reached || r.Origin.Size != 0 {
			t.Errorf("bypass %t, hang %t, origin got %d bytes", r.Bypass, r.Hang, r.Origin.Size)
		}
	})
}

func TestMessageTimeout(t *testing.T) {
	late := func(d time.Duration) func(server) error {
		return func(s server) error {
			if _, err := s.Recv(); err != nil {
				return err
			}
			time.Sleep(d)
			_ = s.Send(requestHeaders(nil))
			return rightly(s)
		}
	}
	cfg := extproctest.Config{Mode: extproctest.Adaptive().Mode, MessageTimeout: 200 * time.Millisecond}
	do(t, cfg, late(199*time.Millisecond), extproctest.Exchange{}, func(t *testing.T, r extproctest.Result) {
		r.MustBeLawful(t)
	})
	do(t, cfg, late(201*time.Millisecond), extproctest.Exchange{}, func(t *testing.T, r extproctest.Result) {
		if r.Client.Status != 504 || !r.TimedOut || r.Client.Details != "ext_proc_error_per-message_timeout_exceeded" {
			t.Errorf("client got %s, want 504", r.Client)
		}
	})
	cfg.MaxMessageTimeout = time.Second
	longer := &response{OverrideMessageTimeout: durationpb.New(time.Second)}
	extended := func(s server) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		_ = s.Send(longer)
		time.Sleep(900 * time.Millisecond)
		_ = s.Send(requestHeaders(nil))
		return rightly(s)
	}
	do(t, cfg, extended, extproctest.Exchange{}, func(t *testing.T, r extproctest.Result) { r.MustBeLawful(t) })
	// No timer runs on a duplex leg.
	duplexCfg := extproctest.Duplex()
	duplexCfg.MessageTimeout = 200 * time.Millisecond
	do(t, duplexCfg, late(time.Minute), extproctest.Exchange{}, func(t *testing.T, r extproctest.Result) { r.MustBeLawful(t) })
}

func TestSpuriousMessages(t *testing.T) {
	upload := extproctest.Exchange{Request: extproctest.Message{Body: [][]byte{[]byte("malware")}}}
	old := extproctest.Buffered()
	old.Quirks.SpuriousFailsOpen = true
	do(t, old, saying(1, &response{}), upload, func(t *testing.T, r extproctest.Result) {
		if !r.FailedOpen || string(r.Origin.Body) != "malware" {
			t.Errorf("before 1.35 a spurious message fails open; client got %s", r.Client)
		}
	})
	half := extproctest.Exchange{Origin: extproctest.Reply(extproctest.Message{Body: [][]byte{[]byte("a"), []byte("b")}, End: extproctest.EndNever})}
	do(t, streamed(), saying(1, requestHeaders(nil), 1, responseHeaders(nil), 1, responseBody(nil), &response{}), half, func(t *testing.T, r extproctest.Result) {
		if !r.Client.Reset || r.Client.Complete {
			t.Errorf("client got %s, want a reset once headers have left", r.Client)
		}
	})
}

func TestCompressedAnswersAreCaught(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		compressing := func(s server) error {
			if err := grpc.SetSendCompressor(s.Context(), "gzip"); err != nil {
				return err
			}
			return rightly(s)
		}
		if encoding.GetCompressor("gzip") == nil {
			t.Fatal("gzip is not registered")
		}
		conn := extproctest.Serve(t, processor{process: compressing})
		r := extproctest.New(conn, extproctest.Duplex()).Do(t.Context(), extproctest.Exchange{})
		if !r.Broke(extproctest.RuleCompressed) || r.Client.Status != 500 {
			t.Errorf("client got %s, violations %v", r.Client, r.Violations)
		}
	})
}

func TestHeaderModeSkip(t *testing.T) {
	cfg := withMode(extproctest.Buffered(), func(m *filterv3.ProcessingMode) {
		m.RequestHeaderMode = filterv3.ProcessingMode_SKIP
	})
	upload := extproctest.Exchange{Request: extproctest.Message{Body: [][]byte{[]byte("malware")}}}
	do(t, cfg, rightly, upload, func(t *testing.T, r extproctest.Result) {
		r.MustBeLawful(t)
		if !r.Origin.Reached || !r.Origin.BeforeEnd || r.Origin.Size != 0 || r.Client.Status != 403 {
			t.Errorf("headers leave at once under SKIP: origin %+v, client %s", r.Origin, r.Client)
		}
	})
}
