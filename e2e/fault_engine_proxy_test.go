package e2e_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// wire is a TCP connection to an engine that can be spoiled.
type wire struct{ proxy *toxiproxy.Proxy }

// startWire leads to upstream, host:port, until the test ends.
func startWire(t *testing.T, upstream string) *wire {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	w := &wire{toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", upstream)}
	if err := w.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.proxy.Stop)
	return w
}

func (w *wire) address() string { return w.proxy.Listen }

// cut refuses connections and ends those that are there.
func (w *wire) cut() { w.proxy.Stop() }

// mend lets them through again, to upstream if one is given.
func (w *wire) mend(t *testing.T, upstream string) {
	t.Helper()
	if upstream != "" {
		w.proxy.Upstream = upstream
	}
	if err := w.proxy.Start(); err != nil {
		t.Error(err)
	}
}

// toxic is what spoils a wire, in Toxiproxy's words.
type toxic struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Toxicity   float32        `json:"toxicity"`
	Attributes map[string]int `json:"attributes"`
}

// spoil adds a toxic to connections from now on, and to open ones.
func (w *wire) spoil(t *testing.T, x toxic) {
	t.Helper()
	x.Name = x.Type
	if x.Toxicity == 0 {
		x.Toxicity = 1
	}
	text, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
		t.Fatal(err)
	}
}

// clear takes every toxic away.
func (w *wire) clear() { w.proxy.Toxics.ResetToxics(context.Background()) }
