package app

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// What became of scans, and that the dead instance is out of use, is to be seen.
func TestFleetGauges(t *testing.T) {
	clamd := clamdtest.Start(t, clamdtest.Options{})
	p := buildText(t, `
cache: {memory_entries: 0}
engines: [{name: clamav, clamd: {addresses: ["`+clamd.Address()+`"]}}]
policies: [{name: default, engines: [clamav]}]
`)
	g := gate.New(p.setup)
	scanText(t, g, "default", "", "clean")
	clamd.Stop()
	for range 6 {
		scanText(t, g, "default", "", "unlucky")
	}
	got := map[string]float64{}
	for _, f := range gather(t, newFleetGauges(func() *parts { return p })) {
		for _, m := range f.GetMetric() {
			labels := labelsOf(m)
			if labels["engine"] != "clamav" || labels["kind"] != "clamd" {
				t.Errorf("%s has the labels %v", f.GetName(), labels)
			}
			if address, ok := labels["instance"]; ok && address != clamd.Address() {
				t.Errorf("%s: instance %q", f.GetName(), address)
			}
			got[f.GetName()+" "+labels["result"]] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"scans_total verdict": 1, "scans_total unreachable": 5, "scans_total timeout": 0,
		"breaker_open ": 1, "breaker_transitions_total ": 1, "scans_in_flight ": 0, "queued ": 0,
		"outlier ": 0, "ejections_total ": 0, "retries_total ": 0, "harmful_objects_total ": 0,
	} {
		if v, ok := got["portcullis_engine_"+name]; !ok || v != want {
			t.Errorf("%s: %v, want %v", name, v, want)
		}
	}
}

// gather is what a collector tells, which must be consistent.
func gather(t *testing.T, c prometheus.Collector) []*dto.MetricFamily {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func labelsOf(m *dto.Metric) map[string]string {
	all := map[string]string{}
	for _, l := range m.GetLabel() {
		all[l.GetName()] = l.GetValue()
	}
	return all
}
