package envoy

import "time"

// timers are Envoy's deadlines. Portcullis owns every deadline; Envoy's are
// longer, so that they end an exchange only if Portcullis itself is gone.
type timers struct {
	// message is for an answer that Portcullis may give at once or after a scan
	// of bytes it already has (ext_proc message_timeout).
	message time.Duration
	// maxMessage is the most that Portcullis may ask for (max_message_timeout).
	maxMessage time.Duration
	// leg is the longest time one leg may be held: arrival, queue, scan, answer.
	// Envoy sees no byte move meanwhile.
	leg time.Duration
	// idle is Envoy's stream_idle_timeout.
	idle time.Duration
	// exchange is the last resort for both legs, an origin that thinks and a
	// client that reads slowly (max_stream_duration).
	exchange time.Duration
}

// slack covers what a scan timeout does not: a second of queueing, a second for
// the engines to give up, and the way of the answer on a busy machine.
const slack = 5 * time.Second

// maxMessage is the longest message timeout that Envoy accepts.
const maxMessage = time.Hour

func (g gate) timers() timers {
	t := timers{message: g.scan + slack, leg: g.upload + g.scan + slack}
	t.maxMessage = min(t.leg, maxMessage)
	t.idle = t.leg + 2*slack
	t.exchange = 4 * t.leg
	return t
}
