package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/portcullis-av/portcullis/e2e/rig"
)

// load is one kind of traffic.
type load struct {
	// Leg is where the body is: "request" or "response". The two others are uploads
	// too: "multipart" in a form, "gzip" with that content coding.
	Leg         string `json:"leg"`
	Size        int64  `json:"size"`
	Concurrency int    `json:"concurrency"`
}

// sample is what one run of a load measured.
type sample struct {
	PerSecond float64       // exchanges
	P50, P99  time.Duration // of one exchange
	CPU       time.Duration // of the processor, for one exchange
	PeakRSS   int64         // of the processor, bytes, during the run
	Envoy     rig.Usage     // of Envoy: CPU for one exchange, peak during the run
}

// target is one way through an Envoy.
type target struct {
	address   string       // of Envoy's listener
	prefix    string       // of the path, which chooses the policy
	processor *rig.Process // nil without one
	envoy     *rig.Process // nil without one
	direct    *direct      // instead of an Envoy
	same      bool         // the same body every time
}

// run sends the load for as long as said, but at least one exchange for each
// connection. An exchange that does not end as it should is an error: figures of
// a gate that refuses are worthless.
func (l load) run(ctx context.Context, t target, long time.Duration) (sample, error) {
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: l.Concurrency, DisableCompression: true, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
	}}
	defer client.CloseIdleConnections()
	if _, err := l.send(ctx, client, t, min(long/5, 200*time.Millisecond)); err != nil { // warms up connections
		return sample{}, err
	}
	before, err := usage(t.processor, true)
	if err != nil {
		return sample{}, err
	}
	envoyBefore, err := usage(t.envoy, true)
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	took, err := l.send(ctx, client, t, long)
	if err != nil {
		return sample{}, err
	}
	elapsed := time.Since(start)
	after, err := usage(t.processor, false)
	if err != nil {
		return sample{}, err
	}
	envoyAfter, err := usage(t.envoy, false)
	if err != nil {
		return sample{}, err
	}
	slices.Sort(took)
	n := len(took)
	return sample{
		PerSecond: float64(n) / elapsed.Seconds(),
		P50:       took[n/2],
		P99:       took[min(n-1, n*99/100)],
		CPU:       (after.CPU - before.CPU) / time.Duration(n),
		PeakRSS:   after.PeakRSS,
		Envoy:     rig.Usage{CPU: (envoyAfter.CPU - envoyBefore.CPU) / time.Duration(n), PeakRSS: envoyAfter.PeakRSS},
	}, nil
}

func usage(p *rig.Process, reset bool) (rig.Usage, error) {
	if p == nil {
		return rig.Usage{}, nil
	}
	if reset {
		if err := p.ResetPeak(); err != nil {
			return rig.Usage{}, err
		}
	}
	return p.Usage()
}

// send returns how long each exchange took.
func (l load) send(ctx context.Context, client *http.Client, t target, long time.Duration) ([]time.Duration, error) {
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		all   []time.Duration
		first error
	)
	deadline := time.Now().Add(long)
	for worker := range l.Concurrency {
		group.Go(func() {
			var mine []time.Duration
			var err error
			for n := uint64(0); err == nil && (n == 0 || time.Now().Before(deadline)); n++ {
				start := time.Now()
				err = l.exchange(ctx, client, t, uint64(start.UnixNano())<<8+uint64(worker))
				mine = append(mine, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
			if first == nil {
				first = err
			}
		})
	}
	group.Wait()
	return all, first
}

// upload is the body of a request and its length, and what its headers say of it.
func (l load) upload(h http.Header, n uint64) (io.Reader, int64) {
	switch l.Leg {
	case "multipart":
		h.Set("Content-Type", "multipart/form-data; boundary="+formBoundary)
		return formBody(n, l.Size)
	case "gzip":
		h.Set("Content-Type", "text/plain")
		h.Set("Content-Encoding", "gzip")
		return gzipBody(n, l.Size)
	}
	h.Set("Content-Type", "application/octet-stream")
	return newBody(n, l.Size), l.Size
}

func (l load) exchange(ctx context.Context, client *http.Client, t target, n uint64) error {
	if t.same {
		n = uint64(l.Size) //nolint:gosec // positive
	}
	if t.direct != nil {
		return t.direct.exchange(ctx, newBody(n, l.Size))
	}
	method, url, up, down := http.MethodGet, "http://"+t.address+t.prefix, int64(0), int64(0)
	if l.Leg != "response" {
		method, url, up = http.MethodPost, url+"/upload", l.Size
	} else {
		url, down = url+"/bytes/"+strconv.FormatInt(l.Size, 10), l.Size
		if t.same {
			url += "?same"
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	if up > 0 {
		var body io.Reader
		body, up = l.upload(req.Header, n)
		req.Body, req.ContentLength = io.NopCloser(body), up
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read whole below
	got, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		return err
	}
	if received := resp.Header.Get(receivedHeader); resp.StatusCode != http.StatusOK || got != down || received != strconv.FormatInt(up, 10) {
		return fmt.Errorf("%s %s: %s, %d bytes came back, %q arrived", method, url, resp.Status, got, received)
	}
	return nil
}
