package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/portcullis-av/portcullis/envoy"
	"github.com/portcullis-av/portcullis/extproc/extproctest"
)

// own is what a processor itself takes for one exchange with an upload, driven
// over gRPC alone, one at a time, by a client that does no more than Envoy's part
// of the protocol.
type own struct {
	Variant string        `json:"variant"`
	Size    int64         `json:"size"`
	P50     time.Duration `json:"p50_ns"` // of the whole exchange, gRPC included
	// Added is the median over the repeats of P50 less the null processor's.
	Added time.Duration `json:"added_ns"`
}

const (
	ownRounds    = 9
	ownExchanges = 400
	ownSize      = 10 << 10
)

// measureOwn drives the processors that need no engine of their own in turn.
func (s *stage) measureOwn(ctx context.Context) ([]own, error) {
	body, err := io.ReadAll(newBody(1, ownSize))
	if err != nil {
		return nil, err
	}
	variants := []string{variantNull, engineSkip, "builtin"}
	took := map[string][]time.Duration{}
	for range ownRounds {
		for _, v := range variants {
			p50, err := s.drive(ctx, v, body)
			if err != nil {
				return nil, fmt.Errorf("own time, %s: %w", v, err)
			}
			took[v] = append(took[v], p50)
		}
	}
	all := make([]own, 0, len(variants))
	for _, v := range variants {
		var added []time.Duration
		for i, p50 := range took[v] {
			added = append(added, p50-took[variantNull][i])
		}
		all = append(all, own{Variant: v, Size: ownSize, P50: median(slices.Clone(took[v])), Added: median(added)})
	}
	return all, nil
}

func (s *stage) drive(ctx context.Context, variant string, body []byte) (time.Duration, error) {
	conn, err := grpc.NewClient("passthrough:"+s.doors[variant], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // everything was answered
	load := extproctest.LoadConfig{
		Config: extproctest.Duplex(), Count: ownExchanges,
		Exchange: extproctest.Exchange{Request: extproctest.Message{
			Headers: extproctest.H(":path", s.targets[variant][envoy.Duplex].prefix+"/upload", "content-type", "application/octet-stream"),
			Body:    extproctest.Cut(body, 64<<10),
		}},
	}
	r := extproctest.Load(ctx, conn, load)
	if r.Failed > 0 {
		return 0, errors.New(r.FirstFailure)
	}
	return r.P50, ctx.Err()
}

func (r *report) writeOwn(w io.Writer) {
	fmt.Fprintf(w, "\nAn exchange with an upload of %s over gRPC alone, without Envoy, one at a time:\n\n", sizeText(ownSize))
	fmt.Fprintln(w, "| processor | p50 µs | more than the null processor, µs |")
	fmt.Fprintln(w, "|---|---:|---:|")
	for _, o := range r.Own {
		fmt.Fprintf(w, "| %s | %s | %s |\n", o.Variant, microseconds(o.P50), microseconds(o.Added))
	}
}

func microseconds(d time.Duration) string { return fmt.Sprintf("%.0f", d.Seconds()*1e6) }
