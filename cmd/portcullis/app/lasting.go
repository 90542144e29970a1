package app

import (
	"context"
	"io"
)

// lasting is what configurations in a row may share: an engine or a cache that
// one of them made and the next did not change. Only the goroutine that builds
// and releases configurations touches it.
type lasting struct {
	key     string                // the same key is the same thing
	run     func(context.Context) // its work in the background; nil for none
	closers []io.Closer           // what it keeps open

	users int // configurations that hold it
	stop  context.CancelFunc
	done  chan struct{}
}

// start begins the background work unless it is under way.
func (l *lasting) start(ctx context.Context) {
	if l.run == nil || l.stop != nil {
		return
	}
	ctx, l.stop = context.WithCancel(ctx)
	l.done = make(chan struct{})
	go func() {
		defer close(l.done)
		l.run(ctx)
	}()
}

// leave ends all of it with its last user, and returns when it has ended.
func (l *lasting) leave() {
	if l.users--; l.users > 0 {
		return
	}
	if l.stop != nil {
		l.stop()
		<-l.done
	}
	for _, c := range l.closers {
		_ = c.Close()
	}
}
