package app

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
	"github.com/portcullis-av/portcullis/extproc/extproctest"
	"github.com/portcullis-av/portcullis/scan"
)

// fragile unwraps, until it is told to break.
type fragile struct {
	scan.Unwrapper
	breaks atomic.Bool
}

func (f *fragile) Unwrap(
	ctx context.Context, o scan.Object, l scan.Labels, limits scan.ContentLimits, found func(scan.Object),
) (scan.Verdict, io.Closer) {
	if f.breaks.Load() {
		panic("a decoder broke over " + string(mustRead(o)))
	}
	return f.Unwrapper.Unwrap(ctx, o, l, limits, found)
}

func mustRead(o scan.Object) []byte {
	text, err := io.ReadAll(o.Reader())
	if err != nil {
		panic(err)
	}
	return text
}

// A panic in a decoder ends its exchange with an ERROR that blocks, is counted,
// and nothing else: the process lives, other exchanges are served, and neither
// answer nor log holds the body that the panic spoke of (F-36).
func TestPanicInADecoder(t *testing.T) {
	cfg, err := config.Parse("test", []byte("listen: {extproc: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\ndrain: {grace: 0s}\n"+
		"policies: [{name: default, engines: [builtin], fail: open}]\n"), checkRules)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s, err := newService(t.Context(), cfg, &log)
	if err != nil {
		t.Fatal(err)
	}
	setup := s.parts().setup
	decoder := &fragile{Unwrapper: setup.Unwrap}
	setup.Unwrap = decoder
	s.gate.Swap(setup)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	conn, err := grpc.NewClient("passthrough:///"+s.extprocL.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	const body = "bytes that only the body holds"
	envoy := extproctest.New(conn, extproctest.Duplex())
	send := func() extproctest.Result {
		res := envoy.Do(t.Context(), extproctest.Exchange{Request: extproctest.Message{Body: extproctest.Cut([]byte(body), 10)}})
		res.MustBeLawful(t)
		return res
	}
	answers := ""
	for range 3 {
		decoder.breaks.Store(true)
		if res := send(); res.Client.Status != 503 || res.Origin.Reached || !strings.Contains(string(res.Client.Body), `"cause":"internal"`) {
			t.Errorf("status %d, origin reached %v: %s", res.Client.Status, res.Origin.Reached, res.Client.Body)
		} else {
			answers += string(res.Client.Body)
		}
		decoder.breaks.Store(false)
		if res := send(); res.Client.Status != 200 || !res.Origin.Reached {
			t.Errorf("after the panic: status %d", res.Client.Status)
		}
	}
	_ = conn.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	// An exchange is counted when its stream has ended.
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if labels := labelsOf(m); f.GetName() == "portcullis_legs_total" && labels["cause"] == "internal" && labels["action"] == "block" {
				counted += m.GetCounter().GetValue()
			}
		}
	}
	if counted != 3 {
		t.Errorf("%v of 3 panics are counted", counted)
	}
	if strings.Contains(log.String()+answers, body) {
		t.Errorf("the body is in the log or in an answer:\n%s", log.String())
	}
}
