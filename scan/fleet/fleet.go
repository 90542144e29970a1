package fleet

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// Instance is one engine of a fleet.
type Instance struct {
	// Label tells instances apart in logs and metrics: an address, say.
	Label  string
	Engine scan.Engine
}

// Options bound a fleet. Zero values mean the defaults named.
type Options struct {
	// MaxInFlight is how many scans one instance gets at once; 10. A scan whose
	// caller left counts until the engine has freed its connection.
	MaxInFlight int
	// QueueTime is how long a scan waits for a free slot before it is overload; 1 s.
	QueueTime time.Duration
	// CanaryInterval is the time between probes of one instance; 30 s.
	CanaryInterval time.Duration
	// CanaryTimeout bounds one probe; 10 s.
	CanaryTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = 10
	}
	if o.QueueTime <= 0 {
		o.QueueTime = time.Second
	}
	if o.CanaryInterval <= 0 {
		o.CanaryInterval = 30 * time.Second
	}
	if o.CanaryTimeout <= 0 {
		o.CanaryTimeout = 10 * time.Second
	}
	return o
}

// Fleet is a [scan.Engine] made of instances. Run keeps its health up to date.
type Fleet struct {
	name    string
	opts    Options
	members []*member
	next    atomic.Uint32
	now     func() time.Time
}

// member is an instance with its slots and its health.
type member struct {
	Instance
	slots      chan struct{}
	answeredAt atomic.Int64 // UnixNano of the last complete verdict, 0 for never
	health     atomic.Pointer[Health]
}

var _ scan.Engine = (*Fleet)(nil)

// New returns a fleet of at least one instance under the engine's configured name.
func New(name string, instances []Instance, opts Options) (*Fleet, error) {
	if len(instances) == 0 {
		return nil, errors.New("engine " + name + " has no instance")
	}
	f := &Fleet{name: name, opts: opts.withDefaults(), now: time.Now}
	for _, i := range instances {
		m := &member{Instance: i, slots: make(chan struct{}, f.opts.MaxInFlight)}
		m.health.Store(&Health{Detail: "not probed yet"})
		f.members = append(f.members, m)
	}
	return f, nil
}

// Name is the engine's configured name.
func (f *Fleet) Name() string { return f.name }

// Scan asks one instance, and another one once if the first breaks: an engine
// that is unreachable or makes no sense is retried elsewhere, a time-out or a
// verdict never is.
func (f *Fleet) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	began := f.now()
	first := f.pick(nil)
	v, err := f.scanOn(ctx, first, o)
	if retryable(err) && ctx.Err() == nil {
		if second := f.pick(first); second != nil {
			v, err = f.scanOn(ctx, second, o)
		}
	}
	if scan.KindOf(err) == scan.KindTimeout && err != nil && f.answeredSince(began) {
		// Others got their answers meanwhile, so it is this content that takes
		// too long; a client must not reach fail-open with it.
		return scan.Verdict{
			Outcome: scan.OutcomeUnscannable, Cause: scan.CauseScanTimeout,
			Detail: "the engine did not finish this content in time, but answered others",
		}, nil
	}
	return v, err
}

func retryable(err error) bool {
	if err == nil {
		return false
	}
	switch scan.KindOf(err) {
	case scan.KindUnreachable, scan.KindProtocol, scan.KindOverload:
		return true
	case scan.KindInternal, scan.KindTimeout, scan.KindCanceled, scan.KindRefused, scan.KindSpool:
	}
	return false
}

// scanOn runs one scan in a slot of m.
func (f *Fleet) scanOn(ctx context.Context, m *member, o scan.Object) (scan.Verdict, error) {
	if err := f.enter(ctx, m); err != nil {
		return scan.Verdict{}, err
	}
	defer func() { <-m.slots }()
	v, err := m.Engine.Scan(ctx, o)
	if err == nil {
		m.answeredAt.Store(f.now().UnixNano())
	}
	return v, err
}

// enter takes a slot, waiting at most the queue time.
func (f *Fleet) enter(ctx context.Context, m *member) error {
	select {
	case m.slots <- struct{}{}:
		return nil
	default:
	}
	wait := time.NewTimer(f.opts.QueueTime)
	defer wait.Stop()
	select {
	case m.slots <- struct{}{}:
		return nil
	case <-wait.C:
		return &scan.Error{Kind: scan.KindOverload, Op: "wait for a free slot of engine " + f.name, Err: errBusy}
	case <-ctx.Done():
		return &scan.Error{Kind: scan.KindOf(ctx.Err()), Op: "wait for a free slot of engine " + f.name, Err: ctx.Err()}
	}
}

var errBusy = errors.New("every slot is taken")

// pick returns the healthy instance with the most free slots, taking turns among
// equals; without a healthy one any will do. It returns nil if only not is left.
func (f *Fleet) pick(not *member) *member {
	if len(f.members) == 1 {
		if f.members[0] == not {
			return nil
		}
		return f.members[0]
	}
	start := int(f.next.Add(1))
	var best *member
	for i := range f.members {
		m := f.members[(start+i)%len(f.members)]
		if m != not && (best == nil || m.betterThan(best)) {
			best = m
		}
	}
	return best
}

func (m *member) betterThan(o *member) bool {
	if a, b := m.health.Load().OK, o.health.Load().OK; a != b {
		return a
	}
	return len(m.slots) < len(o.slots)
}

func (f *Fleet) answeredSince(t time.Time) bool {
	for _, m := range f.members {
		if m.answeredAt.Load() >= t.UnixNano() {
			return true
		}
	}
	return false
}
