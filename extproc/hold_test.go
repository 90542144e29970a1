package extproc_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
	"github.com/portcullis-av/portcullis/scan/gate"
	"github.com/portcullis-av/portcullis/scan/spool"
)

// While the spool is full a body waits for a moment, but only if the bytes in
// hand are few: nobody's budget counts them. More is shed at once.
func TestWaitsForRoom(t *testing.T) {
	for name, c := range map[string]struct {
		message int
		want    time.Duration
	}{
		"few bytes in hand":  {1 << 20, gate.OverloadWait},
		"many bytes in hand": {5 << 20, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor()
				pool, err := spool.New(spool.Config{MemoryBytes: 1 << 20})
				if err != nil {
					t.Fatal(err)
				}
				d.store = pool
				start := time.Now()
				res := extproctest.New(d.serve(t), profile("duplex")).Do(t.Context(), extproctest.Exchange{
					Request: extproctest.Message{Body: extproctest.Cut(extproctest.Random(6<<20, 1), c.message)},
				})
				res.MustBeLawful(t)
				if res.Client.Status != 503 || res.Origin.Size != 0 {
					t.Errorf("the client saw %s, the origin %d bytes", res.Client, res.Origin.Size)
				}
				if took := time.Since(start).Truncate(gate.OverloadWait); took != c.want {
					t.Errorf("shed after %v, want %v", took, c.want)
				}
			})
		})
	}
}
