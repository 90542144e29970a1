package app

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/fleet"
)

// readiness tells whether the gate can judge what its policies cover.
type readiness struct {
	parts    func() *parts
	draining atomic.Bool
}

// ready reports whether the gate is of use: it is not draining, and at least one
// of its policies can be served. why names every policy that cannot be, so that
// a dead engine of one tenant is seen and does not take the others out.
//
// A policy that fails open, detects only or scans nothing is always served: its
// traffic passes whatever the engines do.
func (r *readiness) ready() (ok bool, why []string) {
	if r.draining.Load() {
		return false, []string{"draining"}
	}
	parts := r.parts()
	for _, p := range parts.policies {
		if p.FailOpen || !p.Enforce || !p.ScanRequest && !p.ScanResponse {
			ok = true
			continue
		}
		down := parts.down(p)
		ok = ok || len(down) == 0
		if len(down) > 0 {
			why = append(why, fmt.Sprintf("policy %s: %s", p.Name, strings.Join(down, "; ")))
		}
	}
	return ok, why
}

// down lists the engines without which a policy cannot give a verdict.
func (p *parts) down(policy scan.Policy) []string {
	var down []string
	for _, f := range p.fleets {
		if slices.Contains(policy.Engines, f.Name()) && !f.Healthy() {
			down = append(down, "engine "+f.Name()+": "+details(f))
		}
	}
	if policy.Mode == scan.ModeFirst && len(down) < len(policy.Engines) {
		return nil
	}
	return down
}

func details(f *fleet.Fleet) string {
	var all []string
	for _, s := range f.Status() {
		all = append(all, s.Label+": "+s.Detail)
	}
	return strings.Join(all, ", ")
}
