//go:build unix

package icap

import (
	"crypto/tls"
	"net"
	"syscall"
)

// quiet reports whether nothing has come over an idle connection: no end, and no
// answer that nobody asked for, which would be taken for that to the next request.
// It does not wait, and what it reads is lost.
func quiet(c net.Conn) bool {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	var said error
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, said = syscall.Read(int(fd), b[:])
		return true // whatever came, do not wait for more
	})
	return err == nil && said == syscall.EAGAIN //nolint:errorlint // a plain errno
}
