package icaptest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
)

var (
	errDied    = errors.New("died as told")
	errStalled = errors.New("stalled as told")
)

// session is one connection.
type session struct {
	server *Server
	conn   net.Conn
	in     *bufio.Reader
	number int
	fault  Fault
}

func newSession(server *Server, conn net.Conn, number int) *session {
	return &session{server: server, conn: conn, in: bufio.NewReader(conn), number: number}
}

func (s *session) serve() {
	for {
		if s.server.current().Hang {
			<-s.server.hangs
			return
		}
		if _, err := s.in.Peek(1); err != nil {
			return
		}
		s.fault = s.server.current()
		err := s.request()
		var r rude
		if errors.As(err, &r) {
			s.server.violation(r.text)
			_ = s.write([]byte("ICAP/1.0 400 Bad request\r\nConnection: close\r\n\r\n"))
		}
		if errors.Is(err, errStalled) {
			<-s.server.hangs
		}
		if s.fault.Reset {
			s.reset()
		}
		if err != nil || s.fault.CloseAfter {
			return
		}
	}
}

// reset has Close send a reset instead of an end.
func (s *session) reset() {
	conn := s.conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
}

// request serves one request. An error ends the connection.
func (s *session) request() error {
	switch {
	case s.fault.Hang:
		return errStalled
	case s.fault.CloseFirst:
		return errDied
	}
	r, err := s.readHead()
	if err != nil {
		return err
	}
	if r.Method == http.MethodOptions {
		s.server.record(r)
		return s.options()
	}
	if err := s.readParts(&r); err != nil {
		return err
	}
	if s.fault.Early {
		if err := s.write(s.final(r)); err != nil {
			return err
		}
		if s.fault.EarlyStall {
			return errStalled
		}
		_, err := s.readChunks(&r.Body, 0)
		return err
	}
	answered, err := s.readBody(&r)
	if err != nil || answered {
		return err
	}
	s.server.record(r)
	if s.fault.DieAtEnd {
		return errDied
	}
	return s.answer(r)
}

// readBody reads the body; answered says that the preview was enough.
func (s *session) readBody(r *Request) (answered bool, err error) {
	ieof, err := s.readChunks(&r.Body, s.fault.DieAfter)
	switch {
	case err != nil:
		return false, err
	case r.Preview < 0 && ieof:
		return false, rudely("ieof without a preview")
	case r.Preview < 0:
		return false, nil
	case len(r.Body) > r.Preview:
		return false, rudely("preview of %d bytes, announced as %d", len(r.Body), r.Preview)
	case ieof && s.fault.ContinueAfterIeof:
		return false, s.write([]byte("ICAP/1.0 100 Continue\r\n\r\n"))
	case ieof:
		return false, nil
	case len(r.Body) < r.Preview:
		return false, rudely("preview of %d bytes that is not the whole, announced as %d", len(r.Body), r.Preview)
	}
	if skip := s.server.options.Skip; len(skip) > 0 && bytes.HasPrefix(r.Body, skip) {
		return true, s.write(s.head204())
	}
	if err := s.write([]byte("ICAP/1.0 100 Continue\r\n\r\n")); err != nil {
		return false, err
	}
	if s.fault.ContinueThenClose {
		return false, errDied
	}
	if ieof, err = s.readChunks(&r.Body, s.fault.DieAfter); err == nil && ieof {
		err = rudely("ieof after the preview")
	}
	return false, err
}

func (s *session) options() error {
	if s.fault.Options != nil {
		return s.write(s.fault.Options)
	}
	o := s.server.options
	var b strings.Builder
	fmt.Fprintf(&b, "ICAP/1.0 200 OK\r\nMethods: %s\r\nService: icaptest\r\nISTag: %s\r\nTransfer-Ignore: gif,png,txt\r\nMax-Connections: 10\r\n",
		strings.Join(o.Methods, ", "), s.istag())
	if o.Preview >= 0 {
		fmt.Fprintf(&b, "Preview: %d\r\nTransfer-Preview: *\r\n", o.Preview)
	}
	if !o.NoAllow204 {
		b.WriteString("Allow: 204, 206\r\n")
	}
	if o.TTL > 0 {
		fmt.Fprintf(&b, "Options-TTL: %d\r\n", o.TTL)
	}
	b.WriteString("Encapsulated: null-body=0\r\n\r\n")
	return s.write([]byte(b.String()))
}

func (s *session) istag() string {
	if s.fault.ISTag != "" {
		return s.fault.ISTag
	}
	return `"icaptest-1"`
}

func (s *session) answer(r Request) error {
	final := s.final(r)
	if cut := s.fault.CutReply; cut > 0 && cut < len(final) {
		_ = s.write(final[:cut])
		return errDied
	}
	if err := s.write(final); err != nil {
		return err
	}
	if s.fault.CutEcho {
		return errDied
	}
	return nil
}

// final is the whole answer to a request.
func (s *session) final(r Request) []byte {
	o := s.server.options
	threat := threatIn(r.Body)
	if o.ObjectLimit > 0 && int64(len(r.Body)) > o.ObjectLimit {
		threat = ""
	}
	may204 := len(r.Header["allow"]) > 0 || r.Preview >= len(r.Body)
	switch {
	case s.fault.Reply != nil:
		return s.fault.Reply
	case threat != "":
		return o.Product.infected(r.Method, s.istag(), threat)
	case may204 && !o.Echo && (o.EchoOver == 0 || int64(len(r.Body)) <= o.EchoOver):
		return s.head204()
	}
	return s.echo(r)
}

func (s *session) head204() []byte {
	return fmt.Appendf(nil, "ICAP/1.0 204 Unmodified\r\nServer: icaptest\r\nConnection: keep-alive\r\nISTag: %s\r\n\r\n", s.istag())
}

// echo sends the message back, as servers do with one header added.
func (s *session) echo(r Request) []byte {
	head, kind := r.ResponseHead, "res"
	if r.Method == "REQMOD" {
		head, kind = r.RequestHead, "req"
	}
	head = strings.TrimSuffix(head, "\r\n") + "Via: ICAP/1.0 icaptest\r\n\r\n"
	body := r.Body
	if s.fault.Spoil != nil {
		body = s.fault.Spoil(bytes.Clone(body))
	}
	answer := fmt.Appendf(nil, "ICAP/1.0 200 OK\r\nISTag: %s\r\n%sEncapsulated: %s-hdr=0, %s-body=%d\r\n\r\n%s",
		s.istag(), s.server.options.Product.allowed(), kind, kind, len(head), head)
	for part := range bytesIn(body, 30_000) {
		answer = fmt.Appendf(answer, "%x;note=1\r\n%s\r\n", len(part), part)
	}
	if s.fault.CutEcho {
		return answer
	}
	return append(answer, "0\r\n\r\n"...)
}

func bytesIn(b []byte, size int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := min(size, len(b))
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

func (s *session) write(b []byte) error {
	if !s.fault.Dribble {
		_, err := s.conn.Write(b)
		return err
	}
	for i := range b {
		if _, err := s.conn.Write(b[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}
