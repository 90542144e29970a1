package gate_test

import (
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// Above the bound of exchanges, and while the spool is nearly full, no new body
// is begun: it is answered with an ERROR that fail-open does not pass. What needs
// no room is served as ever.
func TestAdmission(t *testing.T) {
	for name, change := range map[string]func(*gate.Setup){
		"exchanges": func(s *gate.Setup) { s.MaxExchanges = 1 },
		"spool":     func(s *gate.Setup) { s.Full = func() bool { return true } },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig()
			failOpen(&r.policy)
			r.policy.ScanResponse = false
			s := r.setup()
			change(&s)
			g := gate.New(s)
			first := g.Begin(t.Context(), gate.Head{}, "")
			x := g.Begin(t.Context(), gate.Head{}, "")
			d := x.Plan(scan.Request, gate.Head{ContentLength: 10}, true).Decision
			if d.Action != scan.Block || d.Verdict.Outcome != scan.OutcomeError || d.Verdict.Cause != scan.CauseOverload {
				t.Errorf("planned %+v", d)
			}
			if d := x.Plan(scan.Request, gate.Head{Empty: true}, true).Decision; d.Action != scan.Pass {
				t.Errorf("empty: planned %+v", d)
			}
			if d := x.Plan(scan.Response, gate.Head{ContentLength: 10}, true).Decision; d.Action != scan.Pass {
				t.Errorf("not covered: planned %+v", d)
			}
			first.Finish("over")
			x.Finish("over")
		})
	}
}

// When an exchange is over, the next one has its place.
func TestPlacesAreGivenBack(t *testing.T) {
	r := newRig()
	s := r.setup()
	s.MaxExchanges = 1
	g := gate.New(s)
	for range 3 {
		x := g.Begin(t.Context(), gate.Head{}, "")
		if !x.Plan(scan.Request, gate.Head{ContentLength: 10}, true).Hold {
			t.Fatal("the body is not held")
		}
		x.Finish("over")
	}
}

// A response that by its type never ends is not waited for; an upload of that
// type ends as any other.
func TestEndlessResponse(t *testing.T) {
	for _, c := range []struct {
		leg     scan.Leg
		lines   []string
		endless bool
	}{
		{scan.Response, []string{"text/event-stream"}, true},
		{scan.Response, []string{" Text/Event-Stream ; charset=utf-8"}, true},
		{scan.Response, []string{"text/plain", "text/event-stream"}, true},
		{scan.Response, []string{"text/event-streams"}, false},
		{scan.Response, nil, false},
		{scan.Request, []string{"text/event-stream"}, false},
	} {
		r := newRig()
		x := r.begin()
		p := x.Plan(c.leg, gate.Head{ContentLength: -1, Labels: scan.Labels{ContentType: c.lines}}, true)
		endless := p.Decision.Action == scan.Block && p.Decision.Verdict.Cause == scan.CauseEndlessStream
		if endless != c.endless || p.Hold == c.endless {
			t.Errorf("%v %q: planned %+v", c.leg, c.lines, p)
		}
		x.Finish("over")
	}
}

// A piece of a content is refused unread or, by policy, held and scanned. It
// passes only if the piece itself may, and is marked even then: what is beside
// it was not seen.
func TestPartialContent(t *testing.T) {
	partial := func(*scan.Policy) {}
	passPartial := func(p *scan.Policy) { p.PassPartial = true }
	for name, c := range map[string]struct {
		change  func(*scan.Policy)
		engine  scan.Engine
		hold    bool
		outcome scan.Outcome
		cause   scan.Cause
		action  scan.Action
	}{
		"refused unread":        {partial, panics, false, scan.OutcomeUnscannable, scan.CausePartialContent, scan.Block},
		"clean":                 {passPartial, clean, true, scan.OutcomeUnscannable, scan.CausePartialContent, scan.Pass},
		"infected":              {passPartial, infected, true, scan.OutcomeInfected, scan.CauseMalware, scan.Block},
		"encrypted":             {passPartial, says(verdict(scan.OutcomePolicy, scan.CauseEncrypted)), true, scan.OutcomePolicy, scan.CauseEncrypted, scan.Block},
		"unscannable by itself": {passPartial, says(verdict(scan.OutcomeUnscannable, scan.CauseEngineLimit)), true, scan.OutcomeUnscannable, scan.CauseEngineLimit, scan.Block},
		"engine is down":        {passPartial, fails(scan.KindUnreachable), true, scan.OutcomeError, scan.CauseEngineUnreachable, scan.Block},
		"down, but fails open": {
			func(p *scan.Policy) { p.PassPartial, p.FailOpen = true, true }, fails(scan.KindUnreachable), true,
			scan.OutcomeUnscannable, scan.CausePartialContent, scan.Pass,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig()
			c.change(&r.policy)
			r.engines["av"] = c.engine
			s := r.setup()
			s.Partial = func(scan.Leg, gate.Head) (string, bool) { return "a range", true }
			x := gate.New(s).Begin(t.Context(), gate.Head{}, "")
			defer x.Finish("over")
			p := x.Plan(scan.Request, gate.Head{ContentLength: 10}, true)
			d := p.Decision
			if p.Hold {
				x.Append(scan.Request, []byte(strings.Repeat("x", 10)))
				done := make(chan gate.Judgement, 1)
				x.Judge(t.Context(), scan.Request, func(j gate.Judgement) { done <- j })
				d = x.Decide(scan.Request, <-done)
			}
			if p.Hold != c.hold || d.Verdict.Outcome != c.outcome || d.Verdict.Cause != c.cause || d.Action != c.action {
				t.Errorf("hold %v, decided %+v", p.Hold, d)
			}
		})
	}
}
