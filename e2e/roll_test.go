package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// rollConfig leaves the grace as it is shipped: the generated health check must
// notice a replica that drains within it.
const rollConfig = "drain: {timeout: 10s}\n"

// Two failed health checks fit into the grace, with two seconds to spare.
func TestGraceOutlastsTheHealthCheck(t *testing.T) {
	t.Parallel()
	b, err := envoy.Static(envoy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	check := b.GetStaticResources().GetClusters()[0].GetHealthChecks()[0]
	longest := time.Duration(check.GetUnhealthyThreshold().GetValue()) * (check.GetInterval().AsDuration() + check.GetTimeout().AsDuration())
	if grace := config.Default().Message().GetDrain().GetGrace().AsDuration(); longest+2*time.Second > grace {
		t.Errorf("Envoy may take %v to notice, and the grace is %v", longest, grace)
	}
}

// Two replicas behind one Envoy are replaced one after the other under load: no
// exchange fails (F-26).
func TestRollingUpdate(t *testing.T) {
	t.Parallel()
	rate := 200
	if raceDetector {
		rate = 100 // the clients of this test are slower then
	}
	settings := yaml([]string{`{name: builtin, builtin: {}}`}, []string{`{name: default, engines: [builtin]}`}) + rollConfig
	start := func(o rig.PortcullisOptions) *rig.Portcullis {
		o.Binary, o.Config = needPlain(t), settings
		return startPortcullis(t, o)
	}
	replicas := []*rig.Portcullis{start(rig.PortcullisOptions{}), start(rig.PortcullisOptions{})}
	g := startRewired(t, replicas[0], envoy.Options{}, func(b bootstrap) {
		b.processors(t, replicas[0].ExtProc, replicas[1].ExtProc)
	})
	healthy := func(n int64) {
		t.Helper()
		until(t, fmt.Sprintf("Envoy to see %d replicas", n), func() bool {
			seen, err := g.envoy.Stat("cluster.portcullis.membership_healthy")
			return err == nil && seen == n
		})
	}
	healthy(2)
	load := &traffic{gate: g, policies: []string{"default"}, rate: rate}
	ctx, stop := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() { load.run(ctx, t) })
	time.Sleep(time.Second)
	var drains []time.Duration
	for i, old := range replicas {
		began := time.Now()
		if err := old.Stop(30 * time.Second); err != nil {
			t.Fatal(err)
		}
		drains = append(drains, time.Since(began).Round(10*time.Millisecond))
		if status, err := old.Exit(0); status != 0 || err != nil {
			t.Errorf("exit status %d, error %v", status, err)
		}
		replicas[i] = start(rig.PortcullisOptions{ExtProc: old.ExtProc, Admin: old.Admin})
		healthy(2)
	}
	time.Sleep(time.Second)
	stop()
	sending.Wait()
	if n, err := g.envoy.Stat("ext_proc.streams_failed"); err != nil || n != 0 {
		t.Errorf("%d streams failed at Envoy, error %v", n, err)
	}
	faultRows.add("F-26", "SIGTERM, two replicas rolled under load", "builtin", closed, marked(t, fmt.Sprintf(
		"%d/s: %s; drained in %v", rate, load.right(t, "passed", "403 INFECTED malware"), drains)))
}
