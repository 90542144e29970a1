package content

// tables are what every walk looks bytes up in.
type tables struct {
	base64 [256]byte     // the value of a digit, or one of the classes of other characters
	kinds  [256]byte     // what kind of digit it is
	magics [256][]string // magic numbers by their first byte
}

func newTables() *tables {
	t := &tables{base64: base64Table(), kinds: digitKinds()}
	for _, m := range magicNumbers() {
		t.magics[m[0]] = append(t.magics[m[0]], m)
	}
	return t
}

const (
	digitSpace   = 64
	digitPad     = 65
	digitForeign = 66
)

// base64Table maps every byte to its value or to one of the classes above.
func base64Table() [256]byte {
	var t [256]byte
	for i := range t {
		switch v := base64Value(byte(i)); {
		case v >= 0:
			t[i] = byte(v)
		case isSpace(byte(i)) || i == '\f' || i == '\v': // browsers skip the first, Python both
			t[i] = digitSpace
		case i == '=':
			t[i] = digitPad
		default:
			t[i] = digitForeign
		}
	}
	return t
}

// Kinds of digits.
const (
	kindSign     = 1 << iota // a figure or another sign, which words do not have
	kindNonHex               // no digit of hexadecimal
	kindStandard             // of the standard alphabet only
	kindURLSafe              // of the URL-safe alphabet only
)

// digitKinds maps every digit of base64 to its kinds.
func digitKinds() [256]byte {
	var t [256]byte
	for i := range t {
		c := byte(i)
		v := base64Value(c)
		if v >= 52 {
			t[i] |= kindSign
		}
		if v >= 0 && unhex(c) < 0 {
			t[i] |= kindNonHex
		}
		switch c {
		case '+', '/':
			t[i] |= kindStandard
		case '-', '_':
			t[i] |= kindURLSafe
		}
	}
	return t
}

// quad gathers base64 digits to bytes.
type quad struct {
	bits uint32
	n    int // digits gathered, 0 to 3
	pads int
}

// push adds a digit and appends the bytes that became complete. It reports
// false after padding.
func (q *quad) push(out []byte, v byte) ([]byte, bool) {
	if q.pads > 0 {
		return out, false
	}
	q.bits = q.bits<<6 | uint32(v)
	if q.n++; q.n < 4 {
		return out, true
	}
	out = append(out, byte(q.bits>>16), byte(q.bits>>8), byte(q.bits))
	q.bits, q.n = 0, 0
	return out, true
}

// pad takes one "=".
func (q *quad) pad() bool {
	q.pads++
	return q.n+q.pads <= 4 && q.n >= 2
}

// whole reports whether the digits so far need no more.
func (q *quad) whole() bool { return q.n == 0 && q.pads == 0 || q.n+q.pads == 4 }

// flush appends the bytes of an incomplete group.
func (q *quad) flush(out []byte) []byte {
	switch q.n {
	case 2:
		out = append(out, byte(q.bits>>4))
	case 3:
		out = append(out, byte(q.bits>>10), byte(q.bits>>2))
	}
	q.n, q.bits, q.pads = 0, 0, 0
	return out
}

// base64Value returns the value of a digit of the standard or the URL-safe
// alphabet, or -1.
func base64Value(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '+' || c == '-':
		return 62
	case c == '/' || c == '_':
		return 63
	}
	return -1
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
