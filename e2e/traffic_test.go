package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	yamltree "go.yaml.in/yaml/v3"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// traffic is steady load on a gate, of bodies whose fate is known: clean uploads,
// clean downloads, and every fourth an infected upload. Whatever happens
// meanwhile, none of the infected may pass and none of the clean be changed.
type traffic struct {
	gate     *gate
	policies []string // first elements of the path, in turn
	rate     int      // exchanges a second, however long each takes
	// open names the policies that pass what could not be judged.
	open map[string]bool
	// broken lets exchanges end without an answer of the gate: somebody breaks
	// connections on purpose.
	broken bool

	mu    sync.Mutex
	took  []time.Duration
	ends  map[string]int // what became of exchanges
	wrong []string
}

// run sends until ctx ends, and returns when the last exchange has ended.
func (tr *traffic) run(ctx context.Context, t *testing.T) {
	t.Helper()
	tr.ends = map[string]int{}
	var all sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(tr.rate))
	defer tick.Stop()
	for n := uint64(0); ; n++ {
		select {
		case <-ctx.Done():
			all.Wait()
			return
		case <-tick.C:
			all.Go(func() { tr.one(t, n) })
		}
	}
}

func (tr *traffic) one(t *testing.T, n uint64) {
	t.Helper()
	policy := tr.policies[n%uint64(len(tr.policies))]
	id, bad, down := newID(), n%4 == 0, n%4 == 1
	body := payload.Random(n, 1000+int64(n%17)*1000)
	if bad {
		body = payload.InfectedForm(id, 500)
	}
	r, a := client.Request{Path: "/" + policy + "/up", Body: body}, origin.Answer{}
	if down {
		r, a = client.Request{Path: "/" + policy + "/down"}, origin.Answer{Body: body}
	}
	start := time.Now()
	x, err := tr.gate.try(t, id, client.HTTP1, r, a)
	took := time.Since(start)
	end, wrong := tr.judge(x, err, id, body, bad, down, tr.open[policy])
	tr.gate.origin.Forget(id)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.took = append(tr.took, took)
	tr.ends[end]++
	if wrong != "" && len(tr.wrong) < 20 {
		tr.wrong = append(tr.wrong, fmt.Sprintf("/%s, exchange %d (infected %v, download %v), %s after %v: %s", policy, n, bad, down, end, took, wrong))
	}
}

// judge says in a word how an exchange ended, and what is wrong with that.
func (tr *traffic) judge(x exchange, err error, id string, body payload.Body, bad, down, open bool) (end, wrong string) {
	verdict := x.seen.Header.Get("X-Portcullis-Verdict")
	leaked := tr.gate.origin.Tap().Canaries(id) > 0
	whole := !down && x.seen.SHA256 == body.SHA256() || down && x.SHA256 == body.SHA256()
	switch {
	case err != nil || x.Err != nil:
		if !tr.broken || bad && leaked {
			wrong = fmt.Sprintf("errors %v, %v; leaked: %v", err, x.Err, leaked)
		}
		return "broken", wrong
	case x.Status == http.StatusOK && !whole:
		return "altered", fmt.Sprintf("the origin got %d bytes, the client %d, of %d", x.seen.Bytes, x.Bytes, body.Size())
	case x.Status == http.StatusOK && bad && (!open || !strings.HasPrefix(verdict, "ERROR")):
		return "leaked", "it passed as " + verdict
	case x.Status == http.StatusOK && (strings.HasPrefix(verdict, "CLEAN") || down):
		return "passed", ""
	case x.Status == http.StatusOK && open && strings.HasPrefix(verdict, "ERROR"):
		return "passed unscanned", ""
	case x.Status == http.StatusOK:
		return "passed", "as " + verdict
	case leaked && !open || !down && x.seen.Bytes > 0:
		return "leaked", fmt.Sprintf("status %d, and the origin got %d bytes", x.Status, x.seen.Bytes)
	}
	var told struct{ Outcome, Cause string }
	if jsonErr := json.Unmarshal(x.Head, &told); jsonErr != nil {
		end = fmt.Sprintf("Envoy's own %d", x.Status)
		if !tr.broken {
			wrong = fmt.Sprintf("%q", x.Head)
		}
		return end, wrong
	}
	if told.Outcome == "INFECTED" && !bad {
		wrong = "a clean body was called infected"
	}
	return fmt.Sprintf("%d %s %s", x.Status, told.Outcome, told.Cause), wrong
}

// right requires that nothing was wrong, and that exchanges ended in these ways
// alone.
func (tr *traffic) right(t *testing.T, ends ...string) string {
	t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, w := range tr.wrong {
		t.Error(w)
	}
	var all []string
	for _, end := range slices.Sorted(maps.Keys(tr.ends)) {
		all = append(all, fmt.Sprintf("%d %s", tr.ends[end], end))
		if len(ends) > 0 && !slices.Contains(ends, end) {
			t.Errorf("%d exchanges ended in %q", tr.ends[end], end)
		}
	}
	return fmt.Sprintf("%s; p99 %v", strings.Join(all, ", "), percentile(tr.took, 99).Round(time.Millisecond))
}

// bootstrap is Envoy's configuration as a tree, for what the generator does not
// make by itself.
type bootstrap map[string]any

// cluster is that of Portcullis.
func (b bootstrap) cluster(t *testing.T) map[string]any {
	t.Helper()
	resources, _ := b["static_resources"].(map[string]any)
	clusters, _ := resources["clusters"].([]any)
	for _, c := range clusters {
		if c, ok := c.(map[string]any); ok && c["name"] == "portcullis" {
			return c
		}
	}
	t.Fatal("the generated configuration has no cluster portcullis")
	return nil
}

// processors makes replicas of Portcullis out of one.
func (b bootstrap) processors(t *testing.T, addresses ...string) {
	t.Helper()
	var endpoints []any
	for _, a := range addresses {
		host, port, _ := strings.Cut(a, ":")
		endpoints = append(endpoints, map[string]any{"endpoint": map[string]any{"address": map[string]any{
			"socket_address": map[string]any{"address": host, "port_value": json.Number(port)},
		}}})
	}
	b.cluster(t)["load_assignment"] = map[string]any{
		"cluster_name": "portcullis", "endpoints": []any{map[string]any{"lb_endpoints": endpoints}},
	}
}

// startRewired is startGate with an Envoy whose configuration was changed.
func startRewired(t *testing.T, p *rig.Portcullis, o envoy.Options, edit func(bootstrap)) *gate {
	t.Helper()
	behind := startOrigin(t)
	o.Upstream, o.Processor, o.Listen, o.Admin = behind.Address(), p.ExtProc, "127.0.0.1:0", "127.0.0.1:0"
	text, err := envoy.StaticYAML(o)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yamltree.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	edit(bootstrap(tree))
	if text, err = json.Marshal(tree); err != nil { // which is YAML too
		t.Fatal(err)
	}
	e, address := startEnvoyWith(t, text)
	return &gate{name: string(o.Profile), address: address, envoy: e, portcullis: p, origin: behind}
}
