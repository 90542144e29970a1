package clamdtest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// session is one connection of a client to the fake.
type session struct {
	server *Server
	conn   net.Conn
	fault  Fault
	in     *bufio.Reader
	end    byte // what the command's reply ends with
}

func (s *session) serve() {
	if s.fault.Hang {
		<-s.server.stopped
		return
	}
	s.in = bufio.NewReader(patient{s.conn, s.server.options.ReadTimeout})
	name, err := s.command()
	if err != nil {
		s.timedOut(err)
		return
	}
	switch name {
	case "PING":
		s.reply("PONG")
	case "VERSION":
		if s.server.options.NoVersion {
			s.reply("COMMAND UNAVAILABLE")
			return
		}
		s.reply(s.server.options.Version)
	case "INSTREAM":
		s.instream()
	default:
		s.reply("UNKNOWN COMMAND")
	}
}

// command reads "z<name>\x00" or "n<name>\n"; anything else has no name.
func (s *session) command() (string, error) {
	kind, err := s.in.ReadByte()
	if err != nil {
		return "", err
	}
	s.end = '\n'
	switch kind {
	case 'z':
		s.end = 0
	case 'n':
	default:
		return "", nil
	}
	line, err := s.in.ReadString(s.end)
	if err != nil {
		return "", err
	}
	return line[:len(line)-1], nil
}

// errAnswered ends a stream whose reply was given before its end.
var errAnswered = errors.New("already answered")

func (s *session) instream() {
	stream, err := s.receive()
	if err != nil {
		s.timedOut(err)
		return
	}
	s.server.mu.Lock()
	s.server.scans++
	s.server.mu.Unlock()
	if s.fault.DieAtEnd {
		s.die()
		return
	}
	if s.fault.EarlyAfter > 0 && int64(len(stream)) >= s.fault.EarlyAfter {
		return // the reply is out
	}
	s.answer(stream)
}

// receive reads chunks to the zero chunk.
func (s *session) receive() ([]byte, error) {
	var stream []byte
	answered := false
	for {
		var header [4]byte
		if _, err := io.ReadFull(s.in, header[:]); err != nil {
			return nil, err
		}
		n := int64(binary.BigEndian.Uint32(header[:]))
		if n == 0 {
			return stream, nil
		}
		if int64(len(stream))+n > s.server.options.StreamMaxLength {
			s.reply("INSTREAM size limit exceeded. ERROR")
			return nil, errAnswered // closed with unread data, as clamd does
		}
		was := len(stream)
		stream = append(stream, make([]byte, n)...)
		if _, err := io.ReadFull(s.in, stream[was:]); err != nil {
			return nil, err
		}
		if f := s.fault; f.DieAfter > 0 && int64(len(stream)) >= f.DieAfter {
			s.die()
			return nil, errAnswered
		}
		if f := s.fault; f.EarlyAfter > 0 && int64(len(stream)) >= f.EarlyAfter && !answered {
			answered = true
			s.answer(stream)
			if f.EarlyStall {
				<-s.server.stopped
				return nil, errAnswered
			}
		}
	}
}

// timedOut answers a client that was silent for too long, newline-ended even
// after a z command. A client that left gets nothing.
func (s *session) timedOut(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.write([]byte("COMMAND READ TIMED OUT\n"))
	}
}

// die closes the connection without a word.
func (s *session) die() {
	if tcp, ok := s.conn.(*net.TCPConn); ok && s.fault.Reset {
		_ = tcp.SetLinger(0)
	}
	_ = s.conn.Close()
}

func (s *session) answer(stream []byte) {
	if s.fault.Delay > 0 {
		pause := time.NewTimer(s.fault.Delay)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-s.server.stopped:
			return
		}
	}
	if s.fault.Reply != nil {
		s.write(s.fault.Reply)
	} else {
		s.reply("stream: " + s.server.options.judge(stream))
	}
	if s.fault.KeepOpen {
		_, _ = io.Copy(io.Discard, s.conn)
	}
}

// judge is what stands between "stream: " and the terminator.
func (o Options) judge(stream []byte) string {
	if o.MaxFileSize > 0 && int64(len(stream)) > o.MaxFileSize {
		if o.IgnoreLimits {
			return "OK"
		}
		return "Heuristics.Limits.Exceeded.MaxFileSize FOUND"
	}
	for _, sig := range o.Signatures {
		if sig.matches(stream) {
			return sig.Name + " FOUND"
		}
	}
	if encryptedZip(stream) && !o.IgnoreEncrypted {
		return "Heuristics.Encrypted.Zip FOUND"
	}
	return "OK"
}

// encryptedZip reports whether the stream begins with the header of a zip
// member whose flag 0, encryption, is set.
func encryptedZip(stream []byte) bool {
	return len(stream) > 30 && string(stream[:4]) == "PK\x03\x04" && stream[6]&1 != 0
}

func (s *session) reply(line string) { s.write(append([]byte(line), s.end)) }

func (s *session) write(b []byte) {
	if !s.fault.Dribble {
		_, _ = s.conn.Write(b)
		return
	}
	for i := range b {
		if _, err := s.conn.Write(b[i : i+1]); err != nil {
			return
		}
		time.Sleep(100 * time.Microsecond) // let each byte travel by itself
	}
}

// patient reads with a time limit that starts again with every read.
type patient struct {
	conn  net.Conn
	limit time.Duration
}

func (p patient) Read(b []byte) (int, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(p.limit)); err != nil {
		return 0, err
	}
	return p.conn.Read(b)
}
