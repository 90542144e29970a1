package remote

import (
	"context"
	"fmt"
	"strconv"

	"google.golang.org/grpc/metadata"

	"github.com/portcullis-av/portcullis/scan"
)

const (
	// hopsKey is the gRPC metadata that counts the services an object has come
	// through, so that a remote which leads back to itself ends.
	hopsKey = "x-portcullis-hops"
	// maxHops is how many remote services one object may come through.
	maxHops = 3
)

// hop returns ctx for the call to the next service. The count so far is that of
// the call which ctx belongs to; what cannot be read counts as too many.
func hop(ctx context.Context) (context.Context, error) {
	hops := 0
	if values := metadata.ValueFromIncomingContext(ctx, hopsKey); len(values) > 0 {
		n, err := strconv.ParseUint(values[0], 10, 8)
		if err != nil || len(values) > 1 {
			n = maxHops
		}
		hops = int(n)
	}
	if hops >= maxHops {
		return nil, &scan.Error{
			Kind: scan.KindRefused, Op: op,
			Err: fmt.Errorf("the object came through %d services already: does a remote engine lead back to itself?", hops),
		}
	}
	return metadata.AppendToOutgoingContext(ctx, hopsKey, strconv.Itoa(hops+1)), nil
}
