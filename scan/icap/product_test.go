package icap_test

import (
	"slices"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/icap"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
)

// TestProducts: what every product says of malware, over both methods, and
// never CLEAN.
func TestProducts(t *testing.T) {
	type says struct {
		outcome scan.Outcome // undecided: an error of KindProtocol
		threats []string
	}
	named := says{scan.OutcomeInfected, []string{icaptest.MarkerName}}
	blocked := says{outcome: scan.OutcomePolicy}
	want := map[icaptest.Product]says{
		icaptest.CICAP: named, icaptest.Squidclamav: named, icaptest.Opswat: named, icaptest.InnerOnly: named, icaptest.Repaired: named,
		icaptest.TrendDDAN:    {scan.OutcomeInfected, []string{icaptest.MarkerName, "Other.Name"}},
		icaptest.SquidRewrite: blocked, icaptest.TrendBare: blocked, icaptest.TrendOne: blocked, icaptest.Skyhigh: blocked,
		icaptest.SilentEmpty:  blocked,
		icaptest.TrendOneFail: {},
	}
	for _, product := range icaptest.Products() {
		for _, method := range []string{icap.MethodRespmod, icap.MethodReqmod} {
			for _, echo := range []bool{false, true} {
				t.Run(string(product)+" "+method, func(t *testing.T) {
					s := icaptest.Start(t, icaptest.Options{Product: product, Echo: echo})
					e := newEngine(t, icap.Config{URL: s.URL(), Method: method, AcceptEcho: echo, MaxObjectBytes: mib})
					expected, ok := want[product]
					if !ok {
						t.Fatalf("nothing is said here about %s", product)
					}
					for _, size := range []int{0, 100, 200_000} {
						v, err := scanIt(t, e, marked(size))
						if expected.outcome == scan.OutcomeUndecided {
							if scan.KindOf(err) != scan.KindProtocol || v.Outcome != scan.OutcomeUndecided {
								t.Errorf("%d bytes: verdict %+v, error %v", size, v, err)
							}
							continue
						}
						if err != nil || v.Outcome != expected.outcome || !slices.Equal(v.Threats, expected.threats) {
							t.Errorf("%d bytes: verdict %+v, error %v, want %+v", size, v, err, expected)
						}
					}
					if product != icaptest.TrendOneFail { // whose canary proves nothing
						wantClean(t, e, text(200_000))
					}
				})
			}
		}
	}
}
