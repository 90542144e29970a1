package extproc_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/spool"
)

// A response that cannot be held, and may pass, goes out although the request's
// release, of the same exchange, has all that may be released at once.
func TestBothLegsAreReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		pool, err := spool.New(spool.Config{MemoryBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		d.store = &ailing{Store: pool}
		d.policy.FailOpen = true
		d.config.ReleaseBytes = 1 << 20
		upload, download := extproctest.Random(1<<20, 1), extproctest.Random(256<<10, 2)
		res := extproctest.New(d.serve(t), profile("duplex")).Do(t.Context(), extproctest.Exchange{
			Request: extproctest.Message{Body: extproctest.Cut(upload, 64<<10)},
			Early:   true, EarlyAfter: 64 << 10,
			Origin: extproctest.Reply(extproctest.Message{Body: extproctest.Cut(download, 64<<10)}),
		})
		res.MustBeLawful(t)
		if res.Client.Size != int64(len(download)) {
			t.Errorf("the client saw %s and %d bytes", res.Client, res.Client.Size)
		}
		if r := <-d.records; r.Legs[scan.Response].Decision.Verdict.Cause != scan.CauseSpool {
			t.Errorf("recorded %+v", r.Legs)
		}
	})
}

// A release for which there is no room until the exchange's own deadline ends with an
// error: what would follow it must not go out in its place.
func TestReleaseWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		pool, err := spool.New(spool.Config{MemoryBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		d.store = &ailing{Store: pool}
		d.policy.FailOpen = true
		d.config.ReleaseBytes, d.config.SendTimeout, d.config.MaxExchange = 1<<20, time.Hour, time.Minute
		conn := d.serve(t)
		untaken(t, conn) // has all the room
		synctest.Wait()
		time.Sleep(10 * time.Second)
		res := extproctest.New(conn, profile("duplex")).Do(t.Context(), extproctest.Exchange{
			Origin: extproctest.Reply(extproctest.Message{Body: [][]byte{[]byte("held, "), []byte("not held")}}),
		})
		if res.Client.Size != 0 && !res.Client.Local {
			t.Errorf("the client saw %s and %q", res.Client, res.Client.Body)
		}
		if r := <-d.records; r.End != "expired" || r.Duration != time.Minute {
			t.Errorf("it ended after %v: %s", r.Duration, r.End)
		}
	})
}

// What was held is given back with the verdict, however long the answer takes.
func TestReleasedIsGivenBack(t *testing.T) {
	for _, p := range []string{"duplex", "buffered"} {
		t.Run(p, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor()
				conn := d.serve(t)
				res := extproctest.New(conn, profile(p)).Do(t.Context(), extproctest.Exchange{
					Request: extproctest.Message{Body: extproctest.Cut(extproctest.Random(100<<10, 1), 64<<10)},
					Origin: func(extproctest.Received) extproctest.Message {
						synctest.Wait()
						if u := d.pool.Usage(); u != (spool.Usage{}) {
							t.Errorf("still held when the origin has all of it: %+v", u)
						}
						return extproctest.Message{}
					},
				})
				res.MustBeLawful(t)
				if res.Client.Status != 200 {
					t.Errorf("the client saw %s", res.Client)
				}
			})
		})
	}
}

// ailing is a store whose bodies take their time to be read back, and of which the
// second breaks with its second piece.
type ailing struct {
	scan.Store
	opened int
}

func (a *ailing) Open(limit int64, digest bool) scan.Body {
	a.opened++
	return &ailingBody{Body: a.Store.Open(limit, digest), breaks: a.opened == 2}
}

type ailingBody struct {
	scan.Body
	breaks bool
}

func (b *ailingBody) Write(p []byte) (int, error) {
	if b.breaks && b.Size() > 0 {
		return 0, &scan.Error{Kind: scan.KindSpool, Op: "write", Err: errors.New("no space left on device")}
	}
	return b.Body.Write(p)
}

func (b *ailingBody) ReadAt(p []byte, off int64) (int, error) {
	time.Sleep(10 * time.Millisecond)
	return b.Body.ReadAt(p, off)
}
