package content

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// messages are those of one gRPC body: each compressed one is an object, and so
// is what all of them make together, since a file may come in several.
type messages struct {
	w           *walk
	n           *node
	contentType string
	compressed  int
	count       int
	first       io.ReaderAt // the first message, as long as there is no other
	size        int64       // of the first message
	joined      sink
}

func newMessages(w *walk, n *node, essence string) *messages {
	_, kind, _ := strings.Cut(essence, "+")
	if kind != "" {
		kind = "application/" + kind
	}
	return &messages{w: w, n: n, contentType: kind, joined: sink{w: w, n: n}}
}

// add takes the message that buf goes on with, at [start, end) of the body.
// trailer says that it is none but the end of the stream.
func (m *messages) add(buf *bufio.Reader, compressed, trailer bool, start, end int64) error {
	if start == end {
		return nil
	}
	var content io.ReaderAt = io.NewSectionReader(m.n.obj.Content, start, end-start)
	size := end - start
	if compressed {
		magic, err := buf.Peek(int(min(size, 4)))
		if err != nil {
			return err
		}
		layer, err := m.w.grpcMessage(m.n, piece{word: fmt.Sprintf("message[%d]", m.compressed), contentType: m.contentType, kind: byCoding}, magic, start, end)
		if err != nil || layer == nil {
			return err
		}
		m.compressed++
		content, size = layer, layer.Size()
	}
	if trailer || size == 0 {
		return nil
	}
	if m.count++; m.count == 1 {
		m.first, m.size = content, size
		return nil
	}
	if m.count == 2 {
		if err := m.join(m.first, m.size); err != nil {
			return err
		}
	}
	return m.join(content, size)
}

func (m *messages) join(content io.ReaderAt, size int64) error {
	block := m.w.u.pools.block()
	defer m.w.u.pools.giveBlock(block)
	for off := int64(0); off < size; off += int64(len(*block)) {
		p := (*block)[:min(size-off, int64(len(*block)))]
		if err := readAt(content, p, off); err != nil {
			return err
		}
		if err := m.joined.write(p); err != nil {
			return err
		}
	}
	return nil
}

// end reports what the messages make together. A small one is no file.
func (m *messages) end() error {
	p := piece{word: "messages", contentType: m.contentType, kind: byCoding}
	section, plain := m.first.(*io.SectionReader)
	switch {
	case m.count == 1 && plain && m.size >= minPiece:
		_, off, size := section.Outer()
		return m.w.window(m.n, p, off, off+size)
	case m.count > 1 && m.joined.total() >= minPiece:
		return m.joined.report(p)
	}
	return m.joined.drop()
}
