package cache

import (
	"context"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// MaxCleanTTL and maxInfectedTTL are the longest that verdicts are kept, whatever
// the configuration says: a CLEAN may be overtaken by signatures that the engine
// does not announce, an INFECTED only by the withdrawal of a false alarm.
const (
	MaxCleanTTL    = 15 * time.Minute
	maxInfectedTTL = 24 * time.Hour
)

// Config bounds a cache.
type Config struct {
	// MemoryEntries is how many verdicts are kept in this process; one takes
	// about 250 bytes. 0 or less switches the whole cache off.
	MemoryEntries int
	// TTL is how long a verdict is kept: CLEAN never longer than 15 minutes,
	// INFECTED never longer than 24 hours. 0 or less means 15 minutes.
	TTL time.Duration
	// Redis is shared by replicas; nil means there is none.
	Redis *Redis
}

// Cache is the store behind any number of engines. It is safe for concurrent use.
type Cache struct {
	cleanTTL, infectedTTL time.Duration
	off                   bool
	memory                *memory
	shared                shared
}

// shared is the tier beyond this process.
type shared interface {
	// get returns a verdict and how long it is still good; any trouble is a miss.
	get(ctx context.Context, k key) (entry, time.Duration, bool)
	// put stores later, or drops. It does not wait.
	put(k key, e entry, ttl time.Duration)
	run(ctx context.Context, changed Changed)
	stats() SharedStats
}

// New returns an empty cache. It connects to nothing; the error is about Redis's
// secret files.
func New(c Config) (*Cache, error) {
	if c.TTL <= 0 {
		c.TTL = MaxCleanTTL
	}
	made := &Cache{
		cleanTTL: min(c.TTL, MaxCleanTTL), infectedTTL: min(c.TTL, maxInfectedTTL),
		off: c.MemoryEntries <= 0, shared: alone{},
	}
	if made.off {
		return made, nil
	}
	made.memory = newMemory(c.MemoryEntries)
	if c.Redis != nil {
		tier, err := newRedisTier(*c.Redis)
		if err != nil {
			return nil, err
		}
		made.shared = tier
	}
	return made, nil
}

// Changed is told when the use of Redis begins or ends, and at the start that it
// cannot begin. Why is nil when it is up, and holds neither a secret nor the
// server's own text.
type Changed func(up bool, why error)

// Run keeps the connection to Redis, and is the only one to write to it, until
// ctx ends. Until Run has reached Redis, and after it has returned, the cache
// works from memory alone. Changed is called from Run only.
func (c *Cache) Run(ctx context.Context, changed Changed) { c.shared.run(ctx, changed) }

func (c *Cache) ttlOf(e entry) time.Duration {
	if e.infected {
		return c.infectedTTL
	}
	return c.cleanTTL
}

// Stats are counted since the start.
type Stats struct {
	// Entries is about how many verdicts are in memory, expired ones included.
	Entries int
	Shared  SharedStats
}

// SharedStats says how the tier beyond this process does.
type SharedStats struct {
	// Configured is false without Redis; the rest is then zero.
	Configured bool
	// Up is whether lookups are being sent.
	Up bool
	// Errors are lookups and writes that failed or were too slow.
	Errors uint64
	// Rejected are entries that were there and not believed: garbage, or a wrong HMAC.
	Rejected uint64
	// Written are verdicts stored; Dropped are those given up, as the queue was
	// full or Redis down.
	Written, Dropped uint64
}

// Stats may be called at any time.
func (c *Cache) Stats() Stats {
	s := Stats{Shared: c.shared.stats()}
	if !c.off {
		s.Entries = c.memory.len()
	}
	return s
}

// alone is the shared tier where there is none.
type alone struct{}

func (alone) get(context.Context, key) (entry, time.Duration, bool) { return entry{}, 0, false }
func (alone) put(key, entry, time.Duration)                         {}
func (alone) run(context.Context, Changed)                          {}
func (alone) stats() SharedStats                                    { return SharedStats{} }

// entry is a verdict as it is kept.
type entry struct {
	infected bool
	threats  []string // safe names; never changed
}

const maxThreats = 16 // names kept of one verdict

// entryOf returns the form in which a verdict is kept. It is false for every
// verdict but a complete CLEAN or INFECTED one.
func entryOf(v scan.Verdict) (entry, bool) {
	switch {
	case v.Outcome == scan.OutcomeClean && v.Cause == scan.CauseScanned && len(v.Threats) == 0:
		return entry{}, true
	case v.Outcome == scan.OutcomeInfected && v.Cause == scan.CauseMalware:
		names := scan.SafeThreats(v.Threats)
		return entry{infected: true, threats: names[:min(len(names), maxThreats)]}, true
	}
	return entry{}, false
}

// verdict is what the engine said, as far as it was kept.
func (e entry) verdict() scan.Verdict {
	if !e.infected {
		return scan.CleanVerdict()
	}
	return scan.InfectedVerdict(append([]string(nil), e.threats...)...)
}
