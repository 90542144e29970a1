package icap_test

import (
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/icap"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
)

func TestSelfTest(t *testing.T) {
	const failed, degraded, passed = scan.GradeFailed, scan.GradeDegraded, scan.GradePassed
	for name, c := range map[string]struct {
		server  icaptest.Options
		engine  icap.Config
		limit   int64
		largest scan.Grade
		offer   scan.Grade
	}{
		"good":              {limit: mib, largest: passed, offer: passed},
		"tiny bodies":       {limit: 1, largest: passed, offer: passed},
		"limit by 204":      {server: icaptest.Options{ObjectLimit: mib - 1}, limit: mib, largest: failed, offer: passed},
		"limit by echo":     {server: icaptest.Options{ObjectLimit: mib - 1, EchoOver: 1000}, limit: mib, largest: failed, offer: passed},
		"larger bodies":     {engine: icap.Config{MaxObjectBytes: mib}, limit: mib + 1, largest: failed, offer: passed},
		"no names":          {server: icaptest.Options{Product: icaptest.Skyhigh}, limit: mib, largest: degraded, offer: passed},
		"no 204":            {server: icaptest.Options{NoAllow204: true}, limit: mib, largest: passed, offer: failed},
		"no 204, but echos": {server: icaptest.Options{NoAllow204: true}, engine: icap.Config{AcceptEcho: true}, limit: mib, largest: passed, offer: passed},
		"scans fail":        {server: icaptest.Options{Product: icaptest.TrendOneFail}, limit: mib, largest: failed, offer: passed},
	} {
		t.Run(name, func(t *testing.T) {
			c.engine.URL = icaptest.Start(t, c.server).URL()
			got := newEngine(t, c.engine).SelfTest(t.Context(), c.limit)
			if len(got) != 2 || got[0].Grade != c.largest || got[1].Grade != c.offer {
				t.Fatalf("%+v", got)
			}
			for _, f := range got {
				if f.Probe == "" || f.Result == "" || (f.Remedy == "") != (f.Grade == passed) {
					t.Errorf("%+v", f)
				}
			}
		})
	}
	s := icaptest.Start(t, icaptest.Options{})
	e := newEngine(t, icap.Config{URL: s.URL()})
	s.Stop()
	for _, f := range e.SelfTest(t.Context(), mib) {
		if f.Grade != failed || f.Remedy == "" {
			t.Errorf("server down: %+v", f)
		}
	}
}
