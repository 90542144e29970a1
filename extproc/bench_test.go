package extproc_test

import (
	"bytes"
	"context"
	"strconv"
	"testing"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
	"github.com/portcullis-av/portcullis/scan"
)

// An exchange with an upload, the fake Envoy's own work and allocations
// included; only differences count. "held" scans with an engine that takes no
// time, "passed" is out of scope.
func BenchmarkExchange(b *testing.B) {
	for _, size := range []int{0, 10 << 10, 1 << 20} {
		for _, held := range []bool{false, true} {
			name := "passed"
			if held {
				name = "held"
			}
			b.Run(name+" "+strconv.Itoa(size), func(b *testing.B) {
				d := newDoor()
				d.policy.ScanRequest, d.policy.ScanResponse = held, held
				d.engine = func(context.Context, scan.Object) (scan.Verdict, error) { return scan.CleanVerdict(), nil }
				ex := extproctest.Exchange{CountOnly: true}
				if size > 0 {
					ex.Request.Body = extproctest.Cut(bytes.Repeat([]byte("a"), size), 64<<10)
				}
				envoy := extproctest.New(d.serve(b), extproctest.Duplex())
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if r := envoy.Do(b.Context(), ex); r.Client.Status != 200 || len(r.Violations) > 0 {
						b.Fatal(r.Client, r.Violations)
					}
					<-d.records
				}
			})
		}
	}
}
