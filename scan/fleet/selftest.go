package fleet

import (
	"context"
	"sync"

	"github.com/portcullis-av/portcullis/scan"
)

// InstanceFindings is what a self test found out about one instance.
type InstanceFindings struct {
	Label    string
	Findings []scan.Finding
}

// SelfTest probes every instance with canaries, and those that pass with what
// their engine tests of itself; see [scan.SelfTester].
func (f *Fleet) SelfTest(ctx context.Context, limit int64) []InstanceFindings {
	all := make([]InstanceFindings, len(f.members))
	var tests sync.WaitGroup
	for i, m := range f.members {
		tests.Go(func() {
			f.probe(ctx, m)
			h := m.health.Load()
			all[i] = InstanceFindings{Label: m.Label, Findings: []scan.Finding{h.finding()}}
			if e, ok := m.Engine.(scan.SelfTester); ok && h.OK {
				all[i].Findings = append(all[i].Findings, e.SelfTest(ctx, limit)...)
			}
		})
	}
	tests.Wait()
	return all
}

func (h Health) finding() scan.Finding {
	p := scan.Finding{Probe: "EICAR is infected, a text is clean", Result: h.Detail}
	if h.OK {
		p.Grade = scan.GradePassed
		return p
	}
	p.Remedy = "see whether the engine runs, can be reached, and has signatures that know EICAR"
	return p
}
