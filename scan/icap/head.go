package icap

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

const (
	// maxHead is the longest ICAP head read, folded lines and the empty line
	// included, and the longest trailer.
	maxHead = 16 << 10
	// maxBlock is the longest encapsulated HTTP head.
	maxBlock = 64 << 10
)

// field is one header field: its name in lower case, and its value without the
// space around, one element for each folded line.
type field struct {
	name  string
	lines []string
}

// value joins folded lines with one space.
func (f field) value() string { return strings.Join(f.lines, " ") }

type fields []field

func (all fields) values(name string) []string {
	var values []string
	for _, f := range all {
		if f.name == name {
			values = append(values, f.value())
		}
	}
	return values
}

// has reports whether a comma-separated list in the field holds the word.
func (all fields) has(name, word string) bool {
	for _, value := range all.values(name) {
		for item := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(item), word) {
				return true
			}
		}
	}
	return false
}

func protocolError(format string, args ...any) error {
	return &scan.Error{Kind: scan.KindProtocol, Op: "read the reply of the icap server", Err: fmt.Errorf(format, args...)}
}

// readLines reads up to and with an empty line, at most maxHead bytes. Every
// line must end in CR LF. The error is a protocolError, or the reader's.
func readLines(in *bufio.Reader) ([]string, error) {
	var lines []string
	var line []byte
	for total := 0; ; {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if total += len(part); total > maxHead {
			return nil, protocolError("a head of more than %d bytes", maxHead)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return nil, err
		}
		text, ok := strings.CutSuffix(string(line), "\r\n")
		if !ok || strings.ContainsAny(text, "\r\x00") {
			return nil, protocolError("a line of %d bytes that does not end as lines do", len(text))
		}
		if text == "" {
			return lines, nil
		}
		lines, line = append(lines, text), line[:0]
	}
}

// parseFields reads header lines. Lines that begin with space or tab continue
// the one before (RFC 9112 section 5.2; c-icap sends such).
func parseFields(lines []string) (fields, error) {
	var all fields
	for _, line := range lines {
		if line == "" {
			return nil, protocolError("an empty line within a head")
		}
		if line[0] == ' ' || line[0] == '\t' {
			if len(all) == 0 {
				return nil, protocolError("a head that begins with a folded line")
			}
			last := &all[len(all)-1]
			last.lines = append(last.lines, strings.Trim(line, " \t"))
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, protocolError("a line of %d bytes that is no header field", len(line))
		}
		all = append(all, field{strings.ToLower(name), []string{strings.Trim(value, " \t")}})
	}
	return all, nil
}

// parseStatus reads "ICAP/1.0 204 Unmodified". The words after the number differ
// from server to server and mean nothing.
func parseStatus(line string) (int, error) {
	rest, ok := strings.CutPrefix(line, "ICAP/1.0 ")
	if !ok {
		return 0, protocolError("no status line in %d bytes", len(line))
	}
	return parseCode(rest)
}

func parseCode(rest string) (int, error) {
	if len(rest) < 3 || len(rest) > 3 && rest[3] != ' ' {
		return 0, protocolError("no status code in %d bytes", len(rest))
	}
	code := 0
	for _, c := range []byte(rest[:3]) {
		if c < '0' || c > '9' {
			return 0, protocolError("no status code in %d bytes", len(rest))
		}
		code = code*10 + int(c-'0')
	}
	if code < 100 || code > 599 {
		return 0, protocolError("status code %d", code)
	}
	return code, nil
}

// icapHead is the head of an answer.
type icapHead struct {
	status int
	line   string // the status line
	fields fields
}

func readICAPHead(in *bufio.Reader) (icapHead, error) {
	lines, err := readLines(in)
	if err != nil {
		return icapHead{}, err
	}
	if len(lines) == 0 {
		return icapHead{}, protocolError("an empty line instead of a head")
	}
	h := icapHead{line: lines[0]}
	if h.status, err = parseStatus(lines[0]); err != nil {
		return icapHead{}, err
	}
	h.fields, err = parseFields(lines[1:])
	return h, err
}

// httpHead is the encapsulated head of an HTTP message; the zero value stands
// for none.
type httpHead struct {
	response bool
	status   int    // of a response
	line     string // the start line
	fields   fields
}

// parseBlock reads an encapsulated head: exactly the bytes that the offsets
// give it, so its empty line must be its end and nowhere before. Unlike the ICAP
// head it is often made by a template: lines may end in LF alone.
func parseBlock(raw []byte, response bool) (httpHead, error) {
	text := strings.ReplaceAll(string(raw), "\r\n", "\n")
	body, ok := strings.CutSuffix(text, "\n\n")
	if !ok || strings.ContainsAny(body, "\r\x00") {
		return httpHead{}, protocolError("the offsets in Encapsulated do not fit the head they describe")
	}
	lines := strings.Split(body, "\n")
	h := httpHead{response: response, line: lines[0]}
	var err error
	if response {
		version, rest, _ := strings.Cut(lines[0], " ")
		if version != "HTTP/1.1" && version != "HTTP/1.0" {
			return httpHead{}, protocolError("no HTTP status line in %d bytes", len(lines[0]))
		}
		if h.status, err = parseCode(rest); err != nil {
			return httpHead{}, err
		}
	}
	h.fields, err = parseFields(lines[1:])
	return h, err
}

// encapsulated is what an answer's Encapsulated field says: at most one head of
// the given length, then the body or that there is none.
type encapsulated struct {
	head     string // "req-hdr", "res-hdr" or ""
	headSize int
	body     string // "req-body", "res-body" or "null-body"
}

// parseEncapsulated reads the list of an answer (RFC 3507 section 4.4.1).
func parseEncapsulated(values []string) (encapsulated, error) {
	bad := protocolError("an Encapsulated that describes no message")
	if len(values) != 1 {
		return encapsulated{}, bad
	}
	var all encapsulated
	parts := strings.Split(values[0], ",")
	if len(parts) > 2 {
		return encapsulated{}, bad
	}
	for i, part := range parts {
		name, digits, _ := strings.Cut(strings.Trim(part, " \t"), "=")
		offset, ok := parseOffset(digits)
		name = strings.ToLower(name)
		last := i == len(parts)-1
		switch {
		case !ok || i == 0 && offset != 0 || i > 0 && offset == 0:
			return encapsulated{}, bad
		case !last && (name == "req-hdr" || name == "res-hdr"):
			all.head = name
		case last && (name == "null-body" || name == "req-body" && all.head != "res-hdr" || name == "res-body" && all.head != "req-hdr"):
			all.body, all.headSize = name, offset
		default:
			return encapsulated{}, bad
		}
	}
	return all, nil
}

func parseOffset(digits string) (int, bool) {
	if digits == "" || len(digits) > 6 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n <= maxBlock
}
