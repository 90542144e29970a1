package gate

import (
	"sync"
	"time"
)

// crewIdle is how long a goroutine of a crew waits for its next task.
const crewIdle = 5 * time.Second

// Crew runs tasks in goroutines that are used again. An exchange needs several
// goroutines for a millisecond or so, and a fresh one grows its stack each time by
// copying it, step by step: that was a tenth of all CPU (profile of 10 KiB
// bodies). There is no bound: without an idle goroutine a new one begins.
//
// A nil Crew starts a goroutine for each task.
type Crew struct {
	tasks chan func()
	over  chan struct{}
	end   sync.Once
}

// NewCrew returns a crew without anyone in it yet. Close ends it.
func NewCrew() *Crew { return &Crew{tasks: make(chan func()), over: make(chan struct{})} }

// Go runs task in a goroutine; it never waits.
func (c *Crew) Go(task func()) {
	if c == nil {
		go task()
		return
	}
	select {
	case c.tasks <- task:
	default:
		go c.serve(task)
	}
}

// Close lets idle goroutines go, and busy ones after their task.
func (c *Crew) Close() {
	if c != nil {
		c.end.Do(func() { close(c.over) })
	}
}

func (c *Crew) serve(task func()) {
	idle := time.NewTimer(crewIdle)
	defer idle.Stop()
	for {
		task()
		idle.Reset(crewIdle)
		select {
		case task = <-c.tasks:
		case <-idle.C:
			return
		case <-c.over:
			return
		}
	}
}
