package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// slowConfig ends slow uploads by each of the three bounds.
func slowConfig() string {
	return yaml([]string{`{name: builtin, builtin: {}}`}, []string{
		`{name: default, engines: [builtin]}`,
		`{name: deadline, engines: [builtin], upload_timeout: 6s}`,
		`{name: idle, engines: [builtin], upload_idle_timeout: 2s}`,
		`{name: rate, engines: [builtin], upload_min_rate: 1000}`,
	})
}

// trickles opens n uploads to path that bring one byte each second until ctx ends.
func (g *gate) trickles(ctx context.Context, t *testing.T, n int, path string) []*client.Raw {
	t.Helper()
	all := make([]*client.Raw, n)
	for i := range all {
		raw, err := client.Dial(t.Context(), g.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = raw.Close() })
		if err := raw.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
			t.Fatal(err)
		}
		if err := raw.Send("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nx"); err != nil {
			t.Fatal(err)
		}
		all[i] = raw
	}
	go func() {
		for {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
			for _, raw := range all {
				_ = raw.Send("x") // it may have been answered
			}
		}
	}()
	return all
}

// ended requires that each upload was answered as slow, and returns when the
// last one was, measured from start.
func ended(t *testing.T, all []*client.Raw, start time.Time) time.Duration {
	t.Helper()
	var waits sync.WaitGroup
	for _, raw := range all {
		waits.Go(func() {
			res, err := raw.Receive(http.MethodPost)
			if err != nil || res.Status != http.StatusUnprocessableEntity || !strings.Contains(string(res.Head), `"cause":"upload-deadline"`) {
				t.Errorf("a slow upload: status %d, error %v: %s", res.Status, err, res.Head)
			}
		})
	}
	waits.Wait()
	return time.Since(start)
}

// A thousand uploads at a byte a second are ended by their deadline, cost at most
// 64 KiB each, and are no hindrance to a good one.
func TestSlowUploads(t *testing.T) {
	const (
		many  = 1000
		each  = 64 << 10
		slack = 8 << 20
	)
	g := startGate(t, startPortcullis(t, rig.PortcullisOptions{Binary: needPlain(t), Config: slowConfig()}), envoy.Options{})
	body := payload.Random(71, 1<<20)
	g.crosses(t, "default", client.HTTP1, framing{name: "length"}, body)
	before, err := g.portcullis.Usage()
	if err != nil {
		t.Skipf("no /proc on this system: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := time.Now()
	slow := g.trickles(ctx, t, many, "/deadline/x")
	awaitZero(t, "slow uploads missing", func() (int64, error) {
		n, err := g.gauge("portcullis_exchanges_open")
		return many - n, err
	})
	opened := time.Since(start)
	for range 5 {
		x := g.send(t, client.HTTP1, client.Request{Path: "/default/x", Body: body}, origin.Answer{})
		if x.Status != http.StatusOK || x.seen.SHA256 != body.SHA256() || x.Took > time.Second {
			t.Errorf("the good upload: status %d, the origin got %d bytes, after %v", x.Status, x.seen.Bytes, x.Took)
		}
		t.Logf("a good upload of 1 MiB took %v", x.Took)
	}
	if took := ended(t, slow, start); took > 6*time.Second+opened+4*time.Second {
		t.Errorf("the last of them was answered after %v", took)
	}
	during, err := g.portcullis.Usage()
	if err != nil {
		t.Fatal(err)
	}
	grown := during.PeakRSS - before.PeakRSS
	t.Logf("%d slow uploads (opened in %v) cost %d KiB each", many, opened, grown/many>>10)
	if grown > many*each+slack {
		t.Errorf("%d slow uploads cost %d MiB", many, grown>>20)
	}
	g.spoolEmpty(t)
}

// A pause that is too long and an average that is too low end an upload as well.
func TestSlowByPauseAndRate(t *testing.T) {
	t.Parallel()
	g := startGate(t, startPortcullis(t, rig.PortcullisOptions{Config: slowConfig()}), envoy.Options{})
	for policy, within := range map[string][2]time.Duration{
		"idle": {2 * time.Second, 6 * time.Second},
		"rate": {10 * time.Second, 15 * time.Second},
	} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if policy == "idle" {
				cancel() // after the first byte there is none
			}
			start := time.Now()
			took := ended(t, g.trickles(ctx, t, 20, fmt.Sprintf("/%s/x", policy)), start)
			if took < within[0] || took > within[1] {
				t.Errorf("the last was answered after %v, want %v to %v", took, within[0], within[1])
			}
		})
	}
}
