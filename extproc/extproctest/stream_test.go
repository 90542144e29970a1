package extproctest_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
)

// recorder is a test that may fail without failing the one around it.
type recorder struct {
	testing.TB
	failures []string
	cleanups []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Fatal(a ...any) {
	r.failures = append(r.failures, fmt.Sprint(a...))
	runtime.Goexit()
}

func (r *recorder) Fatalf(f string, a ...any) {
	r.failures = append(r.failures, fmt.Sprintf(f, a...))
	runtime.Goexit()
}

func (r *recorder) Errorf(f string, a ...any) { r.failures = append(r.failures, fmt.Sprintf(f, a...)) }

// failuresOf runs f against a recorder and returns what it failed with.
func failuresOf(t *testing.T, f func(testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	for _, c := range r.cleanups {
		c()
	}
	return strings.Join(r.failures, "\n")
}

func inBubble(t *testing.T, process func(server) error, cfg extproctest.Config, f func(*testing.T, *extproctest.Envoy)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, extproctest.New(extproctest.Serve(t, processor{process: process}), cfg))
	})
}

func TestHandOrderedStream(t *testing.T) {
	inBubble(t, rightly, extproctest.Duplex(), func(t *testing.T, e *extproctest.Envoy) {
		s := e.Open(t.Context(), t)
		s.SendRequestHeaders(extproctest.H(":method", "POST"), false)
		s.SendRequestBody([]byte("abc"), false)
		// The origin answers early: both legs interleave.
		s.SendResponseHeaders(extproctest.H(":status", "200"), false)
		s.ExpectSilence(time.Hour)
		s.SendResponseBody([]byte("xyz"), false)
		s.SendRequestTrailers(extproctest.H("a", "b"))
		s.Expect(extproctest.RequestHeaders)
		body := s.Expect(extproctest.RequestBody).GetRequestBody().GetResponse().GetBodyMutation().GetStreamedResponse()
		if string(body.GetBody()) != "abc" || body.GetEndOfStream() {
			t.Errorf("got %v", body)
		}
		s.Expect(extproctest.RequestTrailers)
		s.SendResponseTrailers(extproctest.H("c", "d"))
		s.Expect(extproctest.ResponseHeaders)
		s.Expect(extproctest.ResponseBody)
		s.Expect(extproctest.ResponseTrailers)
		s.CloseSend()
		if err := s.End(); !errors.Is(err, io.EOF) {
			t.Errorf("the RPC ended with %v", err)
		}
	})
}

func TestStreamExpectationsFail(t *testing.T) {
	headers := func(s *extproctest.Stream) { s.SendRequestHeaders(extproctest.H(":method", "GET"), true) }
	rows := []struct {
		name string
		does func(server) error
		test func(*extproctest.Stream)
		want string
	}{
		{"another kind", rightly, func(s *extproctest.Stream) { headers(s); s.Expect(extproctest.Immediate) }, "want immediate, got request-headers"},
		{"no answer", saying(1), func(s *extproctest.Stream) { headers(s); s.Expect(extproctest.RequestHeaders) }, "no answer within 10s"},
		{"no silence", rightly, func(s *extproctest.Stream) { headers(s); s.ExpectSilence(time.Second) }, "want silence, got request-headers"},
		{"a clean close", closing(1), func(s *extproctest.Stream) { headers(s); s.ExpectSilence(time.Second) }, "want silence, but the RPC ended: EOF"},
		{"violation at the end", saying(1, requestHeaders(nil), requestTrailers()), func(s *extproctest.Stream) {
			headers(s)
			s.Expect(extproctest.RequestHeaders)
			s.ExpectSilence(time.Second)
		}, "protocol violation: trailers-unasked"},
		{"clean close at the end", closing(1), func(s *extproctest.Stream) { headers(s); _ = s.End() }, "protocol violation: clean-close"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, row.does, extproctest.Duplex(), func(t *testing.T, e *extproctest.Envoy) {
				got := failuresOf(t, func(tb testing.TB) { row.test(e.Open(t.Context(), tb)) })
				if !strings.Contains(got, row.want) {
					t.Errorf("failed with %q, want %q", got, row.want)
				}
			})
		})
	}
}

// An answer is judged by what had been sent when it came, not later.
func TestAnswersAreJudgedWhenTheyCome(t *testing.T) {
	inBubble(t, saying(1, requestHeaders(nil), requestBody(nil)), extproctest.Buffered(), func(t *testing.T, e *extproctest.Envoy) {
		s := e.Open(t.Context(), t)
		s.SendRequestHeaders(extproctest.H(":method", "POST"), false)
		synctest.Wait()
		s.SendRequestBody([]byte("abc"), true)
		if vs := s.TakeViolations(); len(vs) != 1 || vs[0].Rule != extproctest.RuleUnsolicited {
			t.Errorf("got %v", vs)
		}
	})
}

func TestFirstMessageCarriesTheConfiguration(t *testing.T) {
	cfg := extproctest.Duplex()
	cfg.RequestAttributes, _ = structpb.NewStruct(map[string]any{"source.address": "10.0.0.1"})
	var got []*request
	keeps := func(s server) error {
		for {
			m, err := s.Recv()
			if err != nil {
				return nil //nolint:nilerr // Envoy left
			}
			got = append(got, m)
		}
	}
	inBubble(t, keeps, cfg, func(t *testing.T, e *extproctest.Envoy) {
		s := e.Open(t.Context(), t)
		s.SendRequestHeaders(extproctest.H(":method", "POST", "X-Upper", "v"), false)
		s.SendRequestBody(nil, false)
		s.ExpectSilence(time.Second)
		s.Cancel()
		synctest.Wait()
		h := got[0].GetRequestHeaders().GetHeaders().GetHeaders()
		if got[0].GetProtocolConfig().GetRequestBodyMode() != cfg.Mode.RequestBodyMode || got[1].GetProtocolConfig() != nil {
			t.Error("protocol_config belongs in the first message only")
		}
		if got[0].GetAttributes()["envoy.filters.http.ext_proc"] == nil || got[1].GetAttributes() != nil {
			t.Error("attributes belong in the leg's first message only")
		}
		if h[1].GetKey() != "x-upper" || h[1].GetValue() != "" || string(h[1].GetRawValue()) != "v" { //nolint:staticcheck // the deprecated field must be empty
			t.Errorf("header sent as %v", h[1])
		}
	})
}

func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no conversation files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				extproctest.RunConversation(t, extproctest.Serve(t, processor{process: rightly}), file)
			})
		})
	}
}

// Every row is a conversation that must fail, at its last line.
func TestConversationsFailAtFileAndLine(t *testing.T) {
	const start = "Promise.\n\n-- conversation --\n> request-headers POST /\n> request-body \"abc\" end\n"
	rows := []struct{ name, lines, want string }{
		{"another kind", "< immediate 403\n", "c:6: want immediate, got request-headers"},
		{"missing header", "< request-headers x-verdict=dirty\n", `c:6: want header x-verdict set to "dirty"`},
		{"not removed", "< request-headers !x-secret\n", "c:6: header x-secret is not removed"},
		{"no override", "< request-headers override=NONE/NONE\n", "c:6: want mode override NONE/NONE, got none"},
		{"other body", "< request-headers\n< request-body \"abd\" end\n", "c:7: the body differs from offset 2 on"},
		{"ends too soon", "< request-headers\n< request-body \"abc\"\n", "c:7: the body ended too soon"},
		{"not silent", "< silence\n", "c:6: want silence, got request-headers"},
		{"no answer", "< request-headers\n< request-body \"abc\" end\n< request-trailers\n", "c:8: want request-trailers, but silence"},
		{"no metadata", "< request-headers\n< metadata gate outcome=CLEAN\n", `c:7: want metadata gate:outcome to be "CLEAN"`},
		{"another end", "> close\n< end UNAVAILABLE\n", "c:7: want the RPC to end with UNAVAILABLE, got OK"},
		{"unknown word", "> request-music\n", `c:6: Envoy cannot say "request-music"`},
		{"unknown content", "> response-body virus\n", `c:6: content "virus" is none of`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := extproctest.Serve(t, processor{process: rightly})
				c, err := extproctest.ParseConversation("c", []byte(start+row.lines))
				if err != nil {
					t.Fatal(err)
				}
				got := failuresOf(t, func(tb testing.TB) { c.Run(tb, conn) })
				if !strings.HasPrefix(got, row.want) || !strings.Contains(got, "the promise: Promise.") {
					t.Errorf("failed with %q, want %q", got, row.want)
				}
			})
		})
	}
}

func TestConversationCatchesViolations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := extproctest.Serve(t, processor{process: saying(2, requestHeaders(nil), requestBody(whole([]byte("abc"))))})
		c, err := extproctest.ParseConversation("c", []byte("P.\n-- conversation --\n> request-headers POST /\n> request-body \"abc\" end\n< request-headers\n< request-body \"abc\"\n"))
		if err != nil {
			t.Fatal(err)
		}
		got := failuresOf(t, func(tb testing.TB) { c.Run(tb, conn) })
		if !strings.Contains(got, "protocol violation: body-in-duplex") {
			t.Errorf("failed with %q", got)
		}
	})
}

func TestParseErrorsNameFileAndLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "c:1: the first line must state the promise",
		"P.\n":                                  "c: no conversation section",
		"P.\n-- config --\nprofile: fast\n":     `c:3: "fast" is none of the profiles`,
		"P.\n-- config --\n\ncolour: red\n":     `c:4: unknown setting "colour"`,
		"P.\n-- config --\nprofile\n":           "c:3: a setting is written",
		"P.\n-- conversation --\nhello there\n": "c:3: a statement begins with",
		"P.\n-- config --\nrequest-body-mode: ALL\n": `c:3: "ALL" is no body mode`,
	} {
		if _, err := extproctest.ParseConversation("c", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestContent(t *testing.T) {
	for word, want := range map[string]string{
		`"a b"`: "a b", `"a"+zeros:2+"+"`: "a\x00\x00+", `"\""`: `"`, "$eicar": string(extproctest.EICAR()),
	} {
		if got, err := extproctest.Content(word); err != nil || string(got) != want {
			t.Errorf("%s is %q (%v), want %q", word, got, err, want)
		}
	}
	if n := len(extproctest.EICAR()); n != 68 {
		t.Errorf("EICAR has %d bytes, want 68", n)
	}
	for _, word := range []string{"random:5", "zeros:x", "zeros:-1", `"open`} {
		if _, err := extproctest.Content(word); err == nil {
			t.Errorf("%s is accepted", word)
		}
	}
}

func TestMustBeLawfulFails(t *testing.T) {
	inBubble(t, saying(1, &response{}), extproctest.Duplex(), func(t *testing.T, e *extproctest.Envoy) {
		r := e.Do(t.Context(), extproctest.Exchange{})
		got := failuresOf(t, r.MustBeLawful)
		if !strings.Contains(got, "protocol violation: empty-message") || !strings.Contains(got, "> request-headers") {
			t.Errorf("failed with %q", got)
		}
	})
}

// Answers that a whole exchange cannot provoke, because Envoy asks one thing
// at a time there.
func TestOutOfOrderByHand(t *testing.T) {
	rows := []struct {
		name string
		says *response
		want extproctest.Rule
	}{
		{"body before headers", requestBody(nil), extproctest.RuleOutOfOrder},
		{"trailers before headers", requestTrailers(), extproctest.RuleOutOfOrder},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, saying(3, row.says), streamed(), func(t *testing.T, e *extproctest.Envoy) {
				s := e.Open(t.Context(), t)
				s.SendRequestHeaders(extproctest.H(":method", "POST"), false)
				s.SendRequestBody([]byte("abc"), false)
				s.SendRequestTrailers(extproctest.H("a", "b"))
				_, _ = s.Next()
				if vs := s.TakeViolations(); len(vs) != 1 || vs[0].Rule != row.want || !vs[0].Fatal {
					t.Errorf("got %v, want %s", vs, row.want)
				}
			})
		})
	}
}

func TestUnsentShowsBackPressure(t *testing.T) {
	wake := make(chan struct{})
	sleeper := func(s server) error {
		<-wake
		return saying()(s)
	}
	conn := extproctest.Serve(t, processor{process: sleeper})
	t.Cleanup(func() { close(wake) })
	s := extproctest.New(conn, extproctest.Duplex()).Open(t.Context(), t)
	s.SendRequestHeaders(extproctest.H(":method", "POST"), false)
	for range 64 {
		s.SendRequestBody(make([]byte, 64<<10), false)
	}
	s.ExpectSilence(50 * time.Millisecond)
	if n := s.Unsent(); n < 2<<20 {
		t.Errorf("%d bytes wait although the processor reads nothing of 4 MiB", n)
	}
}

func TestConversationBodyAnswers(t *testing.T) {
	clearBody := &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_ClearBody{ClearBody: true}}
	rows := []struct {
		mutation *extprocv3.BodyMutation
		line     string
		want     string // "" passes
	}{
		{nil, "< request-body", ""},
		{clearBody, "< request-body clear", ""},
		{whole([]byte("new")), `< request-body "new"`, ""},
		{whole([]byte("new")), "< request-body", "want the body unchanged"},
		{whole([]byte("new")), "< request-body clear", "want body clear"},
		{nil, "< request-body clear", "want body clear"},
		{nil, `< request-body "new"`, `want body "new"`},
		{whole([]byte("new")), `< request-body "old"`, "the body differs from offset 0"},
	}
	for _, row := range rows {
		t.Run(row.line+" "+row.want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := extproctest.Serve(t, processor{process: saying(1, requestHeaders(nil), 1, requestBody(row.mutation))})
				text := "P.\n-- config --\nprofile: buffered\n-- conversation --\n> request-headers POST /\n< request-headers override=none\n> request-body \"abc\" end\n"
				c, err := extproctest.ParseConversation("c", []byte(text+row.line+"\n"))
				if err != nil {
					t.Fatal(err)
				}
				got := failuresOf(t, func(tb testing.TB) { c.Run(tb, conn) })
				if row.want == "" && got != "" || !strings.Contains(got, row.want) {
					t.Errorf("failed with %q, want %q", got, row.want)
				}
			})
		})
	}
}

func TestConversationImmediateChecks(t *testing.T) {
	const text = "P.\n-- conversation --\n> request-headers GET / end\n< immediate "
	blocked := immediate(403, "malware found")
	blocked.GetImmediateResponse().Headers = setHeader(rawHeader("retry-after", "5")).GetHeaderMutation()
	for line, want := range map[string]string{
		`403 contains "found" details "by test" retry-after=5`: "",
		"503":                 "want immediate 503, got 403",
		`403 contains "lost"`: `want immediate contains "lost"`,
		`403 details "lost"`:  `want immediate details "lost"`,
		"403 retry-after=6":   "want header retry-after=6",
		"403 contains":        "contains needs a text",
	} {
		t.Run(line, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := extproctest.Serve(t, processor{process: saying(1, blocked)})
				c, err := extproctest.ParseConversation("c", []byte(text+line+"\n"))
				if err != nil {
					t.Fatal(err)
				}
				got := failuresOf(t, func(tb testing.TB) { c.Run(tb, conn) })
				if want == "" && got != "" || !strings.Contains(got, want) {
					t.Errorf("failed with %q, want %q", got, want)
				}
			})
		})
	}
}
