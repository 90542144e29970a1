package cloudmersive

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	minJitter = 50 * time.Millisecond
	maxJitter = 500 * time.Millisecond
	// maxRetryAfter is the longest wait the service may ask for. If it wants
	// more, the scan fails now: trying sooner would be refused again and billed.
	maxRetryAfter = 10 * time.Second
	// minAttempt must be left of the deadline, or a second attempt could only
	// turn the first one's error into a time-out.
	minAttempt = 250 * time.Millisecond
)

// mayRetry lists the statuses after which the same request may succeed. All
// others stay: 400, 401 (which may be the quota), 402, 403, 404, 413, 415, 422 …
func mayRetry(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryDelay says how long to wait before the second attempt, and whether to
// make one at all.
func retryDelay(ctx context.Context, r result) (time.Duration, bool) {
	asked := parseRetryAfter(r.retryAfter, time.Now())
	if asked > maxRetryAfter {
		return 0, false
	}
	// The jitter is added, so that scans refused together do not come back together.
	delay := asked + minJitter + rand.N(maxJitter-minJitter)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < delay+minAttempt {
		return 0, false
	}
	return delay, true
}

// parseRetryAfter reads seconds or a date (RFC 9110 section 10.2.3); anything
// else, and a date gone by, is 0.
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if isDigits(value) {
		seconds, err := strconv.ParseInt(value, 10, 32)
		if err != nil { // only the size can be wrong
			return maxRetryAfter + 1
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now))
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// wait returns nil after d, or the error for ctx if that ends first.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}
