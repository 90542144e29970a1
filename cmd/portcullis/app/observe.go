package app

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// observer writes one log line and updates the metrics once for every exchange.
type observer struct {
	log     *slog.Logger
	metrics *metrics
}

var _ gate.Observer = (*observer)(nil)

// Words for a leg that has no verdict, beside the outcomes and causes.
const (
	outcomeSkipped   = "SKIPPED" // the policy does not scan this leg
	causeOutOfScope  = "out-of-scope"
	outcomeUndecided = "UNDECIDED" // cut off before a verdict; nothing of it passed
	causeAborted     = "aborted"
)

// Observe implements [gate.Observer].
func (o *observer) Observe(r *gate.Record) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("exchange", r.ID),
		slog.String("policy", r.Policy),
		slog.String("policy_hash", r.Revision),
		slog.String("end", r.End),
		slog.Float64("seconds", r.Duration.Seconds()),
	}
	attrs = appendText(attrs, "trace_id", r.TraceID)
	attrs = appendText(attrs, "request_id", r.RequestID)
	attrs = appendText(attrs, "method", r.Method)
	attrs = appendText(attrs, "host", r.Host)
	// A query may hold secrets; the path names the resource well enough.
	path, _, _ := strings.Cut(r.Path, "?")
	attrs = appendText(attrs, "path", path)
	o.metrics.exchange(r)
	for _, l := range [...]scan.Leg{scan.Request, scan.Response} {
		leg := &r.Legs[l]
		if !leg.Seen {
			continue
		}
		o.metrics.leg(l, leg)
		attrs = append(attrs, slog.Attr{Key: l.String(), Value: slog.GroupValue(legAttrs(leg)...)})
		if leg.Decided && leg.Decision.Covered && leg.Decision.Verdict.Outcome != scan.OutcomeClean {
			level = slog.LevelWarn
		}
	}
	o.log.LogAttrs(nil, level, "exchange", attrs...) //nolint:staticcheck // no context belongs to a finished exchange
}

func legAttrs(leg *gate.LegRecord) []slog.Attr {
	outcome, cause, action := legWords(leg)
	attrs := []slog.Attr{
		slog.String("outcome", outcome),
		slog.String("cause", cause),
		slog.String("action", action),
		slog.Int64("bytes", leg.Bytes),
	}
	if leg.Objects > 0 {
		attrs = append(attrs, slog.Int("objects", leg.Objects), slog.Float64("judged_seconds", leg.Judged.Seconds()))
	}
	v := leg.Decision.Verdict
	attrs = appendText(attrs, "engine", v.Engine)
	attrs = appendText(attrs, "object", v.Object)
	if threats := scan.SafeThreats(v.Threats); len(threats) > 0 {
		attrs = append(attrs, slog.String("threats", strings.Join(threats, ",")))
	}
	attrs = appendText(attrs, "detail", v.Detail)
	if len(leg.Tree.Objects) > 0 {
		attrs = append(attrs, slog.Any("tree", logTree(leg.Tree)))
	}
	return attrs
}

// logTree lists objects in few words, one text each: path, type, size, digest and
// verdict. None of it is foreign text.
func logTree(t gate.Tree) []string {
	var all []string
	for _, o := range objectLines(t) {
		text := fmt.Sprintf("%s %s %d %s %s %s", o.Path, o.Type, o.Size, o.SHA256, o.Outcome, o.Cause)
		all = append(all, strings.TrimSpace(text))
	}
	if t.Omitted > 0 {
		all = append(all, fmt.Sprintf("and %d more", t.Omitted))
	}
	return all
}

// legWords says of any leg what became of it, in words of closed lists.
func legWords(leg *gate.LegRecord) (outcome, cause, action string) {
	switch {
	case !leg.Decided:
		return outcomeUndecided, causeAborted, scan.Block.String()
	case !leg.Decision.Covered:
		return outcomeSkipped, causeOutOfScope, leg.Decision.Action.String()
	}
	v := leg.Decision.Verdict
	return v.Outcome.String(), string(v.Cause), leg.Decision.Action.String()
}

// maxText bounds foreign text in a log line, in runes; the handlers escape it.
const maxText = 256

func appendText(attrs []slog.Attr, key, text string) []slog.Attr {
	if text == "" {
		return attrs
	}
	if utf8.RuneCountInString(text) > maxText {
		text = string([]rune(text)[:maxText]) + "…"
	}
	return append(attrs, slog.String(key, text))
}

// metrics of bodies. Every label comes from a closed list.
type metrics struct {
	exchanges *prometheus.CounterVec

	legs   *prometheus.CounterVec
	bytes  *prometheus.HistogramVec
	held   *prometheus.HistogramVec
	judged *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	seconds := []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	m := &metrics{
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_policy_exchanges_total",
			Help: "Exchanges by policy and its version. Replicas that judge alike have the same hashes.",
		}, []string{"policy", "hash"}),
		legs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portcullis_legs_total",
			Help: "Legs of exchanges by what became of them. outcome=ERROR with action=pass is fail-open.",
		}, []string{"leg", "outcome", "cause", "action"}),
		bytes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "portcullis_body_bytes", Help: "Bytes of held bodies.",
			Buckets: []float64{0, 1 << 10, 10 << 10, 100 << 10, 1 << 20, 10 << 20, 100 << 20, 1 << 30},
		}, []string{"leg"}),
		held: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "portcullis_held_seconds", Help: "Time from a covered leg's headers to its decision, the upload included.",
			Buckets: seconds,
		}, []string{"leg"}),
		judged: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "portcullis_judged_seconds", Help: "Time to unwrap and scan a complete body.",
			Buckets: seconds,
		}, []string{"leg"}),
	}
	r.MustRegister(m.exchanges, m.legs, m.bytes, m.held, m.judged)
	return m
}

// begin shows policies that are in use from now on.
func (m *metrics) begin(policies []scan.Policy) {
	for _, p := range policies {
		m.exchanges.WithLabelValues(p.Name, p.Revision)
	}
}

// end forgets those that nothing is under any more.
func (m *metrics) end(policies, inUse []scan.Policy) {
	for _, p := range policies {
		if !slices.ContainsFunc(inUse, func(q scan.Policy) bool { return p.Name == q.Name && p.Revision == q.Revision }) {
			m.exchanges.DeleteLabelValues(p.Name, p.Revision)
		}
	}
}

// exchange counts one; without a policy it is counted by its cause alone.
func (m *metrics) exchange(r *gate.Record) {
	if r.Revision != "" {
		m.exchanges.WithLabelValues(r.Policy, r.Revision).Inc()
	}
}

func (m *metrics) leg(l scan.Leg, r *gate.LegRecord) {
	outcome, cause, action := legWords(r)
	m.legs.WithLabelValues(l.String(), outcome, cause, action).Inc()
	if !r.Decided || !r.Decision.Covered {
		return
	}
	m.bytes.WithLabelValues(l.String()).Observe(float64(r.Bytes))
	m.held.WithLabelValues(l.String()).Observe(r.Held.Seconds())
	if r.Objects > 0 {
		m.judged.WithLabelValues(l.String()).Observe(r.Judged.Seconds())
	}
}
