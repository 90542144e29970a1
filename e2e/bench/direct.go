package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// direct drives a clamd without any gate: one connection a body, as INSTREAM
// needs it. It is what no gate with that engine can be faster than.
type direct struct{ socket string }

func (d direct) exchange(ctx context.Context, body io.Reader) error {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", strings.TrimPrefix(d.socket, "unix:"))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // everything was read
	w := bufio.NewWriterSize(c, 64<<10)
	if _, err := w.WriteString("zINSTREAM\x00"); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for n := 1; n > 0; {
		// The end of the body is the chunk of length 0 that ends the stream.
		if n, err = io.ReadFull(body, buf); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if err := binary.Write(w, binary.BigEndian, uint32(n)); err != nil { //nolint:gosec // at most len(buf)
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	reply, err := io.ReadAll(c)
	if err == nil && string(reply) != "stream: OK\x00" {
		err = fmt.Errorf("clamd says %q", reply)
	}
	return err
}
