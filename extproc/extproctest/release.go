package extproctest

import (
	"strconv"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
)

// stripsLength reports whether Envoy removes content-length from this leg.
func (l *leg) stripsLength() bool {
	if l.x.cfg.AllowContentLength || l.x.cfg.ObservabilityMode {
		return false
	}
	switch l.mode() {
	case filterv3.ProcessingMode_NONE:
		return false
	case filterv3.ProcessingMode_BUFFERED:
		return l.book.headers != filterv3.ProcessingMode_SEND
	default:
		return true
	}
}

// passAll lets everything go on that is held.
func (l *leg) passAll() {
	if !l.headersIn || l.dead || l.finished {
		return
	}
	l.passHeaders()
	for _, data := range l.queue {
		l.passData(data)
	}
	l.passData(l.asked)
	l.passData(l.buf)
	l.queue, l.queued, l.asked, l.buf = nil, 0, nil, nil
	if l.inEnd {
		l.passEnd()
	}
}

func (l *leg) pass(what string, size int) {
	if !l.to.Reached {
		l.to.Reached, l.to.BeforeEnd = true, !l.book.told
	}
	l.x.touch()
	l.x.event([2]string{"origin ", "client "}[l.which]+what, size)
}

func (l *leg) passHeaders() {
	if l.headersOut || l.dead {
		return
	}
	l.headersOut = true
	if l.stripsLength() {
		l.headers = l.headers.Without("content-length")
	}
	l.pass("headers", 0)
	l.to.Headers = l.headers
	if l.which == Response {
		l.x.res.Client.Status, _ = strconv.Atoi(l.headers.Get(":status"))
	}
	l.x.delivered(l)
}

func (l *leg) passData(data []byte) {
	if len(data) == 0 || l.dead || l.finished {
		return
	}
	l.pass("body", len(data))
	l.to.Size += int64(len(data))
	if l.x.res.Bypass {
		l.x.res.Bypassed += int64(len(data))
	}
	if l.hash != nil {
		l.hash.Write(data)
		l.to.Body = append(l.to.Body, data...)
	}
	l.x.delivered(l)
}

// passEnd passes the trailers, if there are any, and the end.
func (l *leg) passEnd() {
	if l.finished || l.dead {
		return
	}
	l.finished, l.book.over = true, l.book.over || !duplex(l.mode())
	l.pass("end", 0)
	l.to.Trailers, l.to.Complete = l.inTrailers, true
	if l.hash != nil {
		l.hash.Sum(l.to.SHA256[:0])
	}
	declared := l.headers.length()
	if declared >= 0 && declared != l.to.Size && !l.x.lengthOnly(l) {
		l.x.violate(minor(RuleLength, "%d bytes of %s body for content-length %d", l.to.Size, l.which, declared))
	}
	l.x.ended(l)
}
