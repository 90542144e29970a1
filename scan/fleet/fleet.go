package fleet

import (
	"context"
	"errors"
	"io"
	"sync"
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
	// caller left counts until the engine has freed its connection. Probes come
	// on top.
	MaxInFlight int
	// QueueTime is how long a scan waits for a free slot of any instance before
	// it is overload; 1 s.
	QueueTime time.Duration
	// CanaryInterval is the time between probes of one instance; 30 s.
	CanaryInterval time.Duration
	// CanaryTimeout bounds one probe; 10 s.
	CanaryTimeout time.Duration
	// ScanTimeout is what the engine itself allows a scan, if that is bounded at
	// all; none.
	ScanTimeout time.Duration
	// Asking is called when an instance is given a scan, after the wait for it.
	// The context is for the instance; told gets what it answered. Nil is nobody.
	Asking func(ctx context.Context) (asked context.Context, told func(scan.Verdict, error))
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
	if o.Asking == nil {
		o.Asking = unasked
	}
	return o
}

func unasked(ctx context.Context) (asked context.Context, told func(scan.Verdict, error)) {
	return ctx, func(scan.Verdict, error) {}
}

// Fleet is a [scan.Engine] made of instances. Run keeps its health up to date.
type Fleet struct {
	name    string
	opts    Options
	members []*member
	epoch   time.Time    // times are kept as durations since, by the monotonic clock
	watched atomic.Int32 // Runs under way

	mu      sync.Mutex // guards what follows, and what members say it guards
	turn    int
	waiting []*waiter
	budget  budget
	took    durations
	poison  poison
	refused uint64
}

var _ scan.Engine = (*Fleet)(nil)

// New returns a fleet of at least one instance under the engine's configured name.
func New(name string, instances []Instance, opts Options) (*Fleet, error) {
	if len(instances) == 0 {
		return nil, errors.New("engine " + name + " has no instance")
	}
	f := &Fleet{
		name: name, opts: opts.withDefaults(), poison: newPoison(),
		epoch: time.Now().Add(-time.Second), // so that 0 can mean never
	}
	for _, i := range instances {
		m := &member{Instance: i, sooner: make(chan time.Duration, 1)}
		m.health.Store(&Health{Detail: "not probed yet"})
		f.members = append(f.members, m)
	}
	return f, nil
}

// Name is the engine's configured name.
func (f *Fleet) Name() string { return f.name }

// now is the time since the fleet was made. Nobody can set that clock.
func (f *Fleet) now() time.Duration { return time.Since(f.epoch) }

// Scan asks one instance, and another one once if the first breaks: an engine
// that is unreachable, busy or makes no sense is retried elsewhere while the
// budget lasts, a time-out or a verdict never is.
//
// Three verdicts are the fleet's own, all UNSCANNABLE, so that no content can
// choose fail-open: scan-timeout for content that took too long while the engine
// answered others; engine-limit for content in whose middle the connections to
// two steady instances broke; and, for two minutes, the same again for content
// that did either twice, without asking.
//
// Errors are the engine's, and KindOverload when no slot was free in time,
// KindUnreachable, at once, when every instance is out of use, or KindProtocol
// when that is because none detects the known-bad object. While Run waits for
// its first probe to end scans wait too, as they do for a slot, and then it is
// KindUnreachable: nobody knows yet whether the engine detects anything.
func (f *Fleet) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	if v, refused := f.admit(ctx, o); refused {
		return v, nil
	}
	patience := f.opts.QueueTime
	first := f.attempt(ctx, o, nil, &patience)
	if first.conclusive() || !f.mayRetry(ctx) {
		return first.verdict, first.err
	}
	second := f.attempt(ctx, o, first.member, &patience)
	if second.member == nil {
		return first.verdict, first.err // nobody else was to be had
	}
	f.countRetry(second.member)
	return second.verdict, second.err
}

// admit counts a request, and refuses content that is known to hurt.
func (f *Fleet) admit(ctx context.Context, o scan.Object) (scan.Verdict, bool) {
	left := time.Duration(-1)
	if end, ok := ctx.Deadline(); ok {
		left = time.Until(end)
	}
	sum := sumIf(f.poison.some.Load(), o)
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	f.budget.request(now)
	v, refused := f.poison.refuses(sum, left, now)
	if refused {
		f.refused++
	}
	return v, refused
}

// sumIf is the digest of o if it is wanted: taking it may mean to read o again.
func sumIf(wanted bool, o scan.Object) [32]byte {
	if !wanted {
		return [32]byte{}
	}
	return o.Digest()
}

// attempt is what asking one instance came to.
type attempt struct {
	member  *member // nil when none was asked
	verdict scan.Verdict
	err     error
}

// conclusive reports whether nothing is gained by asking another instance.
func (a attempt) conclusive() bool {
	if a.err == nil || a.member == nil {
		return true
	}
	switch scan.KindOf(a.err) {
	case scan.KindUnreachable, scan.KindProtocol, scan.KindOverload:
		return false
	case scan.KindInternal, scan.KindTimeout, scan.KindCanceled, scan.KindRefused, scan.KindSpool:
	}
	return true
}

// attempt asks an instance that is not avoid.
func (f *Fleet) attempt(ctx context.Context, o scan.Object, avoid *member, patience *time.Duration) (a attempt) {
	c, err := f.acquire(ctx, o.Size, avoid, patience)
	if err != nil {
		return attempt{err: err}
	}
	a.member = c.member
	suspect := time.AfterFunc(f.suspicionAfter(ctx), func() { f.suspect(c) })
	defer suspect.Stop()
	content := &touched{ReaderAt: o.Content}
	asked := o
	asked.Content = content
	a.err = errPanicked // stays when the engine panics, which is the caller's to recover
	defer func() {
		sum := sumIf(suspicious(a.err) || f.poison.some.Load(), o)
		a.verdict, a.err = f.release(c, sum, content.read.Load(), a.verdict, a.err)
	}()
	ctx, told := f.opts.Asking(ctx)
	defer func() { told(a.verdict, a.err) }()
	a.verdict, a.err = c.member.Engine.Scan(ctx, asked)
	return a
}

// suspicious reports whether the content may be to blame for a failure.
func suspicious(err error) bool {
	if err == nil {
		return false
	}
	kind := scan.KindOf(err)
	return kind == scan.KindTimeout || kind == scan.KindUnreachable
}

var errPanicked = &scan.Error{Kind: scan.KindInternal, Op: "scan", Err: errors.New("the engine panicked")}

// suspicion is the part of the canary interval for which an instance may answer
// nobody, at most, before it is probed out of turn.
const suspicion = 6

// suspicionAfter is how long a scan may take until its instance is suspected. It
// leaves the probe half of the time in which the scan must end: where canaries are
// rare or deadlines short, content that hangs would look like an engine that does.
func (f *Fleet) suspicionAfter(ctx context.Context) time.Duration {
	after := f.opts.CanaryInterval / suspicion
	if own := f.opts.ScanTimeout; own > 0 {
		after = min(after, own/2)
	}
	if end, ok := ctx.Deadline(); ok {
		after = min(after, time.Until(end)/2)
	}
	return after
}

// suspect has an instance probed that answered nobody since a scan began, so that
// it is known whom to blame when that scan times out: the content or the engine.
func (f *Fleet) suspect(c *call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.member.answered <= c.began {
		c.member.probeIn(0)
	}
}

// touched tells whether an engine began to read the content.
type touched struct {
	io.ReaderAt
	read atomic.Bool
}

// ReadAt implements [io.ReaderAt].
func (t *touched) ReadAt(p []byte, off int64) (int, error) {
	t.read.Store(true)
	return t.ReaderAt.ReadAt(p, off)
}

// SHA256 is the content's own, if it has one.
func (t *touched) SHA256() [32]byte { return scan.Object{Content: t.ReaderAt}.Digest() }

// mayRetry takes a retry from the budget if there is one and time for it.
func (f *Fleet) mayRetry(ctx context.Context) bool {
	if ctx.Err() != nil || len(f.members) == 1 {
		return false
	}
	end, bounded := ctx.Deadline()
	f.mu.Lock()
	defer f.mu.Unlock()
	if bounded && time.Until(end) < f.took.p99() {
		return false
	}
	return f.budget.take(f.now())
}

func (f *Fleet) countRetry(m *member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.retries++
}
