package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// rollConfig is the shipped drain and health check: Envoy asks every 5 s and
// wants two failures, so that 12 s are enough for it to look elsewhere.
const rollConfig = "drain: {grace: 12s, timeout: 10s}\n"

// Two replicas behind one Envoy are replaced one after the other under load: no
// exchange fails (F-26).
func TestRollingUpdate(t *testing.T) {
	t.Parallel()
	rate := 200
	if raceDetector {
		rate = 100 // the clients of this test are slower then
	}
	config := yaml([]string{`{name: builtin, builtin: {}}`}, []string{`{name: default, engines: [builtin]}`}) + rollConfig
	start := func(o rig.PortcullisOptions) *rig.Portcullis {
		o.Binary, o.Config = needPlain(t), config
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
