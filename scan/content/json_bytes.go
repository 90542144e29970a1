package content

import "fmt"

// byteArray finds files in JSON that were written number by number, as serde, Gson
// and JavaScript's Buffer write them: [77,90,144], with negative numbers too; and
// typed arrays, which become {"0":77,"1":90}. It sees the text between strings.
type byteArray struct {
	c     *candidate
	out   sink
	start []byte
	value int
	state numberState
	dead  bool // something that is no byte stands in this array
	minus bool
}

type numberState uint8

const (
	noNumber numberState = iota
	inNumber
	afterNumber
)

func (b *byteArray) scan(p []byte) error {
	for _, c := range p {
		if b.dead && (c < '[' || c|0x20 != '{' && c|0x20 != '}') {
			continue // nothing but the end of the array matters any more
		}
		var err error
		switch {
		case c >= '0' && c <= '9':
			b.digit(int(c - '0'))
		case c == ',':
			b.push()
		case c == '[' || c == '{' || c == ']' || c == '}':
			b.push()
			err = b.end()
		case isSpace(c):
			if b.state == inNumber {
				b.state = afterNumber
			}
		case c == '-' && b.state == noNumber:
			b.minus = true
		case c != ':':
			b.dead = true
		}
		if err != nil {
			return err
		}
		if len(b.out.buf) >= sinkBuffer {
			if err := b.out.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *byteArray) digit(v int) {
	if b.state == afterNumber {
		b.dead = true
	}
	b.state = inNumber
	if b.value = b.value*10 + v; b.value > 255 {
		b.dead, b.value = true, 0
	}
}

// push takes a number that is over.
func (b *byteArray) push() {
	v := b.value
	if b.minus {
		v = -v
	}
	if b.state != noNumber && !b.dead && !b.out.over {
		b.out.buf = append(b.out.buf, byte(v))
		if len(b.start) < judgedHead {
			b.start = append(b.start, byte(v))
		}
	}
	b.dead = b.dead || v < -128
	b.value, b.state, b.minus = 0, noNumber, false
}

// key takes a string, which is part of an array only as the number of an element.
func (b *byteArray) key(text []byte) {
	for _, c := range text {
		if c < '0' || c > '9' {
			b.dead = true
			return
		}
	}
	b.dead = b.dead || len(text) == 0
}

// end ends an array.
func (b *byteArray) end() error {
	size, dead, start := b.out.total(), b.dead, b.start
	b.dead, b.start = false, b.start[:0]
	b.value, b.state, b.minus = 0, noNumber, false
	if dead || size < minPiece {
		return b.out.drop()
	}
	c := b.c
	if size < bigPiece && !c.w.u.tables.hasMagic(start) && !textLike(start) {
		if c.tokens++; c.tokens > maxTokens {
			if err := c.batch.write(b.out.buf); err != nil { // shorter than the sink's buffer
				return err
			}
			return b.out.drop()
		}
	}
	c.found++
	if c.n.levels[byEmbedding] >= maxEmbedded {
		return b.out.drop()
	}
	return b.out.report(piece{word: fmt.Sprintf("bytes[%d]", c.found-1), kind: byEmbedding})
}
