package rig

import (
	"net"
	"time"
)

// FreeAddress returns a loopback address with a port that nobody listened on a
// moment ago. The system hands such ports out in turn, so two calls do not get
// the same one.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // does not block
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// AwaitPort returns once something listens on address, for processes that have
// no better sign of being ready.
func (p *Process) AwaitPort(address string) error {
	return p.waitUntil(startTimeout, func() error {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			err = c.Close()
		}
		return err
	})
}
