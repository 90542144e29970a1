package extproc

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
)

// drive feeds one event to a machine as the stream does, in words.
type drive struct {
	t *testing.T
	m machine
}

func newDrive(t *testing.T, request, response mode) *drive {
	d := &drive{t: t}
	d.m.modes(request, response)
	return d
}

const (
	toHold = iota
	toPass
	toBlock
)

func (d *drive) headers(l scan.Leg, end bool, plan int) (own bool) {
	_, own, ok := d.m.opens(l)
	if ok {
		d.m.planned(l, end, plan == toHold, plan == toPass)
	}
	return own
}

// want compares the actions that are due, each in one word or two.
func (d *drive) want(words ...string) {
	d.t.Helper()
	var got []string
	for _, a := range d.m.take() {
		got = append(got, a.leg.String()+" "+a.describe())
	}
	if diff := cmp.Diff(words, got); diff != "" {
		d.t.Errorf("actions (-want +got):\n%s", diff)
	}
}

func (a action) describe() string {
	s := a.kind.String()
	switch {
	case a.kind == release:
		s += [...]string{" then end", " then trailers", " then more"}[a.tail]
	case a.kind == sendChunk && a.end:
		s += " end"
	case a.kind == fail:
		s += ": " + a.why
	}
	if a.marked {
		s += " marked"
	}
	return s
}

// A FULL_DUPLEX body is answered with nothing until the verdict, then at once.
func TestDuplexHoldsEverythingUntilTheVerdict(t *testing.T) {
	for name, end := range map[string]func(d *drive){
		"flag on the last chunk": func(d *drive) { d.m.bodyCame(scan.Request, payload{[]byte("b")}, true) },
		"empty final chunk": func(d *drive) {
			d.m.bodyCame(scan.Request, payload{[]byte("b")}, false)
			d.want("request hold")
			d.m.bodyCame(scan.Request, nil, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, modeDuplex, modeDuplex)
			d.headers(scan.Request, false, toHold)
			d.want()
			d.m.bodyCame(scan.Request, payload{[]byte("a")}, false)
			d.want("request hold")
			end(d)
			d.want("request hold", "request judge")
			d.m.decided(scan.Request, true)
			d.want("request send-headers marked", "request release then end")
		})
	}
}

// Trailers end a body too, and their answer comes last.
func TestTrailersEndABody(t *testing.T) {
	d := newDrive(t, modeDuplex, modeDuplex)
	d.headers(scan.Request, false, toHold)
	d.m.bodyCame(scan.Request, payload{[]byte("a")}, false)
	d.m.trailersCame(scan.Request)
	d.want("request hold", "request judge")
	d.m.decided(scan.Request, true)
	d.want("request send-headers marked", "request release then trailers")
	d.m.released(scan.Request)
	if d.m.legs[scan.Request].phase != ended || !d.m.settled() {
		t.Error("the leg has not ended")
	}
}

// A body that Envoy was asked for is nudged once, after its first piece and not
// after its end, for Envoy may hold its trailers back.
func TestAdaptiveNudgesOnce(t *testing.T) {
	d := newDrive(t, modeNone, modeNone)
	d.m.obeys()
	_, _, _ = d.m.opens(scan.Request)
	d.m.wants(false, true)
	d.m.planned(scan.Request, false, true, false)
	d.want("request send-headers")
	d.m.bodyCame(scan.Request, payload{[]byte("a")}, false)
	d.want("request hold", "request send-chunk")
	d.m.bodyCame(scan.Request, payload{[]byte("b")}, false)
	d.want("request hold")
	d.m.trailersCame(scan.Request)
	d.want("request judge")

	d = newDrive(t, modeNone, modeNone)
	d.m.obeys()
	_, _, _ = d.m.opens(scan.Request)
	d.m.wants(false, true)
	d.m.planned(scan.Request, false, true, false)
	d.m.bodyCame(scan.Request, payload{[]byte("a")}, true)
	d.want("request send-headers", "request hold", "request judge")

	// The response's headers are withheld, and Envoy shows its end by itself.
	d.headers(scan.Response, false, toHold)
	d.m.bodyCame(scan.Response, payload{[]byte("a")}, false)
	d.want("response hold")
}

// F-29: whatever follows the end changes nothing.
func TestAfterTheEndNothingChanges(t *testing.T) {
	d := newDrive(t, modeDuplex, modeDuplex)
	d.headers(scan.Request, false, toHold)
	d.m.bodyCame(scan.Request, payload{[]byte("a")}, true)
	d.m.bodyCame(scan.Request, payload{[]byte("late")}, true)
	d.m.bodyCame(scan.Request, nil, true)
	d.want("request hold", "request judge")
	d.m.decided(scan.Request, true)
	d.m.decided(scan.Request, false)
	d.m.bodyCame(scan.Request, nil, true)
	d.m.trailersCame(scan.Request)
	d.want("request send-headers marked", "request release then end")
	d.m.released(scan.Request)
	d.m.bodyCame(scan.Request, payload{[]byte("later")}, true)
	d.m.trailersCame(scan.Request)
	d.want()
}

// A BUFFERED body comes only after the header answer, in one message whose flag
// says nothing, and its answer carries the verdict.
func TestBuffered(t *testing.T) {
	for name, flag := range map[string]bool{"without trailers": true, "trailers follow": false} {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, modeBuffered, modeBuffered)
			d.headers(scan.Request, false, toHold)
			d.want("request send-headers")
			d.m.bodyCame(scan.Request, payload{[]byte("a")}, flag)
			d.want("request hold", "request judge")
			d.m.decided(scan.Request, true)
			d.want("request send-body marked")
			d.m.trailersCame(scan.Request)
			d.want("request send-trailers")
		})
	}
	t.Run("trailers only", func(t *testing.T) {
		d := newDrive(t, modeBuffered, modeBuffered)
		d.headers(scan.Request, false, toHold)
		d.m.trailersCame(scan.Request)
		d.want("request send-headers", "request judge")
		d.m.decided(scan.Request, true)
		d.want("request send-trailers")
	})
	t.Run("a second body fails", func(t *testing.T) {
		d := newDrive(t, modeBuffered, modeBuffered)
		d.headers(scan.Request, false, toHold)
		d.m.bodyCame(scan.Request, payload{[]byte("a")}, true)
		d.m.bodyCame(scan.Request, payload{[]byte("a")}, true)
		d.want("request send-headers", "request hold", "request judge",
			"request fail: a second request body came in mode BUFFERED")
	})
}

// What is not scanned is answered at once, in kind.
func TestOutOfScope(t *testing.T) {
	d := newDrive(t, modeDuplex, modeBuffered)
	d.headers(scan.Request, false, toPass)
	d.m.bodyCame(scan.Request, payload{[]byte("a")}, false)
	d.m.bodyCame(scan.Request, payload{[]byte("b")}, true)
	d.want("request send-headers marked", "request send-chunk", "request send-chunk end")
	d.headers(scan.Response, false, toPass)
	d.m.bodyCame(scan.Response, payload{[]byte("a")}, true)
	d.m.trailersCame(scan.Response)
	d.want("response send-headers marked", "response send-body", "response send-trailers")
}

// A refusal is the last thing said, whatever comes in.
func TestRefusalEndsTheExchange(t *testing.T) {
	d := newDrive(t, modeDuplex, modeDuplex)
	d.headers(scan.Request, false, toHold)
	d.m.bodyCame(scan.Request, payload{[]byte("a")}, true)
	d.m.decided(scan.Request, false)
	d.want("request hold", "request judge", "request refuse")
	d.headers(scan.Response, false, toPass)
	d.m.bodyCame(scan.Response, payload{[]byte("a")}, true)
	d.m.trailersCame(scan.Request)
	d.m.decided(scan.Request, true)
	d.want()
}

// A body that may pass before its end goes on as far as it is held, then as it comes.
func TestPassedBeforeItsEnd(t *testing.T) {
	d := newDrive(t, modeDuplex, modeDuplex)
	d.headers(scan.Request, false, toHold)
	d.m.bodyCame(scan.Request, payload{[]byte("a")}, false)
	d.want("request hold")
	d.m.unheld(scan.Request, payload{[]byte("a")}, false, true)
	d.want("request send-headers marked", "request release then more", "request send-chunk")
	d.m.bodyCame(scan.Request, payload{[]byte("b")}, true)
	d.want("request send-chunk end")

	d = newDrive(t, modeDuplex, modeDuplex)
	d.headers(scan.Request, false, toHold)
	d.m.bodyCame(scan.Request, payload{[]byte("a")}, true)
	d.want("request hold", "request judge")
	d.m.unheld(scan.Request, payload{[]byte("a")}, true, true)
	d.want("request send-headers marked", "request release then more", "request send-chunk end")
}

// Envoy's own error reply, while the request is held, goes out; the request is moot.
func TestEnvoysOwnReply(t *testing.T) {
	for _, m := range []mode{modeDuplex, modeBuffered} {
		d := newDrive(t, m, modeDuplex)
		d.headers(scan.Request, false, toHold)
		d.m.bodyCame(scan.Request, payload{[]byte("a")}, m == modeBuffered)
		d.m.take()
		if own := d.headers(scan.Response, false, toPass); !own {
			t.Errorf("%s: the reply was taken for the origin's", m)
		}
		d.want("request abandon", "response send-headers marked")
		d.m.decided(scan.Request, true)
		d.want()
	}
	// A BUFFERED request of headers and trailers can have left without our being
	// told: the reply may be the origin's, and must be scanned.
	d := newDrive(t, modeBuffered, modeDuplex)
	d.headers(scan.Request, false, toHold)
	if own := d.headers(scan.Response, false, toHold); own {
		t.Error("an origin's reply to a request without a body was taken for Envoy's own")
	}
	// Once the request has left, a reply is the origin's.
	d = newDrive(t, modeDuplex, modeDuplex)
	d.headers(scan.Request, false, toPass)
	if own := d.headers(scan.Response, false, toHold); own {
		t.Error("an origin's early reply was taken for Envoy's own")
	}
}

// F-30: what Envoy would never say ends the exchange with an error.
func TestUnlawfulOrder(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(d *drive)
		want string
	}{
		"headers twice": {func(d *drive) {
			d.headers(scan.Request, false, toHold)
			d.headers(scan.Request, false, toHold)
		}, "request fail: request headers came twice"},
		"body first":     {func(d *drive) { d.m.bodyCame(scan.Response, nil, true) }, "request fail: response body came before its headers"},
		"trailers first": {func(d *drive) { d.m.trailersCame(scan.Request) }, "request fail: request trailers came before the headers"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, modeDuplex, modeDuplex)
			c.do(d)
			d.want(c.want)
			d.headers(scan.Response, true, toPass)
			d.want()
		})
	}
}

// FuzzMachine tries any order of events and checks what Envoy relies on: no
// answer for a held leg before its verdict, headers first and once, one end a
// leg, trailers last, nothing after a refusal, a failure or the end.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{0, 0, 8, 16, 24, 32})
	f.Add([]byte{9, 0, 17, 3, 27, 36, 45, 250})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) < 2 || len(script) > 200 {
			return
		}
		var m machine
		m.modes(mode(script[0]%7), mode(script[1]%7))
		check := newChecker(&m)
		for _, b := range script[2:] {
			l := scan.Leg(b & 1)
			flag := b&2 != 0
			switch b >> 2 % 8 {
			case 0, 1:
				if whole, own, ok := m.opens(l); ok {
					held := whole && !own && !flag && b&64 != 0
					pass := own || b&128 != 0
					check.planned(l, held, pass)
					m.planned(l, flag, held, pass)
				}
			case 2, 3:
				m.bodyCame(l, payload{{b}}, flag)
			case 4:
				m.trailersCame(l)
			case 5:
				check.decided(l, flag)
				m.decided(l, flag)
			case 6:
				m.released(l)
			case 7:
				check.lose = true // the next hold fails
			}
			for again := true; again; {
				again = check.actions(t, m.take())
			}
		}
	})
}

// checker holds what an outsider may conclude from the actions.
type checker struct {
	m       *machine
	lose    bool
	over    bool
	waiting [2]bool // held and undecided
	headers [2]int
	ended   [2]bool
}

func newChecker(m *machine) *checker { return &checker{m: m} }

func (c *checker) planned(l scan.Leg, held, _ bool) { c.waiting[l] = held }

func (c *checker) decided(l scan.Leg, _ bool) {
	if c.m.undecided(l) {
		c.waiting[l] = false
	}
}

func (c *checker) actions(t *testing.T, due []action) (again bool) {
	t.Helper()
	for _, a := range due {
		if c.over {
			t.Fatalf("%s after the exchange was over", a.describe())
		}
		duplex := c.m.legs[a.leg].mode == modeDuplex
		switch a.kind {
		case refuse, fail:
			c.over = true
		case sendHeaders:
			c.headers[a.leg]++
			if c.headers[a.leg] > 1 {
				t.Fatal("headers answered twice")
			}
			if c.waiting[a.leg] && duplex {
				t.Fatal("headers of a held leg answered before its verdict")
			}
		case sendBody, sendChunk, release, sendTrailers:
			if c.waiting[a.leg] {
				t.Fatalf("%s of a held leg before its verdict", a.describe())
			}
			if c.headers[a.leg] != 1 {
				t.Fatalf("%s before the headers answer", a.describe())
			}
			if a.kind != sendTrailers && (a.kind == sendBody) == duplex {
				t.Fatalf("%s in mode %s", a.describe(), c.m.legs[a.leg].mode)
			}
			if c.ended[a.leg] {
				t.Fatalf("%s after the end of the leg", a.describe())
			}
			c.ended[a.leg] = a.kind == sendTrailers || a.kind == sendChunk && a.end || a.kind == release && a.tail != tailMore
		case hold:
			if c.lose {
				c.lose, c.waiting[a.leg] = false, false
				c.m.unheld(a.leg, a.data, a.end, a.data[0][0]&128 != 0)
				return true
			}
		case judge:
			if !c.waiting[a.leg] {
				t.Fatal("a leg that does not wait is judged")
			}
		case abandon:
			c.waiting[a.leg] = false
		}
	}
	return false
}
