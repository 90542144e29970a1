package content

import "bytes"

// minLoose is the number of characters with which a block of uneven lines begins.
const minLoose = 16

// looseLines gathers base64 in lines of any length, as some writers make them and
// most readers take them. The first line may have something in front, as in LDIF and
// vCard, and the last one a quote behind, as a data URI has that is broken into lines.
type looseLines struct {
	c      *candidate
	tail   []byte // the end of the line before, if the block may begin there
	active bool
	uneven bool // the lines are no block of equal ones, which is found as such
	first  int  // length of the first line
	before int  // length of the line before
}

// line takes a line without the blanks around it.
func (l *looseLines) line(line []byte, pure bool) error {
	ruled := bytes.HasPrefix(line, []byte("--")) || bytes.HasSuffix(line, []byte("--"))
	if !pure || ruled {
		if err := l.last(line, ruled); err != nil {
			return err
		}
		if l.tail = l.tail[:0]; !ruled {
			l.tail = append(l.tail, l.run(line)...)
		}
		return nil
	}
	if !l.active {
		if len(l.tail) == 0 && len(line) < minLoose {
			return nil
		}
		l.active, l.first, l.before = true, len(line), len(line)
		l.uneven = len(line) < minLine || len(l.tail) > 0
		l.c.blanks = true // words in lines are no base64
		if err := l.c.feed(l.tail); err != nil {
			return err
		}
		l.tail = l.tail[:0]
	}
	l.uneven = l.uneven || len(line) > l.first || l.before < l.first
	l.before = len(line)
	return l.c.feed(line)
}

// run is what of a line at its end may be the beginning of a block.
func (l *looseLines) run(line []byte) []byte {
	k := len(line)
	for k > 0 && l.c.w.u.tables.base64[line[k-1]] < digitSpace {
		k--
	}
	if len(line)-k < minLoose {
		return nil
	}
	return line[k:]
}

// last ends the block with the beginning of a line, if a quote or the like follows.
func (l *looseLines) last(line []byte, ruled bool) error {
	if !l.active {
		return nil
	}
	k := 0
	for k < len(line) && l.c.w.u.tables.base64[line[k]] < digitSpace || k < len(line) && line[k] == '=' {
		k++
	}
	if !ruled && k > 0 && k < len(line) && bytes.IndexByte([]byte("\"'`<>)]};,"), line[k]) >= 0 {
		l.uneven = true
		if err := l.c.feed(line[:k]); err != nil {
			return err
		}
	}
	return l.end()
}

func (l *looseLines) end() error {
	if !l.active {
		return nil
	}
	l.active = false
	if !l.uneven {
		return l.c.forget()
	}
	return l.c.end()
}
