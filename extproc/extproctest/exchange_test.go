package extproctest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
)

// do runs one exchange with a processor in a bubble.
func do(t *testing.T, cfg extproctest.Config, process func(server) error, ex extproctest.Exchange, check func(*testing.T, extproctest.Result)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		conn := extproctest.Serve(t, processor{process: process}, grpc.MaxRecvMsgSize(64<<20))
		res := extproctest.New(conn, cfg).Do(t.Context(), ex)
		check(t, res)
		if t.Failed() {
			t.Logf("client: %s\n%s", res.Client, res.History())
		}
	})
}

// The same bodies must come through unchanged in every mode with every cut and
// every way to end.
func TestCleanBodiesPassUnchanged(t *testing.T) {
	modes := map[string]extproctest.Config{
		"duplex": extproctest.Duplex(), "buffered": extproctest.Buffered(), "none": extproctest.Adaptive(),
		"buffered with trailers": trailers(extproctest.Buffered()),
		"streamed":               streamed(),
		"observability":          {Mode: extproctest.Duplex().Mode, ObservabilityMode: true},
	}
	up, down := extproctest.Random(200_000, 1), extproctest.Random(300_000, 2)
	for name, cfg := range modes {
		for _, end := range []extproctest.End{extproctest.EndAuto, extproctest.EndEmptyChunk} {
			for _, withTrailers := range []bool{false, true} {
				t.Run(name+" "+strconv.Itoa(int(end))+strconv.FormatBool(withTrailers), func(t *testing.T) {
					q := extproctest.Message{Body: extproctest.Cut(up, 16<<10), End: end}
					p := extproctest.Message{Body: extproctest.Cut(down, 10_000), End: end}
					if withTrailers {
						q.Trailers, p.Trailers = extproctest.H("x-sum", "1"), extproctest.H("x-sum", "2")
					}
					do(t, cfg, rightly, extproctest.Exchange{Request: q, Origin: extproctest.Reply(p)}, func(t *testing.T, r extproctest.Result) {
						r.MustBeLawful(t)
						same(t, "origin", r.Origin, up, q.Trailers)
						same(t, "client", r.Client.Delivery, down, p.Trailers)
						if r.Client.Status != 200 || r.Client.Local || r.Client.Reset {
							t.Errorf("client got %s", r.Client)
						}
					})
				})
			}
		}
	}
}

func trailers(c extproctest.Config) extproctest.Config {
	c.Mode.RequestTrailerMode, c.Mode.ResponseTrailerMode = filterv3.ProcessingMode_SEND, filterv3.ProcessingMode_SEND
	return c
}

func streamed() extproctest.Config {
	c := trailers(extproctest.Buffered())
	c.Mode.RequestBodyMode, c.Mode.ResponseBodyMode = filterv3.ProcessingMode_STREAMED, filterv3.ProcessingMode_STREAMED
	return c
}

func same(t *testing.T, who string, d extproctest.Delivery, body []byte, trailers extproctest.Headers) {
	t.Helper()
	if !bytes.Equal(d.Body, body) || d.Size != int64(len(body)) || d.SHA256 != sha256.Sum256(body) {
		t.Errorf("%s got %d bytes, want %d", who, d.Size, len(body))
	}
	if !d.Complete {
		t.Errorf("%s did not get the end", who)
	}
	if diff := cmp.Diff(trailers, d.Trailers); diff != "" {
		t.Errorf("%s got other trailers (-want +got):\n%s", who, diff)
	}
}

func TestBodilessExchange(t *testing.T) {
	for name, cfg := range map[string]extproctest.Config{"duplex": extproctest.Duplex(), "buffered": extproctest.Buffered(), "none": extproctest.Adaptive()} {
		t.Run(name, func(t *testing.T) {
			do(t, cfg, rightly, extproctest.Exchange{}, func(t *testing.T, r extproctest.Result) {
				r.MustBeLawful(t)
				if got := r.Origin.Headers.Get("x-verdict"); got != "clean" {
					t.Errorf("the origin got x-verdict %q, want clean", got)
				}
				if got := r.Origin.Headers.Get(":method"); got != "GET" || r.Client.Status != 200 {
					t.Errorf("method %s, status %d", got, r.Client.Status)
				}
			})
		})
	}
}

func TestInfectedUploadReachesNobody(t *testing.T) {
	for name, cfg := range map[string]extproctest.Config{"duplex": extproctest.Duplex(), "buffered": extproctest.Buffered()} {
		t.Run(name, func(t *testing.T) {
			body := append(extproctest.Random(150_000, 3), "malware"...)
			ex := extproctest.Exchange{Request: extproctest.Message{Body: extproctest.Cut(body, 16<<10)}}
			do(t, cfg, rightly, ex, func(t *testing.T, r extproctest.Result) {
				r.MustBeLawful(t)
				if r.Origin.Reached {
					t.Error("something reached the origin")
				}
				if r.Client.Status != 403 || string(r.Client.Body) != "malware found" || r.Client.Details != "blocked_by_test" || r.Client.Reset {
					t.Errorf("client got %s %q", r.Client, r.Client.Body)
				}
			})
		})
	}
}

func TestInfectedDownloadIsACleanBlock(t *testing.T) {
	ex := extproctest.Exchange{Origin: extproctest.Reply(extproctest.Message{Body: [][]byte{[]byte("some "), []byte("malware")}})}
	do(t, extproctest.Duplex(), rightly, ex, func(t *testing.T, r extproctest.Result) {
		r.MustBeLawful(t)
		if r.Client.Status != 403 || r.Client.Reset || r.Client.BeforeEnd {
			t.Errorf("client got %s", r.Client)
		}
	})
}

// Once response headers have left, a block can only cut the connection.
func TestLateBlockIsAReset(t *testing.T) {
	ex := extproctest.Exchange{Origin: extproctest.Reply(extproctest.Message{Body: [][]byte{[]byte("some "), []byte("malware")}})}
	do(t, streamed(), rightly, ex, func(t *testing.T, r extproctest.Result) {
		if !r.Client.Reset || r.Client.Status != 200 || r.Client.Complete {
			t.Errorf("client got %s, want a reset after 200", r.Client)
		}
	})
}

func TestImmediateForGRPCAndHEAD(t *testing.T) {
	block := func(s server) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		_ = s.Send(immediate(403, "no"))
		_, _ = s.Recv()
		return nil
	}
	grpcRequest := extproctest.Message{Headers: extproctest.H("content-type", "application/grpc")}
	do(t, extproctest.Duplex(), block, extproctest.Exchange{Request: grpcRequest}, func(t *testing.T, r extproctest.Result) {
		if h := r.Client.Headers; r.Client.Status != 200 || h.Get("grpc-status") != "7" || h.Get("grpc-message") != "no" || r.Client.Size != 0 {
			t.Errorf("client got %s %v", r.Client, h)
		}
	})
	head := extproctest.Message{Headers: extproctest.H(":method", "HEAD")}
	do(t, extproctest.Duplex(), block, extproctest.Exchange{Request: head}, func(t *testing.T, r extproctest.Result) {
		if r.Client.Status != 403 || r.Client.Size != 0 {
			t.Errorf("client got %s with %d bytes", r.Client, r.Client.Size)
		}
	})
}

func TestContentLength(t *testing.T) {
	ex := extproctest.Exchange{Request: extproctest.Message{Headers: extproctest.H("content-length", "4"), Body: [][]byte{[]byte("abcd")}}}
	kept := extproctest.Duplex()
	kept.AllowContentLength = true
	for name, c := range map[string]struct {
		cfg  extproctest.Config
		want string
	}{"duplex strips": {extproctest.Duplex(), ""}, "duplex keeps": {kept, "4"}, "buffered keeps": {extproctest.Buffered(), "4"}} {
		t.Run(name, func(t *testing.T) {
			do(t, c.cfg, rightly, ex, func(t *testing.T, r extproctest.Result) {
				r.MustBeLawful(t)
				if got := r.Origin.Headers.Get("content-length"); got != c.want {
					t.Errorf("content-length %q left, want %q", got, c.want)
				}
			})
		})
	}
}

func TestBufferLimit(t *testing.T) {
	cfg := extproctest.Buffered()
	cfg.BufferLimit = 1000
	big := extproctest.Message{Body: extproctest.Cut(make([]byte, 2000), 300)}
	do(t, cfg, rightly, extproctest.Exchange{Request: big}, func(t *testing.T, r extproctest.Result) {
		if r.Client.Status != 413 || r.Origin.Reached {
			t.Errorf("client got %s, want 413", r.Client)
		}
	})
	do(t, cfg, rightly, extproctest.Exchange{Origin: extproctest.Reply(big)}, func(t *testing.T, r extproctest.Result) {
		if r.Client.Status != 500 || r.Client.Details != "response_payload_too_large" {
			t.Errorf("client got %s, want 500", r.Client)
		}
	})
}

// overriding answers the request headers with the given body modes.
func overriding(m *filterv3.ProcessingMode) func(server) error {
	return func(s server) error {
		g := &gate{s: s}
		if _, err := s.Recv(); err != nil {
			return err
		}
		answer := requestHeaders(nil)
		answer.ModeOverride = m
		if err := s.Send(answer); err != nil {
			return err
		}
		g.modes = [2]filterv3.ProcessingMode_BodySendMode{m.RequestBodyMode, m.ResponseBodyMode}
		g.afterHeaders = [2]bool{true, false}
		return g.run()
	}
}

func TestModeOverride(t *testing.T) {
	both := func(body filterv3.ProcessingMode_BodySendMode) *filterv3.ProcessingMode {
		return &filterv3.ProcessingMode{
			RequestBodyMode: body, ResponseBodyMode: body,
			RequestTrailerMode: filterv3.ProcessingMode_SEND, ResponseTrailerMode: filterv3.ProcessingMode_SEND,
		}
	}
	body := extproctest.Random(100_000, 4)
	ex := extproctest.Exchange{
		Request: extproctest.Message{Body: extproctest.Cut(body, 9000), Trailers: extproctest.H("x", "y")},
		Origin:  extproctest.Reply(extproctest.Message{Body: extproctest.Cut(body, 7000)}),
	}
	for _, m := range []filterv3.ProcessingMode_BodySendMode{
		filterv3.ProcessingMode_NONE, filterv3.ProcessingMode_BUFFERED,
		filterv3.ProcessingMode_STREAMED, filterv3.ProcessingMode_FULL_DUPLEX_STREAMED,
	} {
		t.Run(m.String(), func(t *testing.T) {
			do(t, extproctest.Adaptive(), overriding(both(m)), ex, func(t *testing.T, r extproctest.Result) {
				r.MustBeLawful(t)
				same(t, "origin", r.Origin, body, ex.Request.Trailers)
				same(t, "client", r.Client.Delivery, body, nil)
				if r.Overrides != 1 {
					t.Errorf("%d overrides honoured, want 1", r.Overrides)
				}
			})
		})
	}
	t.Run("NONE to BUFFERED above the limit hangs", func(t *testing.T) {
		cfg := extproctest.Adaptive()
		cfg.BufferLimit = 10_000
		do(t, cfg, overriding(both(filterv3.ProcessingMode_BUFFERED)), ex, func(t *testing.T, r extproctest.Result) {
			if !r.Hang || r.Origin.Reached {
				t.Errorf("want a hang, client got %s", r.Client)
			}
		})
	})
	t.Run("chosen in the response-header answer the headers have left", func(t *testing.T) {
		late := responseHeaders(nil)
		late.ModeOverride = both(filterv3.ProcessingMode_FULL_DUPLEX_STREAMED)
		does := saying(1, requestHeaders(nil), 1, late, 1, immediate(403, "no"))
		download := extproctest.Exchange{Origin: ex.Origin}
		do(t, extproctest.Adaptive(), does, download, func(t *testing.T, r extproctest.Result) {
			r.MustBeLawful(t)
			if !r.Client.Reset || r.Client.Status != 200 || r.Client.Size != 0 {
				t.Errorf("client got %s, want a reset after 200", r.Client)
			}
		})
	})
	t.Run("ignored when not listed, and in a duplex base", func(t *testing.T) {
		listed := extproctest.Adaptive()
		listed.AllowedOverrides = []*filterv3.ProcessingMode{both(filterv3.ProcessingMode_BUFFERED)}
		for _, cfg := range []extproctest.Config{listed, {Mode: extproctest.Duplex().Mode, AllowModeOverride: true}} {
			do(t, cfg, overriding(both(filterv3.ProcessingMode_STREAMED)), extproctest.Exchange{}, func(t *testing.T, r extproctest.Result) {
				if r.OverridesIgnored != 1 || r.Overrides != 0 {
					t.Errorf("%d ignored, %d honoured", r.OverridesIgnored, r.Overrides)
				}
			})
		}
	})
}

func TestEarlyResponseEndsTheExchange(t *testing.T) {
	ex := extproctest.Exchange{
		Request: extproctest.Message{Body: extproctest.Cut(make([]byte, 5000), 1000), Every: time.Second},
		Origin:  extproctest.Reply(extproctest.Message{Headers: extproctest.H(":status", "429"), Body: [][]byte{[]byte("slow down")}}),
		Early:   true, EarlyAfter: 2000,
	}
	do(t, streamed(), rightly, ex, func(t *testing.T, r extproctest.Result) {
		r.MustBeLawful(t)
		if r.Client.Status != 429 || r.Origin.Complete || r.Origin.Size >= 5000 || !r.Origin.BeforeEnd {
			t.Errorf("client got %s, the origin %d bytes", r.Client, r.Origin.Size)
		}
	})
}

// Envoy's own error passes the response leg while the request is still held.
func TestLocalReplyWhileHolding(t *testing.T) {
	ex := extproctest.Exchange{
		Request:    extproctest.Message{Body: extproctest.Cut(make([]byte, 5000), 1000), End: extproctest.EndNever},
		LocalReply: &extproctest.LocalReply{Status: 408, AfterChunks: 3},
	}
	do(t, extproctest.Duplex(), rightly, ex, func(t *testing.T, r extproctest.Result) {
		r.MustBeLawful(t)
		if r.Client.Status != 408 || !r.Client.Local || r.Origin.Reached {
			t.Errorf("client got %s", r.Client)
		}
	})
}

func TestDepartures(t *testing.T) {
	gone := extproctest.Exchange{Request: extproctest.Message{Body: [][]byte{[]byte("half")}, End: extproctest.EndAbort}}
	do(t, extproctest.Duplex(), rightly, gone, func(t *testing.T, r extproctest.Result) {
		r.MustBeLawful(t)
		if !r.Client.Gone || r.Origin.Reached {
			t.Errorf("client got %s", r.Client)
		}
	})
	cut := extproctest.Exchange{Origin: extproctest.Reply(extproctest.Message{Body: [][]byte{[]byte("half")}, End: extproctest.EndAbort})}
	do(t, extproctest.Duplex(), rightly, cut, func(t *testing.T, r extproctest.Result) {
		r.MustBeLawful(t)
		if !r.Client.Reset || r.Client.Reached {
			t.Errorf("client got %s", r.Client)
		}
	})
	stuck := extproctest.Exchange{Request: extproctest.Message{Body: [][]byte{[]byte("half")}, End: extproctest.EndNever}}
	do(t, extproctest.Duplex(), rightly, stuck, func(t *testing.T, r extproctest.Result) {
		if !r.Hang || r.Client.Status != 408 || r.Origin.Reached {
			t.Errorf("client got %s, hang %t", r.Client, r.Hang)
		}
	})
}

func TestFailureModes(t *testing.T) {
	fails := func(s server) error {
		_, _ = s.Recv()
		return status.Error(codes.Unavailable, "going away")
	}
	body := extproctest.Message{Body: [][]byte{[]byte("abc")}}
	open, openDuplex := extproctest.Buffered(), extproctest.Duplex()
	open.FailureModeAllow, openDuplex.FailureModeAllow = true, true
	closed := extproctest.Buffered()
	closed.StatusOnError = 503
	do(t, closed, fails, extproctest.Exchange{Request: body}, func(t *testing.T, r extproctest.Result) {
		if r.Client.Status != 503 || r.Client.Details != "ext_proc_error_gRPC_error_14{going_away}" || r.Origin.Reached || r.FailedOpen {
			t.Errorf("client got %s", r.Client)
		}
	})
	do(t, open, fails, extproctest.Exchange{Request: body}, func(t *testing.T, r extproctest.Result) {
		if r.Client.Status != 200 || string(r.Origin.Body) != "abc" || !r.FailedOpen {
			t.Errorf("client got %s", r.Client)
		}
	})
	do(t, openDuplex, func(s server) error {
		_, _ = s.Recv()
		_, _ = s.Recv()
		return status.Error(codes.Unavailable, "going away")
	}, extproctest.Exchange{Request: body}, func(t *testing.T, r extproctest.Result) {
		if r.Client.Status != 500 || r.Origin.Reached {
			t.Errorf("client got %s: a duplex body cannot fail open once sent", r.Client)
		}
	})
}

func TestMetadataNamespaces(t *testing.T) {
	cfg := extproctest.Duplex()
	cfg.ReceivingNamespaces = []string{"gate"}
	says := func(s server) error {
		_, _ = s.Recv()
		m := immediate(403, "")
		m.DynamicMetadata, _ = structpb.NewStruct(map[string]any{"gate": map[string]any{"outcome": "INFECTED"}, "other": map[string]any{}, "flat": "x"})
		_ = s.Send(m)
		_, _ = s.Recv()
		return nil
	}
	do(t, cfg, says, extproctest.Exchange{}, func(t *testing.T, r extproctest.Result) {
		if got := r.Metadata["gate"].GetFields()["outcome"].GetStringValue(); got != "INFECTED" || len(r.MetadataDropped) != 2 {
			t.Errorf("outcome %q, dropped %v", got, r.MetadataDropped)
		}
	})
}

// A processor that does not read holds the client back: Envoy stops reading.
func TestBackPressure(t *testing.T) {
	cfg := extproctest.Duplex()
	cfg.Window = 64 << 10
	slow := func(s server) error {
		time.Sleep(time.Minute)
		return rightly(s)
	}
	body := extproctest.Random(4<<20, 5)
	do(t, cfg, slow, extproctest.Exchange{Request: extproctest.Message{Body: extproctest.Cut(body, 16<<10)}}, func(t *testing.T, r extproctest.Result) {
		r.MustBeLawful(t)
		same(t, "origin", r.Origin, body, nil)
		told := 0
		for _, e := range r.Events {
			if e.Name == "> request-body" && e.At < time.Minute {
				told += e.Bytes
			}
		}
		if told > 1<<20 {
			t.Errorf("Envoy read %d bytes while the processor read none", told)
		}
	})
}

func TestGracefulEndSeesTheStatus(t *testing.T) {
	cfg := extproctest.Duplex()
	cfg.Ending = extproctest.EndHalfClose
	do(t, cfg, rightly, extproctest.Exchange{}, func(t *testing.T, r extproctest.Result) {
		r.MustBeLawful(t)
		if r.Stream == nil || status.Code(r.Stream) != codes.Unknown { // io.EOF has no status
			t.Errorf("the RPC ended with %v, want io.EOF", r.Stream)
		}
	})
}

func TestQuirks(t *testing.T) {
	duplicate, empty, old := extproctest.Duplex(), streamed(), extproctest.Buffered()
	duplicate.Quirks.DuplicateEnd, empty.Quirks.EmptyChunks, old.Quirks.NoProtocolConfig = true, true, true
	body := extproctest.Random(50_000, 6)
	ex := extproctest.Exchange{
		Request: extproctest.Message{Body: extproctest.Cut(body, 9000)},
		Origin:  extproctest.Reply(extproctest.Message{Body: extproctest.Cut(body, 7000)}),
	}
	for name, cfg := range map[string]extproctest.Config{"duplicate end": duplicate, "empty chunks": empty, "no protocol_config": old} {
		t.Run(name, func(t *testing.T) {
			do(t, cfg, rightly, ex, func(t *testing.T, r extproctest.Result) {
				r.MustBeLawful(t)
				same(t, "origin", r.Origin, body, nil)
				same(t, "client", r.Client.Delivery, body, nil)
			})
		})
	}
}

func TestLoad(t *testing.T) {
	conn := extproctest.Serve(t, processor{process: rightly})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	body := extproctest.Cut(extproctest.Random(10<<10, 7), 16<<10)
	res := extproctest.Load(ctx, conn, extproctest.LoadConfig{
		Config: extproctest.Duplex(), Exchange: extproctest.Exchange{Request: extproctest.Message{Body: body}},
		Concurrency: 16, Count: 500,
	})
	if res.Done != 500 || res.Failed != 0 || res.PerSecond <= 0 || res.P50 <= 0 || res.P99 < res.P50 {
		t.Errorf("%+v", res)
	}
	t.Logf("%.0f exchanges/s, p50 %s, p99 %s", res.PerSecond, res.P50, res.P99)
	blocked := extproctest.Load(ctx, conn, extproctest.LoadConfig{
		Config: extproctest.Duplex(), Exchange: extproctest.Exchange{Request: extproctest.Message{Body: [][]byte{[]byte("malware")}}},
		Count: 10,
	})
	if blocked.Failed != 10 || blocked.FirstFailure == "" {
		t.Errorf("a block counts as a failure unless wanted: %+v", blocked)
	}
}

func TestContinueAndReplace(t *testing.T) {
	replaced := func(s server) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		_ = s.Send(requestHeaders(&extprocv3.CommonResponse{Status: extprocv3.CommonResponse_CONTINUE_AND_REPLACE, BodyMutation: whole([]byte("new"))}))
		return rightly(s)
	}
	upload := extproctest.Exchange{Request: extproctest.Message{Headers: extproctest.H("content-length", "6"), Body: [][]byte{[]byte("abc"), []byte("def")}}}
	do(t, extproctest.Buffered(), replaced, upload, func(t *testing.T, r extproctest.Result) {
		r.MustBeLawful(t)
		if string(r.Origin.Body) != "new" || r.Origin.Headers.Has("content-length") || r.Client.Status != 200 {
			t.Errorf("origin got %q %v; client %s", r.Origin.Body, r.Origin.Headers, r.Client)
		}
	})
}

// The tail of a BUFFERED_PARTIAL body flows unscanned; that is why it must be
// refused.
func TestBufferedPartialPassesTheTail(t *testing.T) {
	cfg := extproctest.Buffered()
	cfg.BufferLimit = 1000
	cfg.Mode.RequestBodyMode = filterv3.ProcessingMode_BUFFERED_PARTIAL
	body := append(make([]byte, 1500), "malware"...)
	do(t, cfg, rightly, extproctest.Exchange{Request: extproctest.Message{Body: extproctest.Cut(body, 100)}}, func(t *testing.T, r extproctest.Result) {
		r.MustBeLawful(t)
		if !bytes.Equal(r.Origin.Body, body) || !r.Origin.BeforeEnd {
			t.Errorf("origin got %d bytes", r.Origin.Size)
		}
	})
}

// Without trailer mode SEND a duplex leg with trailers has no end.
func TestDuplexWithoutTrailerModeHangs(t *testing.T) {
	cfg := extproctest.Duplex()
	cfg.Mode.RequestTrailerMode = filterv3.ProcessingMode_SKIP
	upload := extproctest.Exchange{Request: extproctest.Message{Body: [][]byte{[]byte("abc")}, Trailers: extproctest.H("x", "y")}}
	do(t, cfg, rightly, upload, func(t *testing.T, r extproctest.Result) {
		if !r.Hang || r.Origin.Reached || r.Client.Status != 504 {
			t.Errorf("client got %s, hang %t", r.Client, r.Hang)
		}
	})
}

// Outside a bubble the test's own deadline ends a hang.
func TestDeadlineCountsAsHang(t *testing.T) {
	conn := extproctest.Serve(t, processor{process: func(s server) error {
		if _, ok := s.Context().Deadline(); ok {
			return status.Error(codes.Internal, "Envoy's side stream has no deadline")
		}
		return saying(1)(s)
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := extproctest.New(conn, extproctest.Duplex()).Do(ctx, extproctest.Exchange{})
	if !r.Hang || !r.Broke(extproctest.RuleHang) || r.Client.Complete {
		t.Errorf("client got %s, hang %t", r.Client, r.Hang)
	}
}

// A processor that cannot be reached fails closed, or open where allowed.
func TestUnreachableProcessor(t *testing.T) {
	for _, open := range []bool{false, true} {
		conn := extproctest.Serve(t, processor{process: rightly})
		_ = conn.Close()
		cfg := extproctest.Duplex()
		cfg.FailureModeAllow = open
		r := extproctest.New(conn, cfg).Do(t.Context(), extproctest.Exchange{Request: extproctest.Message{Body: [][]byte{[]byte("abc")}}})
		if r.FailedOpen != open || (r.Client.Status == 200) != open || (string(r.Origin.Body) == "abc") != open {
			t.Errorf("open %t: client got %s, origin %q", open, r.Client, r.Origin.Body)
		}
	}
}

func TestObservabilityTellsEverything(t *testing.T) {
	seen := 0
	watch := func(s server) error {
		for {
			m, err := s.Recv()
			if err != nil {
				return nil //nolint:nilerr // Envoy left
			}
			seen += len(m.GetRequestBody().GetBody()) + len(m.GetResponseBody().GetBody())
			if m.GetProtocolConfig() != nil {
				return status.Error(codes.Internal, "protocol_config in observability mode")
			}
		}
	}
	ex := extproctest.Exchange{
		Request: extproctest.Message{Body: [][]byte{[]byte("abc")}},
		Origin:  extproctest.Reply(extproctest.Message{Body: [][]byte{[]byte("defg")}}),
	}
	do(t, extproctest.Config{Mode: extproctest.Duplex().Mode, ObservabilityMode: true}, watch, ex, func(t *testing.T, r extproctest.Result) {
		r.MustBeLawful(t)
		if seen != 7 || r.Client.Status != 200 {
			t.Errorf("the processor saw %d bytes; client got %s", seen, r.Client)
		}
	})
}
