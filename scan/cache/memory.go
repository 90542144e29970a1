package cache

import (
	"time"

	"github.com/maypok86/otter/v2"
)

// memory is the tier inside this process, bounded by its number of entries.
//
// It looks at an entry's age itself when it is read, by the monotonic clock: so
// no goroutine is needed that somebody must stop, and a clock that is set changes
// nothing. What has expired makes room when others need it.
type memory struct {
	cache *otter.Cache[key, kept]
	begun time.Time
}

// kept is an entry and its end, as time since the memory was made.
type kept struct {
	entry
	until time.Duration
}

func newMemory(entries int) *memory {
	return &memory{
		cache: otter.Must(&otter.Options[key, kept]{MaximumSize: entries}),
		begun: time.Now(),
	}
}

func (m *memory) get(k key) (entry, bool) {
	found, ok := m.cache.GetIfPresent(k)
	if !ok || time.Since(m.begun) >= found.until {
		return entry{}, false
	}
	return found.entry, true
}

// put keeps e, unless INFECTED is known already and e would call it CLEAN. It
// returns what stands in the end.
func (m *memory) put(k key, e entry, ttl time.Duration) entry {
	now := time.Since(m.begun)
	stands := e
	m.cache.Compute(k, func(old kept, found bool) (kept, otter.ComputeOp) {
		if found && old.infected && !e.infected && now < old.until {
			stands = old.entry
			return old, otter.CancelOp
		}
		stands = e
		return kept{entry: e, until: now + ttl}, otter.WriteOp
	})
	return stands
}

func (m *memory) len() int { return m.cache.EstimatedSize() }
