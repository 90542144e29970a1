package app

import (
	"context"
	"io"
	"time"

	"github.com/portcullis-av/portcullis/scan/fleet"
	"github.com/portcullis-av/portcullis/scan/gate"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// singles lets the ScanService use the gate.
type singles struct{ gate *gate.Gate }

var _ scanv1.Scanner = singles{}

// Scan implements [scanv1.Scanner].
func (s singles) Scan(ctx context.Context, r scanv1.Request, content io.Reader) (scanv1.Result, error) {
	got, err := s.gate.ScanSingle(ctx, gate.Single{Policy: r.Policy, Name: r.FileName, Labels: r.Labels}, content)
	if err != nil {
		return scanv1.Result{}, err
	}
	return scanv1.Result{
		Verdict: got.Decision.Verdict, Action: got.Decision.Action, Policy: got.Policy,
		Size: got.Size, SHA256: got.SHA256, Whole: got.Whole,
	}, nil
}

// engines lets the ScanService tell how the engines are.
type engines struct{ parts func() *parts }

var _ scanv1.Lister = engines{}

// Engines implements [scanv1.Lister].
func (e engines) Engines(context.Context) []scanv1.EngineState {
	var all []scanv1.EngineState
	now := e.parts()
	for _, f := range now.fleets {
		s := best(f)
		all = append(all, scanv1.EngineState{
			Name: f.Name(), Kind: now.kinds[f.Name()], Healthy: s.OK, Err: s.Err, Signatures: s.Signatures,
		})
	}
	return all
}

// best is the instance that speaks for a fleet: a healthy one if there is one.
func best(f *fleet.Fleet) fleet.Status {
	all := f.Status()
	for _, s := range all {
		if s.OK {
			return s
		}
	}
	return all[0]
}

// longestUpload is the time a single object may take to arrive: what the most
// patient policy allows.
func (p *parts) longestUpload() time.Duration {
	var longest time.Duration
	for _, p := range p.policies {
		longest = max(longest, p.UploadTimeout)
	}
	return longest
}
