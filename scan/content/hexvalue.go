package content

import "fmt"

// hexValue decodes a value that is hexadecimal from its first character to its last,
// as XML Schema's hexBinary, columns of databases and byte dumps are. Blanks, colons
// and dashes may stand between bytes, and 0x or \x in front.
type hexValue struct {
	c      *candidate
	out    sink
	start  []byte
	off    bool
	digits int64
	high   int // the first digit of a byte
	slash  bool
}

func (h *hexValue) feed(p []byte) error {
	if h.off || h.c == nil {
		return nil
	}
	var out [512]byte
	k := 0
	for _, c := range p {
		v := unhex(c)
		switch {
		case v < 0 && !h.between(c):
			h.off = true
			return h.out.drop()
		case v < 0:
			continue
		case h.digits%2 == 0:
			h.high = v
		default:
			out[k] = byte(h.high<<4 | v)
			k++
		}
		h.digits++
		if k == len(out) {
			if err := h.move(out[:k]); err != nil {
				return err
			}
			k = 0
		}
	}
	return h.move(out[:k])
}

func (h *hexValue) move(p []byte) error {
	if room := judgedHead - len(h.start); room > 0 {
		h.start = append(h.start, p[:min(room, len(p))]...)
	}
	return h.out.write(p)
}

// between reports whether c may stand between two bytes or in front of the first.
func (h *hexValue) between(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ':', '-':
		return h.digits%2 == 0
	case '\\':
		first := h.digits == 0 && !h.slash
		h.slash = true
		return first
	case 'x', 'X':
		if h.digits == 1 && h.high == 0 && len(h.start) == 0 {
			h.digits = 0
			return true
		}
		return h.slash && h.digits == 0
	}
	return false
}

// end ends the value.
func (h *hexValue) end() error {
	c, size := h.c, h.out.total()
	if c == nil {
		return nil
	}
	good := !h.off && h.digits%2 == 0 && (size >= bigPiece || size >= minPiece && c.w.u.tables.hasMagic(h.start))
	h.off, h.digits, h.slash, h.start = false, 0, false, h.start[:0]
	if !good || c.n.levels[byEmbedding] >= maxEmbedded {
		return h.out.drop()
	}
	c.found++
	return h.out.report(piece{word: fmt.Sprintf("%s-hex[%d]", c.word, c.found-1), kind: byEmbedding})
}
