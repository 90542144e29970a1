package app_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
)

// upload begins an upload and leaves it undecided.
func (r *running) upload(ctx context.Context) *extproctest.Stream {
	r.t.Helper()
	s := extproctest.New(r.dial(nil), extproctest.Duplex()).Open(ctx, r.t)
	s.SendRequestHeaders(extproctest.Headers{{Key: ":method", Value: "POST"}, {Key: ":path", Value: "/up"}}, false)
	s.SendRequestBody([]byte("the first part"), false)
	r.becomes("/metrics", 200, "portcullis_spool_bodies 1\n")
	return s
}

// At the end of the drain an undecided exchange is cut off with an error, by
// which Envoy fails closed; it is never ended with OK. Until then the gate says
// that it drains, and still judges.
func TestDrainCutsOff(t *testing.T) {
	t.Parallel()
	r := started(t, "drain: {grace: 1s, timeout: 500ms}\n")
	health := healthv1.NewHealthClient(r.dial(nil))
	stuck := r.upload(t.Context())

	begun := time.Now()
	r.cancel()
	r.becomes("/readyz", 503, "draining")
	if status, _ := r.get("/livez"); status != 200 {
		t.Errorf("/livez while draining: %d", status)
	}
	for _, name := range []string{"", extProcName} {
		res, err := health.Check(t.Context(), &healthv1.HealthCheckRequest{Service: name})
		if err != nil || res.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
			t.Errorf("health of %q while draining: %v, %v", name, res, err)
		}
	}
	late := extproctest.New(r.dial(nil), extproctest.Duplex()).Do(t.Context(), extproctest.Exchange{
		Request: extproctest.Message{Body: extproctest.Cut(eicar(), 100)},
	})
	if late.Client.Status != 403 {
		t.Errorf("an exchange during the grace: %v", late.Client)
	}
	if code := r.stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if took := time.Since(begun); took < 1400*time.Millisecond || took > 5*time.Second {
		t.Errorf("grace 1s and timeout 500ms took %v", took)
	}
	if err := stuck.End(); status.Code(err) == codes.OK {
		t.Errorf("the undecided stream ended with %v", err)
	}
	if log := r.log.String(); !strings.Contains(log, "cut off") || !strings.Contains(log, `"outcome":"UNDECIDED"`) {
		t.Error("the log does not tell of the exchange that was cut off")
	}
}

// An exchange that ends in time is served to its end, and then nobody waits.
func TestDrainWaitsForTheRest(t *testing.T) {
	t.Parallel()
	r := started(t, "drain: {grace: 0s, timeout: 30s}\n")
	s := r.upload(t.Context())
	begun := time.Now()
	r.cancel()
	r.becomes("/readyz", 503, "draining")
	until(t, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", r.extproc)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	s.SendRequestBody([]byte("and the last"), true)
	s.Expect(extproctest.RequestHeaders)
	s.Expect(extproctest.RequestBody)
	s.CloseSend()
	if code := r.stop(); code != 0 || time.Since(begun) > 10*time.Second {
		t.Errorf("exit %d after %v", code, time.Since(begun))
	}
}
