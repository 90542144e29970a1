package scanv1

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/portcullis-av/portcullis/scan"
)

// Bounds of a client's messages; they stand in the proto's comments too.
const (
	maxChunk     = 1 << 20
	maxLabel     = 1024
	maxCodings   = 16
	maxCodingLen = 64
)

// content is the object that a stream's messages carry, as one reader. A
// goroutine receives, one message ahead, so that a client that stalls cannot
// hold a Read for longer than the upload may take.
type content struct {
	ctx      context.Context // of the stream: Read has none of its own
	messages <-chan message
	stopped  chan struct{}
	timer    *time.Timer
	rest     []byte
	err      error // io.EOF or a status; once set it stays
}

type message struct {
	request *ScanRequest
	err     error
}

// receive starts to read the stream. The goroutine ends with the handler: then
// the stream's context ends, and with it Recv.
func receive(stream grpc.ClientStreamingServer[ScanRequest, ScanResponse], upload time.Duration) *content {
	messages := make(chan message)
	c := &content{ctx: stream.Context(), messages: messages, stopped: make(chan struct{}), timer: time.NewTimer(upload)}
	go func() {
		for {
			request, err := stream.Recv()
			select {
			case messages <- message{request, err}:
			case <-c.stopped:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return c
}

func (c *content) stop() {
	c.timer.Stop()
	close(c.stopped)
}

// open takes the first message, which alone may carry options. A stream
// without any message is an empty object with default options.
func (c *content) open() (Request, error) {
	m := c.next()
	if c.err != nil && !errors.Is(c.err, io.EOF) {
		return Request{}, c.err
	}
	o := m.GetOptions()
	if err := checkOptions(o); err != nil {
		return Request{}, err
	}
	c.rest = m.GetChunk()
	r := Request{
		Policy: o.GetPolicy(), FileName: o.GetFileName(),
		Labels: scan.Labels{ContentEncoding: o.GetContentEncoding()},
	}
	if t := o.GetContentType(); t != "" {
		r.Labels.ContentType = []string{t}
	}
	return r, nil
}

func checkOptions(o *ScanOptions) error {
	switch {
	case len(o.GetPolicy()) > maxLabel, len(o.GetFileName()) > maxLabel, len(o.GetContentType()) > maxLabel:
		return status.Errorf(codes.InvalidArgument, "policy, file_name and content_type may have %d bytes each", maxLabel)
	case len(o.GetContentEncoding()) > maxCodings:
		return status.Errorf(codes.InvalidArgument, "content_encoding may have %d entries", maxCodings)
	}
	for _, coding := range o.GetContentEncoding() {
		if len(coding) > maxCodingLen {
			return status.Errorf(codes.InvalidArgument, "an entry of content_encoding may have %d bytes", maxCodingLen)
		}
	}
	return nil
}

// Read implements [io.Reader].
func (c *content) Read(p []byte) (int, error) {
	for len(c.rest) == 0 && c.err == nil && len(p) > 0 {
		m := c.next()
		if m.GetOptions() != nil {
			c.fail(status.Error(codes.InvalidArgument, "only the first message may carry options"))
			break
		}
		c.rest = m.GetChunk()
	}
	if len(c.rest) == 0 && len(p) > 0 {
		return 0, c.err
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// next waits for one message; nil when there is none, and c.err says why.
func (c *content) next() *ScanRequest {
	select {
	case m := <-c.messages:
		switch {
		case m.err != nil:
			c.fail(m.err) // io.EOF, or the stream's status
		case len(m.request.GetChunk()) > maxChunk:
			c.fail(status.Errorf(codes.InvalidArgument, "a chunk may have %d bytes", maxChunk))
		default:
			return m.request
		}
	case <-c.timer.C:
		c.fail(status.Error(codes.DeadlineExceeded, "the object did not arrive in time"))
	case <-c.ctx.Done():
		c.fail(contextStatus(c.ctx.Err()))
	}
	return nil
}

func (c *content) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// failure is the status that reading ended with, nil if it went well so far.
func (c *content) failure() error {
	if errors.Is(c.err, io.EOF) {
		return nil
	}
	return c.err
}

// safeText bounds a text and takes out what is not printable: a proto string
// must be UTF-8, and engines are not asked for it.
func safeText(s string) string {
	const most = 256
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most])
	}
	return s
}
