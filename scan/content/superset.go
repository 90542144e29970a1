package content

import (
	"bytes"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// Bounds of the superset reading of one body.
const (
	maxBoundaries  = 16
	maxOccurrences = 2000
	maxPieces      = 4000
	maxRescans     = 12       // times the bytes of the body,
	freeRescans    = 64 << 10 // and so many more, for small ones
	looseHeader    = 16 << 10
	looseLine      = 256 // bytes after a boundary within which its line ends
)

// superset reports every piece of n that any receiver could cut out of it, for
// bodies that the strict grammar refuses: for each boundary that a reader may
// choose, each idea of what a delimiter line is, and each idea of where a
// header ends.
//
// Measured against Python's cgi and email, Werkzeug and undici on 15,000 bodies
// that random edits had damaged: of 74,000 contents they extract, all but 7 are
// among the pieces; those 7 are what they make of base64 that is none.
//
// It returns false when there are too many ways to read n.
func (w *walk) superset(n *node, contentType string, head []byte) (bool, error) {
	s := &supersetReader{w: w, n: n, seen: make(map[span]struct{})}
	boundaries := looseBoundaries(contentType)
	if b, ok := sniffLine(head); ok {
		boundaries = append(boundaries, b)
	}
	slices.Sort(boundaries)
	boundaries = slices.Compact(boundaries)
	if len(boundaries) > maxBoundaries {
		return false, nil
	}
	for _, b := range boundaries {
		if ok, err := s.boundary(b); err != nil || !ok {
			return ok, err
		}
	}
	return true, nil
}

// looseBoundaries returns whatever a reader may take for the boundary.
func looseBoundaries(contentType string) []string {
	var all []string
	add := func(v string) {
		if v = strings.TrimRight(v, " \t\r\n"); v != "" && len(v) <= looseLine {
			all = append(all, v)
		}
	}
	// Some leave out comments, some tabs, wherever they stand.
	for _, plain := range []string{withoutComments(contentType), strings.ReplaceAll(contentType, "\t", "")} {
		if !strings.HasPrefix(contentType, plain) {
			contentType += ";" + plain
		}
	}
	lower := lowerASCII(contentType)
	continued := map[int]string{} // the pieces of RFC 2231
	for at := 0; ; {
		k := strings.Index(lower[at:], "boundary")
		if k < 0 || len(all) > 8*maxBoundaries {
			break
		}
		at += k + len("boundary")
		// PHP takes the next "=", wherever it stands.
		name, value, ok := strings.Cut(contentType[at:], "=")
		if !ok {
			continue
		}
		value = strings.TrimLeft(value, " \t\v\f\r\n")
		for _, v := range boundaryReadings(value) {
			add(v)
		}
		if number, ok := strings.CutPrefix(name, "*"); ok {
			number, encoded := strings.CutSuffix(strings.TrimSpace(number), "*")
			if i, err := strconv.Atoi(number); err == nil && i >= 0 {
				continued[i] = continuedPiece(firstReading(value), encoded)
			}
		}
	}
	var joined strings.Builder
	for _, i := range slices.Sorted(maps.Keys(continued)) {
		joined.WriteString(continued[i])
	}
	add(joined.String())
	return all
}

// withoutComments leaves out comments (RFC 822 section 3.4.3).
func withoutComments(value string) string {
	var b strings.Builder
	depth := 0
	for i := range len(value) {
		switch c := value[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// continuedPiece decodes one piece of a continued parameter (RFC 2231 section 4.1).
func continuedPiece(v string, encoded bool) string {
	if !encoded {
		return v
	}
	if parts := strings.SplitN(v, "'", 3); len(parts) == 3 {
		v = parts[2]
	}
	return unescapePercent(v)
}

// boundaryReadings returns the values that readers make of what follows
// "boundary=".
func boundaryReadings(value string) []string {
	plain := cutAt(value, ";")
	token := cursor{rest: value}
	readings := []string{plain, token.token(), cutAt(value, ","), cutAt(value, " "), cutAt(value, ";, \t"), strings.Trim(plain, `"' `)}
	quoted := ""
	if rest, ok := strings.CutPrefix(value, `"`); ok {
		quoted = cutAt(rest, `"`)
		readings = append(readings, quoted, cutAt(quoted, ";, \t"), strings.ReplaceAll(quoted, `\`, ""))
		var c cursor
		c.rest = value
		if v, ok := c.quotedOrToken(); ok {
			readings = append(readings, v)
		}
	}
	if rest, ok := strings.CutPrefix(value, "'"); ok {
		readings = append(readings, cutAt(rest, "'"))
	}
	for _, v := range []string{plain, quoted} {
		if parts := strings.SplitN(v, "'", 3); len(parts) == 3 {
			readings = append(readings, parts[2], unescapePercent(parts[2]))
		}
		readings = append(readings, unescapePercent(v))
		if word, err := new(mime.WordDecoder).DecodeHeader(v); err == nil && word != v {
			readings = append(readings, word)
		}
	}
	return readings
}

func firstReading(value string) string { return strings.Trim(cutAt(value, ";"), `" `) }

func cutAt(s, set string) string {
	if k := strings.IndexAny(s, set); k >= 0 {
		return s[:k]
	}
	return s
}

func unescapePercent(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0 {
			b.WriteByte(byte(unhex(s[i+1])<<4 | unhex(s[i+2])))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// sniffLine returns the first line of a body that begins with dashes, less two
// of them.
func sniffLine(head []byte) (string, bool) {
	head = bytes.TrimLeft(head, "\r\n")
	if !bytes.HasPrefix(head, []byte("--")) {
		return "", false
	}
	line := head[2:]
	if end := bytes.IndexAny(line, "\r\n"); end >= 0 {
		line = line[:end]
	}
	line = bytes.TrimRight(line, " \t")
	return string(line), len(line) > 0 && len(line) <= looseLine
}

// supersetReader is one superset reading.
type supersetReader struct {
	w       *walk
	n       *node
	seen    map[span]struct{}
	scanned int64
}

// occurrence is a place where a boundary stands.
type occurrence struct {
	pos    int64
	next   int64 // where its line ends
	before uint8 // 0: at a CRLF or the start, 1: LF, 2: CR, 3: within a line
	after  uint8 // 0: line end, "--" or both, 1: blanks or a bare CR, 2: anything
	closes bool
}

// boundary cuts the body at one boundary in every way.
func (s *supersetReader) boundary(b string) (bool, error) {
	var all []occurrence
	needle := []byte("--" + b)
	err := s.w.each(s.n, needle, len(needle)+looseLine, func(h hit) bool {
		all = append(all, classify(h, len(needle)))
		return len(all) <= maxOccurrences
	})
	if err != nil || len(all) > maxOccurrences {
		return false, err
	}
	for before := range uint8(4) {
		for after := range uint8(3) {
			for _, ends := range []bool{true, false} {
				if ok, err := s.split(all, before, after, ends); err != nil || !ok {
					return ok, err
				}
			}
		}
	}
	return true, nil
}

func classify(h hit, length int) occurrence {
	o := occurrence{pos: h.pos, before: 3, after: 2}
	switch {
	case h.pos == 0 || string(h.before) == "\r\n":
		o.before = 0
	case h.before[len(h.before)-1] == '\n':
		o.before = 1
	case h.before[len(h.before)-1] == '\r':
		o.before = 2
	}
	rest := h.after[length:]
	o.closes = bytes.HasPrefix(rest, []byte("--"))
	line, skip := rest, 0
	if end := bytes.IndexAny(rest, "\r\n"); end >= 0 {
		line, skip = rest[:end], end+1
		if bytes.HasPrefix(rest[end:], []byte("\r\n")) {
			skip = end + 2
		}
	}
	bareCR := len(line) < len(rest) && rest[len(line)] == '\r' && skip == len(line)+1
	switch text := bytes.TrimPrefix(line, []byte("--")); {
	case len(text) == 0 && !bareCR:
		o.after = 0
	case len(bytes.TrimLeft(text, " \t")) == 0:
		o.after = 1
	}
	o.next = h.pos + int64(length+skip)
	return o
}

// split cuts at those occurrences that one kind of reader takes for delimiters.
func (s *supersetReader) split(all []occurrence, before, after uint8, ends bool) (bool, error) {
	start := int64(0)
	for _, o := range all {
		if o.before > before || o.after > after || o.pos < start {
			continue
		}
		if ok, err := s.piece(start, o.pos); err != nil || !ok {
			return ok, err
		}
		start = o.next
		if ends && o.closes {
			break
		}
	}
	if start == 0 {
		return true, nil // no delimiter at all: the body itself
	}
	return s.piece(start, s.n.obj.Size)
}

// piece reports what a reader may take for the content of the piece.
func (s *supersetReader) piece(off, end int64) (bool, error) {
	at := span{off, end}
	if _, done := s.seen[at]; done || off >= end {
		return true, nil
	}
	s.seen[at] = struct{}{}
	raw := make([]byte, min(end-off, looseHeader))
	if err := readAt(s.n.obj.Content, raw, off); err != nil {
		return false, err
	}
	// Werkzeug leaves a line end out. That costs a second reading, which only a body
	// that may pass is worth: what salvage finds of a refused one merely names it.
	starts := contentStarts(raw, s.w.limits.LenientMultipart)
	for _, k := range starts {
		h := readLooseHeader(raw[:k])
		for _, e := range s.ends(off+int64(k), end) {
			if ok, err := s.report(h, off+int64(k), e); err != nil || !ok {
				return ok, err
			}
		}
	}
	return true, nil
}

// ends returns the ends of a content: with its last line end and without.
func (s *supersetReader) ends(off, end int64) []int64 {
	tail := make([]byte, min(2, end-off))
	if readAt(s.n.obj.Content, tail, end-int64(len(tail))) != nil || len(tail) == 0 {
		return []int64{end}
	}
	all := []int64{end}
	if s := string(tail); s == "\r\n" || s == "\n\r" {
		all = append(all, end-2)
	}
	if tail[len(tail)-1] == '\n' && end-off >= 3 {
		var third [1]byte
		if readAt(s.n.obj.Content, third[:], end-3) == nil && string(tail) == "\r\n" && third[0] == '\r' {
			all = append(all, end-3)
		}
	}
	if c := tail[len(tail)-1]; c == '\n' || c == '\r' {
		all = append(all, end-1)
	}
	return all
}

func (s *supersetReader) report(h looseFields, off, end int64) (bool, error) {
	at := span{off, end}
	if _, done := s.seen[at]; done && off > 0 {
		return true, nil
	}
	s.seen[at] = struct{}{}
	s.scanned += end - off
	if len(s.seen) > maxPieces || s.scanned > maxRescans*s.n.obj.Size+freeRescans {
		return false, nil
	}
	p := piece{
		word: fmt.Sprintf("piece[%d:%d]", off, end), name: h.filename, contentType: h.contentType,
		transfer: h.transfer, codings: s.w.codingsOf(s.n, h.codings), kind: byMultipart, lenient: true,
	}
	if err := s.w.window(s.n, p, off, end); err != nil || h.length <= 0 || h.length >= end-off {
		return true, err
	}
	h.length, end = 0, off+h.length // for those who go by it
	return s.report(h, off, end)
}

// contentStarts returns where the content may begin: after the first empty line
// in each style, at the first line that is no header line, or at once; behind a
// line end more, too, if lineEnds says so.
func contentStarts(raw []byte, lineEnds bool) []int {
	var starts []int
	for _, style := range []string{"\r\n\r\n", "\n\n", "\r\r", "\n\r\n", "\r\n\n", "\n\r\n\r", "\r\r\n\r\r\n"} {
		k := bytes.Index(raw, []byte(style))
		if k < 0 {
			continue
		}
		k += len(style)
		starts = append(starts, k)
		if lineEnds && k < len(raw) && (raw[k] == '\r' || raw[k] == '\n') {
			_, more := cutLine(raw[k:min(k+2, len(raw))], true)
			starts = append(starts, k+more)
		}
	}
	for _, bareCR := range []bool{false, true} {
		starts = append(starts, headerEnds(raw, bareCR)...)
	}
	if len(starts) == 0 {
		return []int{0}
	}
	slices.Sort(starts)
	return slices.Compact(starts)
}

// headerEnds goes through the lines of a header block and returns where it ends
// for a reader that wants an empty line, for one that takes a line of blanks for
// empty, and for those that end it at the first line without a colon or without
// a proper name. bareCR says whether a lone CR ends a line.
func headerEnds(raw []byte, bareCR bool) []int {
	var ends []int
	var blank, colonless, nameless bool
	once := func(done *bool, at int) {
		if !*done {
			ends = append(ends, at)
		}
		*done = true
	}
	for at := 0; at < len(raw); {
		line, next := cutLine(raw[at:], bareCR)
		if len(line) == 0 {
			return append(ends, at+next)
		}
		name, _, colon := bytes.Cut(line, []byte(":"))
		switch {
		case len(bytes.Trim(line, " \t\v\f\r")) == 0:
			once(&colonless, at)
			once(&blank, at+next)
		case line[0] == ' ' || line[0] == '\t': // folded
		case !colon:
			once(&colonless, at)
			once(&nameless, at)
		case bytes.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0:
			once(&nameless, at)
		}
		at += next
	}
	return ends
}

// cutLine returns the first line of p and where the next one begins.
func cutLine(p []byte, bareCR bool) (line []byte, next int) {
	for i, c := range p {
		switch {
		case c == '\n':
			return p[:i], i + 1
		case c == '\r' && i+1 < len(p) && p[i+1] == '\n':
			return p[:i], i + 2
		case c == '\r' && bareCR:
			return p[:i], i + 1
		}
	}
	return p, len(p)
}

// salvage looks for pieces in a body that was refused or that may be read
// leniently; why says what is wrong with it.
func (w *walk) salvage(n *node, t mediaType, why string) error {
	lenient := w.lenient(n, t)
	head, err := w.head(n)
	if err != nil {
		return err
	}
	ok, err := w.superset(n, n.obj.ContentType, head)
	if err != nil || !lenient {
		return err
	}
	if !ok {
		w.refuse(n, t.cause, "multipart: too many ways to read it: "+why)
		return nil
	}
	if w.verdict.Outcome == scan.OutcomeClean && w.verdict.Detail == "" {
		w.verdict.Object, w.verdict.Detail = n.obj.Path, "multipart accepted although ambiguous: "+why
	}
	return nil
}
