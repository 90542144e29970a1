package icaptest

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// rude is an error of the client against the protocol; other errors are the
// connection's.
type rude struct{ text string }

func (r rude) Error() string { return r.text }

func rudely(format string, args ...any) error { return rude{fmt.Sprintf(format, args...)} }

// readLine reads one line and takes off its CR LF.
func (s *session) readLine() (string, error) {
	line, err := s.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\x00") {
		return "", rudely("line %q does not end in CR LF alone", line)
	}
	return text, nil
}

// readHead reads the ICAP head of a request.
func (s *session) readHead() (Request, error) {
	line, err := s.readLine()
	if err != nil {
		return Request{}, err
	}
	words := strings.Split(line, " ")
	if len(words) != 3 || words[2] != "ICAP/1.0" {
		return Request{}, rudely("request line %q", line)
	}
	r := Request{Method: words[0], URI: words[1], Header: map[string][]string{}, Preview: -1, Conn: s.number}
	for {
		line, err := s.readLine()
		if err != nil {
			return r, err
		}
		if line == "" {
			return r, s.checkHead(&r)
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok || strings.ContainsAny(name, " \t") || strings.TrimSpace(value) != value || value == "" {
			return r, rudely("header line %q", line)
		}
		name = strings.ToLower(name)
		r.Header[name] = append(r.Header[name], value)
	}
}

func (s *session) checkHead(r *Request) error {
	if !slices.Contains([]string{"OPTIONS", "REQMOD", "RESPMOD"}, r.Method) {
		return rudely("method %q", r.Method)
	}
	_, rest, ok := strings.Cut(r.URI, "://")
	host, _, _ := strings.Cut(rest, "/")
	if !ok || !s.server.owns(r.URI[:strings.Index(r.URI, "://")+3], host) {
		return rudely("URI %q is not an absolute one of this server", r.URI)
	}
	if got := r.Header["host"]; len(got) != 1 || got[0] != host {
		return rudely("Host %q beside URI %q", got, r.URI)
	}
	for _, name := range []string{"transfer-encoding", "content-length"} {
		if r.Header[name] != nil {
			return rudely("%s in the ICAP head", name)
		}
	}
	for _, value := range r.Header["allow"] {
		if value != "204" {
			return rudely("Allow: %s", value)
		}
	}
	if values := r.Header["preview"]; len(values) > 0 {
		n, err := strconv.ParseUint(values[0], 10, 31)
		if err != nil || len(values) > 1 {
			return rudely("Preview %q", values)
		}
		if int(n) > max(s.server.options.Preview, -1) {
			return rudely("Preview: %d, more than asked for", n)
		}
		r.Preview = int(n)
	}
	return nil
}

// readParts reads the encapsulated heads and holds the offsets to the bytes.
func (s *session) readParts(r *Request) error {
	want := []string{"req-hdr", "res-hdr", "res-body"}
	if r.Method == "REQMOD" {
		want = []string{"req-hdr", "req-body"}
	}
	list := r.Header["encapsulated"]
	if len(list) != 1 {
		return rudely("Encapsulated %q", list)
	}
	items := strings.Split(list[0], ", ")
	if len(items) != len(want) {
		return rudely("Encapsulated %q of a %s", list, r.Method)
	}
	var heads []string
	before := 0
	for i, item := range items {
		name, digits, _ := strings.Cut(item, "=")
		offset, err := strconv.ParseUint(digits, 10, 20)
		if err != nil || name != want[i] || i == 0 && offset != 0 || i > 0 && int(offset) <= before {
			return rudely("Encapsulated %q of a %s", list, r.Method)
		}
		if i > 0 {
			raw := make([]byte, int(offset)-before)
			if _, err := io.ReadFull(s.in, raw); err != nil {
				return err
			}
			heads = append(heads, string(raw))
		}
		before = int(offset)
	}
	r.RequestHead = heads[0]
	if len(heads) > 1 {
		r.ResponseHead = heads[1]
	}
	for _, head := range heads {
		if err := checkHTTPHead(head); err != nil {
			return err
		}
	}
	return nil
}

// checkHTTPHead holds an encapsulated head to its bounds and to what may be in it.
func checkHTTPHead(head string) error {
	lines, ok := strings.CutSuffix(head, "\r\n\r\n")
	if !ok || strings.Contains(lines, "\r\n\r\n") {
		return rudely("the offsets do not fit the head %q", head)
	}
	all := strings.Split(lines, "\r\n")
	if words := strings.SplitN(all[0], " ", 3); len(words) != 3 || strings.ContainsAny(all[0], "\r\n\t\x00") {
		return rudely("start line %q", all[0])
	}
	for _, line := range all[1:] {
		name, _, ok := strings.Cut(line, ": ")
		if !ok || strings.ContainsAny(line, "\r\n\x00") || strings.ContainsAny(name, " \t") {
			return rudely("header line %q", line)
		}
		switch strings.ToLower(name) {
		case "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authorization", "proxy-connection":
			return rudely("hop-by-hop header %s encapsulated", name)
		}
	}
	return nil
}

// readChunks reads chunks to a last one and returns whether that says ieof.
func (s *session) readChunks(body *[]byte, die int64) (ieof bool, err error) {
	for {
		line, err := s.readLine()
		if err != nil {
			return false, err
		}
		if line == "0" || line == "0; ieof" {
			if end, err := s.readLine(); err != nil || end != "" {
				return false, or(err, rudely("%q after the last chunk", end))
			}
			return line != "0", nil
		}
		size, err := strconv.ParseUint(line, 16, 31)
		if err != nil || size == 0 || line[0] == '0' {
			return false, rudely("chunk size %q", line)
		}
		for left := int(size); left > 0; {
			part := make([]byte, min(left, 16<<10))
			n, err := io.ReadFull(s.in, part)
			*body = append(*body, part[:n]...)
			if err != nil {
				return false, err
			}
			if die > 0 && int64(len(*body)) >= die {
				return false, errDied
			}
			left -= n
		}
		if end, err := s.readLine(); err != nil || end != "" {
			return false, or(err, rudely("chunk of %d bytes is longer", size))
		}
	}
}

func or(err, other error) error {
	if err != nil {
		return err
	}
	return other
}
