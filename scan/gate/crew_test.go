package gate_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/scan/gate"
)

// Tasks never wait for each other, whether or not a goroutine is idle.
func TestCrewRunsTasksAtOnce(t *testing.T) {
	for name, crew := range map[string]*gate.Crew{"none": nil, "crew": gate.NewCrew()} {
		synctest.Test(t, func(t *testing.T) {
			if crew != nil {
				crew = gate.NewCrew() // one of the bubble's
				defer crew.Close()
			}
			for range 3 { // from the second round on, goroutines are idle
				var all sync.WaitGroup
				meet := make(chan struct{})
				for range 8 {
					all.Add(2)
					crew.Go(func() { defer all.Done(); meet <- struct{}{} })
					crew.Go(func() { defer all.Done(); <-meet })
				}
				all.Wait()
				time.Sleep(time.Second)
			}
			t.Log(name)
		})
	}
}

// Nobody waits for ever for a task.
func TestCrewEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crew := gate.NewCrew()
		crew.Go(func() {})
		time.Sleep(time.Minute) // an idle goroutine that stayed would be a deadlock of the bubble
	})
	synctest.Test(t, func(t *testing.T) {
		crew := gate.NewCrew()
		crew.Go(func() {})
		crew.Close()
		crew.Close()
		crew.Go(func() {})
	})
}
