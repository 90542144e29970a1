package e2e_test

import (
	"fmt"
	"testing"
	"time"
)

// legsTotal counts legs by leg, outcome, cause and action.
const legsTotal = "portcullis_legs_total"

// count is the number of legs with these labels.
func (g *gate) count(t *testing.T, labels ...string) float64 {
	t.Helper()
	m, err := g.portcullis.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	return m.Sum(legsTotal, labels...)
}

// awaitCount waits for a count to be exactly want: an exchange is counted when
// Envoy closes its stream, which may be after the client has its answer.
func (g *gate) awaitCount(t *testing.T, want float64, labels ...string) {
	t.Helper()
	awaitZero(t, fmt.Sprintf("legs missing to %v with %v", want, labels), func() (int64, error) {
		return int64(want - g.count(t, labels...)), nil
	})
}

// awaitZero polls: what is counted belongs to another process.
func awaitZero(t *testing.T, what string, count func() (int64, error)) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		n, err := count()
		if err == nil && n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: still %d, error %v", what, n, err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
