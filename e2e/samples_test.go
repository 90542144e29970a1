package e2e_test

import (
	"context"
	"sync"
	"time"

	"github.com/portcullis-av/portcullis/e2e/rig"
)

// samples are of a process's memory, one every two seconds.
type samples struct {
	mu  sync.Mutex
	at  []time.Duration
	rss []float64
}

func (s *samples) take(ctx context.Context, p *rig.Portcullis) {
	start := time.Now()
	for ctx.Err() == nil {
		if u, err := p.Usage(); err == nil {
			s.mu.Lock()
			s.at, s.rss = append(s.at, time.Since(start)), append(s.rss, float64(u.RSS))
			s.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
}

// slope is by what part of itself memory grows in ten minutes, by the line that
// fits best; the first quarter is warm-up.
func (s *samples) slope() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := len(s.rss) / 4
	n := float64(len(s.rss) - from)
	if n < 2 {
		return 0
	}
	var x, y, xx, xy float64
	for i := from; i < len(s.rss); i++ {
		minutes := s.at[i].Minutes()
		x, y, xx, xy = x+minutes, y+s.rss[i], xx+minutes*minutes, xy+minutes*s.rss[i]
	}
	perMinute := (n*xy - x*y) / (n*xx - x*x)
	return 10 * perMinute / (y / n)
}

func (s *samples) most() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := 0.0
	for _, v := range s.rss {
		most = max(most, v)
	}
	return int64(most)
}
