package fleet

import "time"

// Retries within any 10 s are at most so many, or one in so many requests,
// whichever is more: an engine that breaks must not get more work for it.
const (
	fewRetries      = 3
	requestsAnRetry = 10
)

// budget bounds retries. It needs no pause before one: a retry goes to another
// instance, through the same bounded queue.
type budget struct{ recent window } // requests and retries

func (b *budget) request(now time.Duration) { b.recent.add(now, 1, 0) }

// take takes a retry if one is left.
func (b *budget) take(now time.Duration) bool {
	requests, retries := b.recent.sum(now)
	if retries >= max(fewRetries, requests/requestsAnRetry) {
		return false
	}
	b.recent.add(now, 0, 1)
	return true
}
