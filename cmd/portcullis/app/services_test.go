package app_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
	"github.com/portcullis-av/portcullis/extproc/extproctest"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

const extProcName = "envoy.service.ext_proc.v3.ExternalProcessor"

// Everything that a running gate offers, offered by one binary: both doors,
// health, reflection and the operator's port.
func TestServe(t *testing.T) {
	r := started(t, "")
	conn := r.dial(nil)

	t.Run("admin", func(t *testing.T) {
		r.becomes("/readyz", 200, "ready\n")
		for path, want := range map[string]string{
			"/livez": "ok\n", "/": "/metrics /livez /readyz /configz", "/configz": "max_body_bytes: 104857600",
			"/metrics": `portcullis_engine_up{engine="builtin",instance="embedded",kind="builtin"} 1`, "/debug/pprof/": "goroutine",
		} {
			if status, body := r.get(path); status != 200 || !strings.Contains(body, want) {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		if status, _ := r.get("/nobody"); status != 404 {
			t.Errorf("/nobody: %d", status)
		}
		res, err := http.Post("http://"+r.admin+"/configz", "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		if res.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST /configz: %d", res.StatusCode)
		}
	})

	t.Run("configz can be used again", func(t *testing.T) {
		_, text := r.get("/configz")
		if _, err := config.Parse("configz", []byte(text)); err != nil {
			t.Error(err)
		}
	})

	t.Run("health", func(t *testing.T) {
		client := healthv1.NewHealthClient(conn)
		for _, name := range []string{"", extProcName} {
			until(t, "health of "+name+" is SERVING", func() bool {
				res, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: name})
				return err == nil && res.GetStatus() == healthv1.HealthCheckResponse_SERVING
			})
		}
		if res, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "nobody"}); err == nil {
			t.Errorf("health of nobody: %v", res)
		}
		if code, stdout, stderr := run(t, "health", "--admin", r.admin); code != 0 || stdout != "ready\n" || stderr != "" {
			t.Errorf("portcullis health: exit %d, %q, %q", code, stdout, stderr)
		}
	})

	t.Run("reflection", func(t *testing.T) {
		stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ask := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
		if err := stream.Send(ask); err != nil {
			t.Fatal(err)
		}
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range res.GetListServicesResponse().GetService() {
			names = append(names, s.GetName())
		}
		for _, want := range []string{extProcName, "portcullis.scan.v1.ScanService", "grpc.health.v1.Health"} {
			if !slices.Contains(names, want) {
				t.Errorf("%s is not among %v", want, names)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Error(err)
		}
	})

	t.Run("ScanService", func(t *testing.T) {
		for _, c := range []struct {
			content []byte
			outcome scanv1.Outcome
			action  scanv1.Action
		}{
			{eicar(), scanv1.Outcome_OUTCOME_INFECTED, scanv1.Action_ACTION_BLOCK},
			{[]byte("hello"), scanv1.Outcome_OUTCOME_CLEAN, scanv1.Action_ACTION_PASS},
		} {
			res, err := scanContent(t.Context(), conn, c.content)
			if err != nil || res.GetOutcome() != c.outcome || res.GetAction() != c.action {
				t.Errorf("got %v, %v", res, err)
			}
		}
		list, err := scanv1.NewScanServiceClient(conn).ListEngines(t.Context(), &scanv1.ListEnginesRequest{})
		if err != nil || len(list.GetEngines()) != 1 || !list.GetEngines()[0].GetHealthy() {
			t.Errorf("engines: %v, %v", list, err)
		}
	})

	t.Run("ext_proc", func(t *testing.T) {
		envoy := extproctest.New(conn, extproctest.Duplex())
		for want, body := range map[int][]byte{403: eicar(), 200: []byte("hello")} {
			res := envoy.Do(t.Context(), extproctest.Exchange{Request: extproctest.Message{Body: extproctest.Cut(body, 10)}})
			res.MustBeLawful(t)
			if res.Client.Status != want || res.Origin.Reached != (want == 200) {
				t.Errorf("status %d, origin reached %v, want %d", res.Client.Status, res.Origin.Reached, want)
			}
		}
		for _, want := range []string{
			`portcullis_legs_total{action="block",cause="malware",leg="request",outcome="INFECTED"} 2`, // one through ScanService
			`portcullis_legs_total{action="pass",cause="scanned",leg="request",outcome="CLEAN"} 2`,
			`portcullis_exchanges_open 0`,
			`portcullis_spool_memory_bytes 0`,
		} {
			r.becomes("/metrics", 200, want) // an exchange is counted when its stream has ended
		}
	})

	if code := r.stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
	for line := range strings.Lines(r.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	if !strings.Contains(r.log.String(), "portcullis has stopped") {
		t.Error("the log does not say that it ended in order")
	}
}

// A gate whose engine is down lives and answers, but is not ready; where the
// policy fails open it is, since its traffic passes anyway.
func TestReadiness(t *testing.T) {
	const down = "engines: [{name: clamav, clamd: {addresses: [\"unix:/nonexistent/clamd.sock\"]}}]\npolicies: [{name: default, engines: [clamav], fail: "
	closed := started(t, down+"closed}]\n")
	closed.becomes("/readyz", 503, "policy default: engine clamav: unix:/nonexistent/clamd.sock: ")
	if status, _ := closed.get("/livez"); status != 200 {
		t.Errorf("/livez: %d", status)
	}
	client := healthv1.NewHealthClient(closed.dial(nil))
	for name, want := range map[string]healthv1.HealthCheckResponse_ServingStatus{
		"": healthv1.HealthCheckResponse_SERVING, extProcName: healthv1.HealthCheckResponse_NOT_SERVING,
	} {
		until(t, "health of "+name+" is "+want.String(), func() bool {
			res, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: name})
			return err == nil && res.GetStatus() == want
		})
	}
	if code, stdout, _ := run(t, "health", "--admin", closed.admin); code != 1 || !strings.HasPrefix(stdout, "not ready\n") {
		t.Errorf("portcullis health: exit %d, %q", code, stdout)
	}
	if _, metrics := closed.get("/metrics"); !strings.Contains(metrics, `portcullis_engine_up{engine="clamav",instance="unix:/nonexistent/clamd.sock",kind="clamd"} 0`) {
		t.Errorf("the metrics do not tell that the engine is down:\n%s", metrics)
	}
	open := started(t, down+"open}]\n")
	open.becomes("/readyz", 200, "ready\n")
}
