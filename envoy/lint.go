package envoy

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Level says how bad a finding is.
type Level string

const (
	// LevelError: bodies pass unscanned, clean ones are refused or changed, or
	// exchanges hang.
	LevelError Level = "error"
	// LevelWarn: it holds today and breaks easily, or costs more than it should.
	LevelWarn Level = "warn"
	// LevelInfo: worth knowing; often on purpose.
	LevelInfo Level = "info"
)

// Finding is one setting that weakens the gate.
type Finding struct {
	// Rule is the rule's name, L1 to L31; docs name them all.
	Rule  string
	Level Level
	// Path is where the setting stands, with Envoy's or Kubernetes' field names:
	// static_resources.listeners[0]. ... If several documents were read, the kind
	// and the name of the object, or document[0], stand before it.
	Path string
	// Why says what happens, Fix what to write instead.
	Why, Fix string
}

// String is one line without a line break at its end.
func (f Finding) String() string {
	return fmt.Sprintf("%s %s %s: %s %s", f.Level, f.Rule, f.Path, f.Why, f.Fix)
}

// Linter knows what Portcullis is set up to do. The zero value assumes its
// defaults.
type Linter struct {
	// Filter limits the rules to external processors of this name in
	// http_filters. Empty means that every one is Portcullis; none of this name is a
	// finding.
	Filter string
	// ScanTimeout and UploadTimeout are the longest ones of Portcullis' policies;
	// 30 s and 5 min when 0.
	ScanTimeout, UploadTimeout time.Duration
	// MaxBodyBytes is the largest body that must pass in buffered mode; not
	// checked when 0.
	MaxBodyBytes int64
	// ReceiveLimit is the largest gRPC message that Portcullis takes, in bytes;
	// not checked when 0.
	ReceiveLimit int64
	// Exchanges is how many exchanges may run at once; 4096 when 0.
	Exchanges int
	// EnvoyVersion is the release that will run the configuration, such as
	// "1.40.0"; not checked when empty.
	EnvoyVersion string
}

// Lint finds the settings that silently turn a correct processor into a bypass
// or a trap. It takes Envoy bootstraps, config dumps, Istio EnvoyFilters and the
// policies of Envoy Gateway, YAML or JSON, any number of documents; other
// Kubernetes objects are passed over. Findings come worst first.
//
// The error says why nothing could be read at all. What can be read and is
// wrong is a finding.
func Lint(config []byte) ([]Finding, error) { return Linter{}.Lint(config) }

// Lint is [Lint] with knowledge of Portcullis' own settings.
func (o Linter) Lint(config []byte) ([]Finding, error) {
	o.ScanTimeout = orDefault(o.ScanTimeout, 30*time.Second)
	o.UploadTimeout = orDefault(o.UploadTimeout, 5*time.Minute)
	o.Exchanges = orDefault(o.Exchanges, 4096)
	l := &lint{Linter: o, subject: newSubject()}
	if err := l.read(config); err != nil {
		return nil, err
	}
	l.checkGates()
	l.checkPerRoute()
	l.checkManagers()
	l.checkClusters()
	l.checkBuffers()
	l.checkIstio()
	l.checkGateway()
	l.checkVersion()
	slices.SortStableFunc(l.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Level.rank(), b.Level.rank()), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Why, b.Why))
	})
	return slices.Compact(l.found), nil // listeners may share their routes
}

func (l Level) rank() int { return slices.Index([]Level{LevelError, LevelWarn, LevelInfo}, l) }

// lint is one run.
type lint struct {
	Linter
	subject
	found []Finding
}

func (l *lint) add(level Level, rule, path, why, fix string) {
	l.found = append(l.found, Finding{Rule: rule, Level: level, Path: path, Why: why, Fix: fix})
}

// leg is the longest time one leg may be held.
func (l *lint) leg() time.Duration { return l.UploadTimeout + l.ScanTimeout + time.Second }
